"""`diff --commands` is what `apply` does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.harness.netctl import run_netctl

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(8)]


def run_script(text: str) -> None:
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_script_gives_the_same_live_state_as_apply(shop: Path) -> None:
    """The printed script, run on a fresh lab, leaves nothing for diff to report; what it made passes verification."""
    script = run_netctl("diff", "--commands", shop)
    assert script.status == 1
    run_script(script.out)
    after = run_netctl("diff", shop)
    assert (after.status, after.out) == (0, "Nothing to do: the hosts are as the file says.\n")
    assert run_netctl("verify", shop).status == 0


def test_the_script_of_a_change(shop: Path) -> None:
    """The script of a change on a live lab does that change, removals included."""
    assert run_netctl("apply", "-q", shop).status == 0
    text = shop.read_text()
    shop.write_text(text.replace('"8080:80", ', "").replace("replicas: 3", "replicas: 2").replace("10.44.0.10", "10.44.0.11"))
    run_script(run_netctl("diff", "--commands", shop).out)
    assert run_netctl("diff", shop).status == 0


def test_without_a_difference_the_script_is_empty(shop: Path) -> None:
    """Nothing but the header is printed where nothing differs."""
    assert run_netctl("apply", "-q", shop).status == 0
    script = run_netctl("diff", "--commands", shop)
    assert script.status == 0
    assert [line for line in script.out.splitlines() if line and not line.startswith("#")] == ["set -eu"]
