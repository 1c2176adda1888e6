"""How a worker gets to another machine, in parts: its code, the program that asks for it, and what ssh says when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.fleet.bundle import Bundle, read_bundle
from reconciler.fleet.ssh import REMOTE_COMMAND, explain, render_command, render_shell
from reconciler.topology.types import Connect
from reconciler.worker import bootstrap
from reconciler.worker.bootstrap import hash_files, is_at, read_tree, remove_unused, render_program

CONNECT = Connect(scheme="ssh", user="ops", name="alpha.example.net", port=2222)


def test_the_code_is_whole_by_itself(tmp_path: Path) -> None:
    """A Python without any other package imports the worker from it, and the engines' and netlink's libraries."""
    bundle = read_bundle()
    for name, content in bundle.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import reconciler.worker.remote, reconciler.probes.run, nftables, docker, pyroute2\n"
        "import reconciler.kernel.facts.host_facts, reconciler.kernel.engines.engine\n"
        "import reconciler.kernel.netfilter.conntrack, reconciler.kernel.netfilter.nft\n"
        "wrong = [m.__file__ for m in sys.modules.values() if 'site-packages' in (getattr(m, '__file__', '') or '')]\n"
        "sys.exit(str(wrong) if wrong or 'yaml' in sys.modules or 'pydantic' in sys.modules else 0)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hash_files(read_tree(str(tmp_path))) == bundle.code_hash, "what Python has compiled does not count"


def test_the_same_files_are_the_same_code() -> None:
    """Name and archive depend on paths and contents only; one byte more is another name, and so is a file that moved."""
    one = Bundle({"a.py": b"1", "b/c.py": b"2"})
    assert one.code_hash == Bundle({"b/c.py": b"2", "a.py": b"1"}).code_hash
    assert one.archive == Bundle({"b/c.py": b"2", "a.py": b"1"}).archive
    others = [Bundle({"a.py": b"1"}), Bundle({"a.py": b"1", "b/c.py": b"2 "}), Bundle({"a.py": b"1", "b/d.py": b"2"})]
    assert one.code_hash not in {other.code_hash for other in others}
    assert len(read_bundle().archive) < 3_000_000


def ask(program: bytes) -> list[dict[str, str]]:
    """What the remote host says to the program, run as a login shell runs it; nothing more is sent to it."""
    command = REMOTE_COMMAND.replace("python3", sys.executable)
    done = subprocess.run(["sh", "-c", command], input=program, capture_output=True, check=False)
    return [json.loads(line.removeprefix(b"netctl ")) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("sys.version_info < (3, 11)", "sys.version_info < (9, 0)"), "netctl needs 3.11 or later"),
        (('"libnftables.so.1"', '"libnothing.so.1"'), "the library libnothing.so.1 is missing there"),
        (("os.geteuid() != 0", "True"), "the host has no sudo"),
    ],
    ids=["python", "library", "sudo"],
)
def test_what_the_remote_host_lacks(change: tuple[str, str], message: str) -> None:
    """An old Python, no library, no way to become root: the program says so, and what to do, instead of failing somewhere."""
    source = Path(bootstrap.__file__).read_text()
    assert change[0] in source
    source = source.replace(*change).replace('which("sudo")', 'which("no-sudo")')
    said = ask(render_program(source, "0" * 64))
    assert [one["say"] for one in said] == ["error"]
    assert message in said[0]["message"]
    assert said[0]["help"]


def test_code_that_is_in_use_stays(tmp_path: Path) -> None:
    """A directory on which a process has a shared lock is not removed; without one it is."""
    folder = tmp_path / "code"
    folder.mkdir()
    descriptor = bootstrap.open_directory(str(folder))
    assert descriptor is not None
    assert is_at(descriptor, str(folder))
    assert not remove_unused(str(folder))
    assert folder.exists()
    os.close(descriptor)
    assert remove_unused(str(folder))
    assert not folder.exists()
    assert bootstrap.open_directory(str(folder)) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ssh: connect to host alpha port 22: Connection refused", "connection refused"),
        ("ssh: connect to host alpha port 22: Connection timed out", "it does not answer"),
        ("ssh: Could not resolve hostname alpha: Name or service not known", "cannot resolve host name"),
        ("ssh: connect to host alpha port 22: No route to host", "no route to it from here"),
        ("No ED25519 host key is known for alpha and you have requested strict checking.", "its host key is not known here"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "differs from the one in known_hosts",
        ),
        ("ops@alpha: Permission denied (publickey,password).", "rejects the available keys"),
        ("bash: line 1: python3: command not found", "it has no python3"),
        ("sudo: a password is required", "its user cannot become root: sudo: a password is required"),
        ("ops is not in the sudoers file.", "its user cannot become root"),
    ],
)
def test_what_ssh_says(words: str, message: str) -> None:
    """The common failures become a sentence and an advice."""
    told = explain(CONNECT, words)
    assert told is not None
    assert message in told[0]
    assert told[1]
    assert "{" not in told[0] + told[1]


def test_the_command_line() -> None:
    """Strict host keys, no questions, a connection of its own; nothing of the topology but user, name and port."""
    words = render_command(CONNECT, 60)
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ServerAliveInterval=5", "ControlPath=none"):
        assert words[words.index(option) - 1] == "-o"
    assert words[-7:] == ["-p", "2222", "-l", "ops", "--", "alpha.example.net", REMOTE_COMMAND]
    assert "ServerAliveInterval=1" in render_command(CONNECT, 5)
    assert render_shell(CONNECT) == "ssh -p 2222 ops@alpha.example.net sudo sh -s"
    assert render_shell(Connect(scheme="ssh", user="root", name="alpha")) == "ssh root@alpha sh -s"
