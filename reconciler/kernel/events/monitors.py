"""Events that a program prints, such as lxc-monitor(1).

What they print is not parsed: only whether anything comes counts. A shell beside the program waits for the end of the
agent, because the program would notice it with the next event only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from reconciler.kernel.events.source import Cause, SourceEndedError
from reconciler.kernel.namespaces import enter, run_in_thread

READ_BYTES = 1 << 16
READS_MAX = 256
"""Of one `drain`."""
WATCHED = '"$@" </dev/null & exec >/dev/null 2>&1; read -r _; kill -9 $!'
"""The shell has no part of the program's output, so that its end is one."""


class MonitorEvents:
    """A program that runs until `close`, or until this process ends, and prints a line for each event."""

    def __init__(self, words: Sequence[str], netns: str, cause: Cause) -> None:
        """Start it in the namespace at `netns`. OSError."""
        self.cause = cause
        command = ["sh", "-c", WATCHED, "sh", *words]

        def body() -> subprocess.Popen[bytes]:
            enter(netns)
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        self._process = run_in_thread(body)
        assert self._process.stdin
        assert self._process.stdout
        self._life, self._stream = self._process.stdin, self._process.stdout
        os.set_blocking(self._stream.fileno(), False)

    def fileno(self) -> int:
        """Its output."""
        return self._stream.fileno()

    def drain(self) -> bool:
        """Whether anything came. SourceEndedError if the program has ended."""
        found = False
        for _ in range(READS_MAX):
            try:
                if not os.read(self._stream.fileno(), READ_BYTES):
                    raise SourceEndedError
            except BlockingIOError:
                break
            found = True
        return found

    def close(self) -> None:
        """End the program."""
        self._life.close()
        self._process.wait()
        self._stream.close()


def open_lxc_events(directory: str, machine_netns: str) -> MonitorEvents:
    """The states of all containers of a directory. The monitor is reached from the machine's own namespace only. OSError."""
    return MonitorEvents(("lxc-monitor", "-P", directory, "-n", ".*"), machine_netns, Cause.ENGINE)
