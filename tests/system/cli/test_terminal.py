"""What the commands do on a terminal only: they ask before they remove containers, and fold their output."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.harness.netctl import run_netctl

pytestmark = pytest.mark.kernel


def sit(*arguments: str | Path, answer: str = "", columns: int = 60) -> tuple[int, str]:
    """The status of netctl on a terminal of this width, and what it prints; `answer` is typed at the question."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "reconciler", *map(str, arguments)]
    variables = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=variables, start_new_session=True)
    os.close(terminal)
    shown, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([controller], [], [], 1)[0]:
            continue
        try:
            block = os.read(controller, 65536).decode()
        except OSError:  # EIO: all is read
            break
        shown += block
        if answer and "[y/N] " in block:
            os.write(controller, f"{answer}\n".encode())
    os.close(controller)
    return process.wait(timeout=10), shown.replace("\r\n", "\n")


def test_destroy_asks(shop: Path) -> None:
    """A no changes nothing, a yes deletes all; --yes and a pipe are not asked."""
    assert run_netctl("apply", shop).status == 0
    status, shown = sit("destroy", shop, answer="n")
    assert status == 130
    assert "Delete all of " in shown
    assert "declined; nothing was changed" in shown
    assert run_netctl("diff", shop).status == 0
    assert sit("destroy", shop, answer="y")[0] == 0
    assert run_netctl("apply", shop).status == 0
    status, shown = sit("destroy", "--yes", shop)
    assert (status, "[y/N]" in shown) == (0, False)


def test_apply_asks_before_it_removes_containers(shop: Path) -> None:
    """The question names the containers; what only adds or changes is not asked."""
    status, shown = sit("apply", shop)
    assert (status, "[y/N]" in shown) == (0, False), shown
    shop.write_text(re.sub(r"(?m)^  db:.*\n", "", shop.read_text()))
    status, shown = sit("apply", shop, answer="n")
    assert status == 130
    assert "1 container is removed (db). Go on? [y/N]" in shown
    assert run_netctl("ls", "--json", shop).status == 0
    assert sit("apply", shop, answer="yes")[0] == 0
    assert run_netctl("diff", shop).status == 0


def test_output_is_folded(shop: Path) -> None:
    """No line of a status or a plan is longer than the terminal is wide, and no word breaks."""
    plan = sit("apply", "--dry-run", shop, columns=70)[1]
    assert max(map(len, plan.splitlines())) <= 70
    assert run_netctl("apply", shop).status == 0
    status, shown = sit("status", shop, columns=60)
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 60
    assert max(map(len, run_netctl("status", shop).out.splitlines())) > 60, "a pipe has whole lines"


def test_dry_run_changes_nothing(shop: Path) -> None:
    """`apply --dry-run` is `diff`, and `destroy --dry-run` prints what would be deleted."""
    assert run_netctl("apply", "--dry-run", shop).status == 1
    assert run_netctl("apply", shop).status == 0
    gone = run_netctl("destroy", "--dry-run", shop)
    assert gone.status == 0
    assert "- container web" in gone.out
    assert run_netctl("status", shop).status == 0


def test_an_apply_says_what_to_try(shop: Path, topology_name: str) -> None:
    """The addresses of published ports, as commands that work in a lab."""
    done = run_netctl("apply", shop)
    assert f"{topology_name} is as the file says" in done.out
    assert re.search(
        r"^try: netctl exec -f \S+ --host outside curl http://192\.0\.2\.\d+:\d+  \(\w+, tcp\)$", done.out, re.MULTILINE
    )
    assert "try:" not in run_netctl("apply", shop).out, "of an apply that changed nothing"
