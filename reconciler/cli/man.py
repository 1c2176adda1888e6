"""The man page netctl(1), made from the parsers of the commands.

`python -m reconciler.cli.man` writes docs/netctl.1; a test keeps it in step.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler import __version__
from reconciler.cli.main import COMMANDS
from reconciler.cli.parser import EXIT_STATUSES, Command, Parser, make_parsers
from reconciler.cli.words import FILE_VARIABLE

PATH = Path("docs/netctl.1")
DESCRIPTION = """\
One YAML file describes a container network: subnets, containers, published ports, and policies between them. netctl compares it
with the live state of the kernel and the container engine, and applies only the difference.
"""


def render_man(commands: Sequence[Command]) -> str:
    """The page in the macros of man(7)."""
    top, parsers = make_parsers(commands)
    return "\n".join(_lines(commands, top, parsers)) + "\n"


def _lines(commands: Sequence[Command], top: Parser, parsers: dict[str, Parser]) -> Iterator[str]:
    yield f'.TH NETCTL 1 "" "netctl {__version__}" "User Commands"'
    yield ".SH NAME"
    yield "netctl \\- declarative container networks"
    yield ".SH SYNOPSIS"
    yield f".B {_text(top.prog)}"
    yield "[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]..."
    yield ".SH DESCRIPTION"
    yield _text(DESCRIPTION.strip())
    yield ".SH COMMANDS"
    for command in commands:
        yield from _command_lines(command, parsers[command.name])
    yield ".SH EXIT STATUS"
    yield from _literal(EXIT_STATUSES.partition("\n")[2])
    yield ".SH ENVIRONMENT"
    yield ".TP"
    yield f".B {FILE_VARIABLE}"
    yield "The topology that commands read if none is named."
    yield ".TP"
    yield ".B NO_COLOR"
    yield "If it is set, nothing is coloured."
    yield ".SH FILES"
    yield ".TP"
    yield ".I topology.yaml"
    yield "The topology in the current directory."
    yield ".SH SEE ALSO"
    yield ".BR ip (8), nft (8), bridge (8), docker (1)"


def _command_lines(command: Command, parser: Parser) -> Iterator[str]:
    yield f".SS netctl {_text(command.name)}"
    also = f" Also: {', '.join(command.aliases)}." if command.aliases else ""
    yield _text(f"{command.summary[0].upper()}{command.summary[1:]}.{also}")
    for action in parser._actions:  # noqa: SLF001  argparse has no other way to list them
        if action.help != argparse.SUPPRESS and action.dest != "help":
            yield ".TP"
            yield _signature(action)
            yield _text(action.help or "")
    yield ".PP"
    yield "Examples:"
    yield from _literal(command.examples)


def _signature(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    choices = "|".join(map(str, action.choices)) if action.choices and not metavar else ""
    value = _text(metavar or choices or ("" if action.nargs == 0 else action.dest.upper()))
    if not action.option_strings:
        return f"\\fI{value}\\fR"
    flags = ", ".join(f"\\fB{_text(flag)}\\fR" for flag in action.option_strings)
    return f"{flags} \\fI{value}\\fR" if value else flags


def _literal(text: str) -> Iterator[str]:
    yield ".nf"
    yield from (_text(line) for line in text.rstrip().splitlines())
    yield ".fi"


def _text(text: str) -> str:
    """The text for roff: no character of it is a request or an escape (groff_char(7))."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return "\n".join("\\&" + line if line.startswith((".", "\\(aq")) else line for line in escaped.split("\n"))


if __name__ == "__main__":
    PATH.write_text(render_man(COMMANDS), encoding="utf-8")
