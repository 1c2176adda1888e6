"""The entry of `netctl`: reads the command line, runs the command, and turns every failure into a sentence and an exit status.

Each command states its name, its arguments and what it runs in a file of its own, and imports what it needs when it runs, so that
`netctl --help` answers at once.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from reconciler.cli import agent, apply, destroy, diff, init, status, validate, verify, wait, watch
from reconciler.cli import exec as execute
from reconciler.cli.parser import parse_arguments
from reconciler.errors import NetctlError, TopologyError, translate

STOPPED = 128
"""And the number of the signal, as shells report it."""
STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""What ends a command outside of an apply, which takes back what it has done, and ends with 4."""
BROKEN_PIPE = 141
DEFECT = 5
"""Something may be left on a host."""
UNTOUCHED = 3
"""What a defect ends with in a command that changes nothing, so that nothing can be left."""
COMMANDS = (
    init.COMMAND,
    apply.COMMAND,
    diff.COMMAND,
    destroy.COMMAND,
    validate.COMMAND,
    status.COMMAND,
    verify.COMMAND,
    execute.COMMAND,
    agent.COMMAND,
    wait.COMMAND,
    watch.COMMAND,
)
"""In the order of `netctl --help`."""


class Stopped(KeyboardInterrupt):
    """A signal that came from elsewhere than the keyboard: locks are let go of, whoever ends us."""

    def __init__(self, number: int) -> None:
        """`number` is the signal's."""
        super().__init__(number)
        self.number = signal.Signals(number)


class VisibleText(io.TextIOWrapper):
    """A text stream that lets nothing through by which text from elsewhere could steer a terminal (`render.stream`)."""

    _plain = re.compile("[ -~\n\t]*")

    def __init__(self, stream: TextIO) -> None:
        """Takes the place of `stream`. A character that its encoding lacks is escaped, too."""
        stream.flush()
        super().__init__(stream.buffer, stream.encoding, "backslashreplace", line_buffering=bool(stream.line_buffering))
        self._replaced = stream  # were it closed, so would be what is below both

    def write(self, text: str, /) -> int:
        """Writes it; the number of characters that were given."""
        if not self._plain.fullmatch(text):
            from reconciler.render.colour import wants_colour
            from reconciler.render.stream import filter_text

            text = filter_text(text, has_colour=wants_colour(self))
        super().write(text)
        return len(text)

    @property
    def steering(self) -> Steering:
        """The stream for what draws on the terminal, and is given no text that was not made visible."""
        return Steering(self)


class Steering:
    """A VisibleText that writes all as it is."""

    def __init__(self, stream: VisibleText) -> None:
        """All but `write` is the stream's own."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes it as it is."""
        return io.TextIOWrapper.write(self._stream, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def start() -> NoReturn:
    """The process `netctl`: runs `main`, and ends.

    It lives for one command, so what it makes lives as long: to collect garbage, and at last to free a hundred thousand objects
    one by one, would take a fifth of the time of a `diff` of a thousand containers.
    """
    gc.disable()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        setattr(sys, name, VisibleText(getattr(sys, name)))
    try:
        exit_status = main()
    except KeyboardInterrupt:  # another one, while the first was being told
        exit_status = STOPPED + signal.SIGINT
    with contextlib.suppress(OSError, KeyboardInterrupt):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(exit_status)


def _stop(number: int, _: object) -> NoReturn:
    raise Stopped(number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run netctl with the arguments (default: the process's own); its exit status. Nothing but SystemExit is raised."""
    changes_hosts = False
    try:
        command, options = parse_arguments(sys.argv[1:] if arguments is None else arguments, COMMANDS)
        changes_hosts = command.changes_hosts
        exit_status = command.run(options)
        sys.stdout.flush()
    except NetctlError as error:
        _report(error)
        return _status(error.exit_status, changes_hosts=changes_hosts)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        print(f"\nerror: {STOPS[number]}; nothing more was done", file=sys.stderr)
        return STOPPED + number
    except BrokenPipeError:
        _drop_output()  # whoever read it has gone
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  the last line of defence: a user gets a sentence, and the traceback is a file
        if isinstance(error, OSError) and (reason := _refused_output()):
            print(f"error: the output cannot be written: {reason}", file=sys.stderr)
        elif told := translate(error):
            _report(told)
        else:
            _report_defect(error)
        return _status(DEFECT, changes_hosts=changes_hosts)
    return exit_status


def _refused_output() -> str:
    """Why standard output takes no more, as a full disk does; "" where it does."""
    try:
        print(flush=True)  # what could not be written is gone from the buffer, so only more of it tells
    except OSError as error:
        _drop_output()
        return error.strerror or str(error)
    return ""


def _drop_output() -> None:
    """What is still in the buffer must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _status(exit_status: int, *, changes_hosts: bool) -> int:
    """The status of a failure: nothing is left by a command that changes nothing, whatever it met."""
    return UNTOUCHED if exit_status == DEFECT and not changes_hosts else exit_status


def _report(error: NetctlError) -> None:
    from reconciler.render.colour import Palette, wants_colour
    from reconciler.render.errors import SHOWN_FAULTS, render_error

    print(render_error(error, Palette(wants_colour(sys.stderr))), file=sys.stderr)
    if isinstance(error, TopologyError) and (count := len(error.faults)) > 1:
        shown = f", of which the first {SHOWN_FAULTS} are shown" if count > SHOWN_FAULTS else ""
        print(f"\n{count:,} errors{shown}", file=sys.stderr)


def _report_defect(error: Exception) -> None:
    import tempfile
    import traceback

    from reconciler.state.visible import visible

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="netctl-", suffix=".log", delete=False) as log:
        log.write(visible("".join(traceback.format_exception(error))))
    print(f"error: netctl has met a defect of its own ({type(error).__name__})", file=sys.stderr)
    print(f"help: `netctl status` tells what is live; please report the defect, with {log.name}", file=sys.stderr)


if __name__ == "__main__":
    start()
