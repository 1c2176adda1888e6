"""Progress of an apply or destroy: a live line for each host on a terminal, plain lines in a pipe.

It goes to standard error, so that standard output stays the command's own. rich is imported only where a terminal is there
to show it, for it costs 0.1 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, TextIO, cast

from reconciler.render.colour import wants_colour
from reconciler.state.visible import visible_line

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from reconciler.state.progress import ProgressDisplay


class Silent:
    """For --quiet and --json."""

    def update(self, host: str, phase: str, done: int, total: int) -> None:
        """Says nothing."""

    def wait(self, host: str, bridge: str, seconds: int) -> None:
        """Says nothing."""


class Lines:
    """A line when a phase of a host is complete."""

    def __init__(self, stream: TextIO) -> None:
        """Lines go to `stream`."""
        self._stream = stream

    def update(self, host: str, phase: str, done: int, total: int) -> None:
        """Prints once a phase, at its end."""
        if total and done == total:
            print(f"{host}: {phase}: {total:,} {'step' if total == 1 else 'steps'} done", file=self._stream, flush=True)

    def wait(self, host: str, bridge: str, seconds: int) -> None:
        """Prints at once."""
        print(visible_line(f"{host}: {_wait_text(bridge, seconds)}"), file=self._stream, flush=True)


class Bars:
    """A bar for each host, redrawn in place."""

    def __init__(self, progress: RichProgress) -> None:
        """`progress` is started and stopped by whoever made it."""
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def update(self, host: str, phase: str, done: int, total: int) -> None:
        """Moves the host's bar; a host without steps has none."""
        if not total:
            return
        if host not in self._tasks:
            self._tasks[host] = self._progress.add_task(visible_line(host), total=total)
        self._progress.update(self._tasks[host], description=visible_line(f"{host}: {phase}"), completed=done, total=total)

    def wait(self, host: str, bridge: str, seconds: int) -> None:
        """Says so in the place of the phase."""
        if host in self._tasks:
            self._progress.update(self._tasks[host], description=visible_line(f"{host}: {_wait_text(bridge, seconds)}"))


def _wait_text(bridge: str, seconds: int) -> str:
    return f"waits {seconds} s for STP of the bridge {bridge}, which holds new ports back"


@contextmanager
def show_progress(stream: TextIO, *, quiet: bool = False) -> Iterator[ProgressDisplay]:
    """What suits the stream."""
    if quiet:
        yield Silent()
    elif not wants_colour(stream):
        yield Lines(stream)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Rich

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Rich(*columns, console=Console(file=_steering(stream)), transient=True) as progress:
            yield Bars(progress)


def _steering(stream: TextIO) -> IO[str]:
    """What a bar is drawn on: it moves the cursor, which no other text may."""
    return cast("IO[str]", getattr(stream, "steering", stream))
