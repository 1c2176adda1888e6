"""The runtime and the hook by themselves: what they add to a bundle, how they know a container, and when they let it start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.kernel.starts import program
from reconciler.kernel.starts.program import HookError, add_hook, decide, describe, parse_answers

IDENTITY = "0123456789abcdef" * 4
LIGHT_MAX = 60
"""Modules of a start of the runtime for any word but `create`; Python's own start has about 25."""


def bundle(folder: Path, **config: Any) -> Path:
    """A bundle of Docker's: its configuration, and the files of its container."""
    root = folder / "data/containers" / IDENTITY
    root.mkdir(parents=True)
    labels = {"netctl.wait-for": "shop"}
    (root / "config.v2.json").write_text(json.dumps({"ID": IDENTITY, "Name": "/shop-web-1", "Config": {"Labels": labels}}))
    mounts = [{"destination": "/etc/hostname", "source": str(root / "hostname")}]
    value = {"linux": {"namespaces": [{"type": "network"}]}, "mounts": mounts, "hooks": {"prestart": [1]}, **config}
    (folder / "config.json").write_text(json.dumps(value))
    return folder


def test_the_hook_is_added_to_others(tmp_path: Path) -> None:
    """The engine's own hooks stay, and all else of the configuration, too."""
    before = json.loads((bundle(tmp_path) / "config.json").read_text())
    add_hook(str(tmp_path), "/opt/netctl-runtime")
    after = json.loads((tmp_path / "config.json").read_text())
    hook = {"path": "/opt/netctl-runtime", "args": ["netctl-runtime", "netctl-hook"]}
    assert after == {**before, "hooks": {"prestart": [1], "createRuntime": [hook]}}


@pytest.mark.parametrize("words", [["--root", "/x", "create", "--bundle", "B", "ID"], ["--log", "/y", "state", "ID"]])
def test_it_becomes_runc(tmp_path: Path, words: list[str]) -> None:
    """It hands all words on; only with `create` is the bundle changed."""
    bundle(tmp_path)
    (tmp_path / "runc").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "runc").chmod(0o755)
    words = [str(tmp_path) if word == "B" else word for word in words]
    command = [sys.executable, "-SI", program.__file__, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.stdout.split() == words
    assert ("createRuntime" in (tmp_path / "config.json").read_text()) == ("create" in words)


def test_a_container_of_dockers_is_known_by_its_files(tmp_path: Path) -> None:
    """Its name and labels are in the directory from which Docker mounts files."""
    found = describe(IDENTITY, os.getpid(), str(bundle(tmp_path)))
    assert found is not None
    assert (found["name"], found["labels"], found["root"]) == ("shop-web-1", {"netctl.wait-for": "shop"}, str(tmp_path / "data"))
    assert found["began"] == program.read_start_time(os.getpid())


@pytest.mark.parametrize("namespaces", [[], [{"type": "network", "path": "/proc/7/ns/net"}]], ids=["host", "another's"])
def test_without_a_network_of_its_own_nothing_waits(tmp_path: Path, namespaces: list[dict[str, str]]) -> None:
    """A container in the host's network, or in that of another container, starts at once."""
    assert describe(IDENTITY, os.getpid(), str(bundle(tmp_path, linux={"namespaces": namespaces}))) is None


@pytest.mark.parametrize("identity", ["../../etc", "web", IDENTITY], ids=["a path", "a name", "no mount"])
def test_a_container_of_another_engine_is_refused(tmp_path: Path, identity: str) -> None:
    """An identity is no path, and without Docker's files a container has no name."""
    with pytest.raises(HookError, match="not one of Docker's"):
        describe(identity, os.getpid(), str(bundle(tmp_path, mounts=[])))


@pytest.mark.parametrize(
    ("answers", "wanted", "agents", "may_start"),
    [
        ("", "shop", set(), False),
        ("shop wired", "shop", set(), True),
        ("other wired", "shop", set(), False),
        ("shop other", "shop", set(), True),
        ("shop other", "", {"shop", "lab"}, False),
        ("shop other\nlab other", "", {"shop", "lab"}, True),
        ("shop other\nlab wired", "", {"shop", "lab"}, True),
        ("shop other", "", set(), True),
        ("lab refused no", "shop", set(), False),
        ("shop", "shop", set(), False),
    ],
)
def test_when_it_may_start(answers: str, wanted: str, agents: set[str], *, may_start: bool) -> None:
    """The topology that it names decides alone; else one that connected it, or all agents that have none of it."""
    data = f"{{}}\n{answers}\n".encode()
    assert decide(parse_answers(data), wanted, agents) == may_start


def test_a_refusal_ends_the_start() -> None:
    """The reason is the engine's error message."""
    with pytest.raises(HookError, match="topology shop cannot connect it: web-1 has it"):
        decide(parse_answers(b"{}\nshop refused web-1 has it\n"), "shop", set())


def test_half_a_line_is_no_answer() -> None:
    """An answer counts when its line has an end."""
    assert parse_answers(b"{}\nshop wir") == {}


def test_the_runtime_starts_light() -> None:
    """Dockerd runs it several times for each container: it imports neither JSON nor anything of netctl's to become runc."""
    source = Path(program.__file__).read_text().rpartition("if __name__")[0]
    script = f"import sys\nexec({source!r})\nprint(len(sys.modules), 'json' in sys.modules)"
    done = subprocess.run([sys.executable, "-SI", "-c", script], capture_output=True, text=True, check=True)
    count, has_json = done.stdout.split()
    assert has_json == "False"
    assert int(count) < LIGHT_MAX
