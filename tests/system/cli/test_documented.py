"""The examples of docs/commands.md, run on the README's first topology in a machine of the test's own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.harness.fixtures.machine import furnished, machine
from tests.harness.machine import Machine

__all__ = ["furnished", "machine"]

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_are_true(furnished: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command runs, and what the document shows is what the command before it prints."""
    file = tmp_path / "topology.yaml"
    file.write_text(re.findall(r"```yaml\n(version: 1\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0])
    monkeypatch.setenv("NETCTL_FILE", str(file))
    assert furnished.exec_netctl("apply", "--quiet").status == 0
    last, compared = "", 0
    for language, block in BLOCK.findall((ROOT / "docs/commands.md").read_text()):
        if language == "sh":
            for line in block.splitlines():
                if line.startswith("netctl "):
                    done = furnished.exec_netctl(*shlex.split(line)[1:])
                    assert done.status in (0, 1), f"{line}: {done.err}"
                    last = done.out
        elif block.startswith("likely cause:"):
            assert furnished.exec_netctl("exec", "web", "ip", "link", "set", "eth0", "down").status == 0
            assert block in furnished.exec_netctl("verify").out
            compared += 1
        else:
            assert last == block
            compared += 1
    assert compared == 4
