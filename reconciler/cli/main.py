"""The entry of `netctl`: it parses the command line, runs the command, and reports every failure as a sentence and a status.

Each command states its name, its arguments and its function in a file of its own, and imports what it needs when it
runs. So `netctl --help` answers at once.
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

from reconciler.cli import (
    agent,
    apply,
    completion,
    destroy,
    diff,
    explain,
    exposure,
    graph,
    help_,
    hook,
    init,
    ls,
    rehearse,
    status,
    validate,
    verify,
    version,
    wait,
    watch,
)
from reconciler.cli import exec as execute
from reconciler.cli import import_ as importing
from reconciler.cli.parser import parse_arguments
from reconciler.cli.words import wants_json
from reconciler.errors import NetctlError, TopologyError, translate

STOPPED = 128
"""The sum of it and the signal's number is the status, as shells report it."""
STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""Signals that end a command outside of an apply; an apply rolls back, and ends with 4."""
BROKEN_PIPE = 141
DEFECT = 5
"""The status of a defect that may leave resources on a host."""
UNTOUCHED = 3
"""The status of a defect in a command that changes nothing, so that it leaves no resources."""
COMMANDS = (
    init.COMMAND,
    importing.COMMAND,
    apply.COMMAND,
    diff.COMMAND,
    destroy.COMMAND,
    validate.COMMAND,
    status.COMMAND,
    ls.COMMAND,
    verify.COMMAND,
    explain.COMMAND,
    exposure.COMMAND,
    graph.COMMAND,
    rehearse.COMMAND,
    execute.COMMAND,
    agent.COMMAND,
    hook.COMMAND,
    wait.COMMAND,
    watch.COMMAND,
    help_.COMMAND,
    completion.COMMAND,
    version.COMMAND,
)
"""The commands in the order of `netctl --help`."""


class Stopped(KeyboardInterrupt):
    """A signal from another source than the keyboard: locks are released for it, too."""

    def __init__(self, number: int) -> None:
        """`number` is the signal's."""
        super().__init__(number)
        self.number = signal.Signals(number)


class VisibleText(io.TextIOWrapper):
    """A text stream that escapes foreign text which could steer a terminal (`render.stream`)."""

    _plain = re.compile("[ -~\n\t]*")

    def __init__(self, stream: TextIO) -> None:
        """Replaces `stream`. It also escapes a character that the stream's encoding lacks."""
        stream.flush()
        super().__init__(stream.buffer, stream.encoding, "backslashreplace", line_buffering=bool(stream.line_buffering))
        self._replaced = stream  # if it were closed, so would be the descriptor below both

    def write(self, text: str, /) -> int:
        """Write the text; returns the number of characters given."""
        if not self._plain.fullmatch(text):
            from reconciler.render.colour import wants_colour
            from reconciler.render.stream import filter_text

            text = filter_text(text, has_colour=wants_colour(self))
        super().write(text)
        return len(text)

    @property
    def steering(self) -> Steering:
        """The stream for code that draws on the terminal. Its callers escape foreign text themselves."""
        return Steering(self)


class Steering:
    """A VisibleText that writes all text unchanged."""

    def __init__(self, stream: VisibleText) -> None:
        """All but `write` is the stream's own."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it unchanged."""
        return io.TextIOWrapper.write(self._stream, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def start() -> NoReturn:
    """The process `netctl`: runs `main`, and ends.

    It lives for one command, and so do its objects. Garbage collection, and freeing a hundred thousand objects one by
    one at the end, would cost time. It is a fifth of a `diff` of a thousand containers.
    """
    gc.disable()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the parent process closed it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        setattr(sys, name, VisibleText(getattr(sys, name)))
    try:
        exit_status = main()
    except KeyboardInterrupt:  # another one, during the report of the first
        exit_status = STOPPED + signal.SIGINT
    with contextlib.suppress(OSError, KeyboardInterrupt):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(exit_status)


def _stop(number: int, _: object) -> NoReturn:
    raise Stopped(number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run netctl with the arguments (default: the process's own); its exit status. It raises only SystemExit."""
    changes_hosts = False
    words = sys.argv[1:] if arguments is None else arguments
    try:
        command, options = parse_arguments(words, COMMANDS)
        changes_hosts = command.changes_hosts
        exit_status = command.run(options)
        sys.stdout.flush()
    except NetctlError as error:
        exit_status = _status(error.exit_status, changes_hosts=changes_hosts)
        _report(error)
        if wants_json(words) and not error.is_after_answer:
            _print_refusal(error, exit_status)
        return exit_status
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        print(f"\nerror: {STOPS[number]}; nothing more was done", file=sys.stderr)
        return STOPPED + number
    except BrokenPipeError:
        _drop_output()  # the reader has closed it
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  the last line of defence: a user gets a sentence, and the traceback is a file
        if isinstance(error, OSError) and (reason := _refused_output()):
            print(f"error: cannot write the output: {reason}", file=sys.stderr)
        elif translated := translate(error):
            _report(translated)
        else:
            _report_defect(error)
        return _status(DEFECT, changes_hosts=changes_hosts)
    return exit_status


def _print_refusal(error: NetctlError, exit_status: int) -> None:
    """The error as JSON, for programs; its text is on standard error."""
    with contextlib.suppress(ImportError, MemoryError, OSError):
        import json

        from reconciler.plan.document import CODEC
        from reconciler.render.refusal import compile_refusal

        print(json.dumps(CODEC.encode(compile_refusal(error, exit_status)), indent=2), flush=True)


def _refused_output() -> str:
    """The reason why standard output rejects text, such as a full disk; "" if it does not."""
    try:
        print(flush=True)  # the text that failed is not in the buffer any more, so only another write shows the error
    except OSError as error:
        _drop_output()
        return error.strerror or str(error)
    return ""


def _drop_output() -> None:
    """Drop the rest of the buffer, which must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _status(exit_status: int, *, changes_hosts: bool) -> int:
    """The status of a failure: a command that changes nothing leaves no resources, whatever the error."""
    return UNTOUCHED if exit_status == DEFECT and not changes_hosts else exit_status


def _report(error: NetctlError) -> None:
    try:
        from reconciler.render.colour import Palette, wants_colour
        from reconciler.render.errors import SHOWN_FAULTS, render_error
    except (ImportError, MemoryError):  # the memory is not enough for one more module
        print(f"error: {error}", *([f"help: {error.help_text}"] if error.help_text else []), sep="\n", file=sys.stderr)
        return
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
    print(f"error: defect in netctl ({type(error).__name__})", file=sys.stderr)
    print(f"help: run `netctl status` to see the live state, and report the defect, with {log.name}", file=sys.stderr)


if __name__ == "__main__":
    start()
