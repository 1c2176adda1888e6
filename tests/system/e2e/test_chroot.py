"""In a chroot the tests on the kernel refuse to run: what they do in machines of their own would reach the real /run."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.harness.machine import Machine
from tests.harness.mounts import check_private_run, is_chroot

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[3]
KINDS = {
    "a mounted root": "mount --rbind / .",
    "a directory": """
        for path in /*; do
            if [ -L "$path" ]; then cp -P "$path" .
            elif [ -d "$path" ]; then mkdir ".$path"; mount --rbind "$path" ".$path"
            fi
        done""",
}
CHOSEN = ("tests/system/e2e/test_verify.py", "tests/system/ssh/test_verify.py", "tests/system/overlay/test_docker.py")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_test_refuses_a_chroot(machine: Machine, kind: str) -> None:
    """Each test ends with the sentence that says why, and neither /run has a file or mount more than before."""
    root = machine.folder / "root"
    root.mkdir()
    machine.sh(f"cd {root}\n{KINDS[kind]}\nmount -t tmpfs tmpfs {root}/run")
    look = f"find /run {root}/run; cut -d' ' -f4- /proc/self/mountinfo"
    before = set(machine.sh(look).splitlines())
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *CHOSEN]
    out = machine.run("chroot", str(root), "sh", "-c", f"cd {ROOT}; exec {' '.join(words)}", check=False).out
    assert all(f"ERROR {path}::" in out for path in CHOSEN), out
    told = re.findall(r"^ERROR tests/", out, re.MULTILINE)
    assert re.search(rf"^{len(told)} errors in", out, re.MULTILINE), out
    assert out.count("do not run in a chroot, which") >= len(told), out
    assert set(machine.sh(look).splitlines()) <= before  # a mount of others that ends on the computer ends here, too


def test_a_machine_whose_run_is_not_private_is_refused(machine: Machine) -> None:
    """A machine is entered where its own /run is; commands that get another directory there are refused."""
    assert not is_chroot()
    check_private_run(machine.first, machine.entering())
    with pytest.raises(AssertionError, match="cannot make a private /run"):
        check_private_run(machine.first, ())
    with pytest.raises(AssertionError, match="cannot make a private /run"):
        check_private_run(os.getpid(), machine.entering())
