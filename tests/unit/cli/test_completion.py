"""The completion of command lines: what is offered where, and that no name of a file reaches a shell unchecked."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.completion import SCRIPTS, complete
from reconciler.cli.main import COMMANDS
from tests.harness.netctl import run_netctl

FILE = """\
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}}
subnets: {front: {cidr: 10.44.0.0/24}}
containers:
  web: {networks: {front: auto}}
  worker: {replicas: 2, networks: {front: auto}}
  $(touch broken): {}
"""


@pytest.fixture(autouse=True)
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETCTL_FILE", raising=False)
    (tmp_path / "topology.yaml").write_text(FILE)
    (tmp_path / "other.yaml").write_text("version: 1\ncontainers: {cache: {}}\nhosts: [broken\n")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["st"], ["status"]),
        (["pl"], ["plan"]),
        (["-v", "status", "w"], ["web", "worker", "worker-1", "worker-2"]),
        (["exec", "we"], ["web"]),
        (["status", "fr"], ["front"]),
        (["ls", "--subnet", ""], ["front"]),
        (["diff", "--host", "a"], ["alpha"]),
        (["apply", "--dr"], ["--dry-run"]),
        (["diff", "-f", ""], []),
        (["help", "des"], ["destroy"]),
        (["completion", "b"], ["bash"]),
        (["exec", "-f", "none.yaml", ""], []),
    ],
)
def test_what_is_offered(words: list[str], found: list[str]) -> None:
    """Commands, options, and the names of the file; where a file is to stand, nothing, so that the shell offers files."""
    assert complete(words, COMMANDS) == found


def test_names_that_a_shell_would_expand_are_left_out(tmp_path: Path) -> None:
    """`compgen -W` expands its words: a name that is no name of the file is none here."""
    assert complete(["exec", ""], COMMANDS) == ["web", "worker", "worker-1", "worker-2"]
    assert "$(" not in run_netctl("completion", "words", "--", "exec", "").out
    assert not (tmp_path / "broken").exists()


def test_bash_completes(tmp_path: Path) -> None:
    """The script of bash works in bash."""
    program = tmp_path / "netctl"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m reconciler "$@"\n')
    program.chmod(0o755)
    script = '. <(netctl completion bash); COMP_WORDS=(netctl exec wo); COMP_CWORD=2; _netctl; echo "${COMPREPLY[*]}"'
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.split() == ["worker", "worker-1", "worker-2"], done.stderr
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_shell_has_a_script(shell: str) -> None:
    """It asks netctl for words, and offers them for netctl."""
    text = run_netctl("completion", shell).out
    assert "netctl completion words -- " in text
    assert run_netctl("completion", "tcsh").status == 2
