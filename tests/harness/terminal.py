"""netctl on a terminal, as a user sits before it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def run_on_terminal(*arguments: str, **env: str) -> str:
    """The output of netctl where standard error is a terminal."""
    controller, terminal = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", **env}
    command = [sys.executable, "-m", "reconciler", *arguments]
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL, env=variables)
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(controller, 65536):
            shown += block
    except OSError:  # EIO: the other side is closed, and all is read
        pass
    os.close(controller)
    process.wait()
    return shown.decode()
