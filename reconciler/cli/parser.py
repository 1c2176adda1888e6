"""The definition of a command, the parsing of its arguments, and the shared options. `cli.main` has the table of commands.

Every start of netctl imports this module and those of the commands, so they import what they need only when they run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, NoReturn

from reconciler import __version__
from reconciler.errors import UsageError
from reconciler.topology import DEFAULT_FILE

EXIT_STATUSES = """\
exit status:
  0  good                                     4  failed, and rolled back
  1  a difference, or `wait` was too late     5  failed, and not wholly rolled back
  2  the file or the usage is wrong           6  verification failed
  3  a host is unreachable or lacks something 7  another netctl holds the lock
"""


class Parser(argparse.ArgumentParser):
    """argparse with errors in netctl's form: one sentence, a suggestion, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message.removeprefix("argument "), f"`{self.prog} --help` shows its usage")


class Command(NamedTuple):
    """One command of netctl."""

    name: str
    summary: str
    """Its purpose in the list of commands."""
    examples: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    """The function that runs it and returns the exit status."""
    changes_hosts: bool = False
    """Whether a defect of netctl may leave resources on a host."""
    takes_words: bool = False
    """Whether `words` takes the words after `--`."""


class _TopParser(Parser):
    """The parser of the whole command line, which knows the names of the commands."""

    names: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; it suggests a command for an unknown name."""
        found = re.search(r"invalid choice: '(.*?)'", message)
        if not found:
            super().error(message)
        near = nearest(found.group(1), self.names)
        listed = f"the commands are {', '.join(self.names)}; see `netctl --help`"
        raise UsageError(f"there is no command {found.group(1)!r}", f"did you mean `netctl {near}`?" if near else listed)


def parse_arguments(arguments: Sequence[str], commands: Sequence[Command]) -> tuple[Command, argparse.Namespace]:
    """The command, and its options. UsageError if they are wrong. `--help` and `--version` raise SystemExit."""
    # The words after `--` are the command of exec, which netctl does not parse.
    words = list(arguments)
    cut = words.index("--") if "--" in words else len(words)
    top, parsers = _make_parsers(commands)
    options, unknown = top.parse_known_args(words[:cut])
    command = next(command for command in commands if command.name == options.command)
    if unknown:
        _refuse_unknown(unknown[0], parsers[command.name])
    tail = words[cut + 1 :]
    if command.takes_words:
        options.words += tail
    elif tail:
        name = f"netctl {command.name}"
        raise UsageError(f"`{name}` takes nothing after `--`", f"`{name} --help` shows its usage")
    return command, options


def _make_parsers(commands: Sequence[Command]) -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command line, and those of all commands by name."""
    top = _TopParser(
        prog="netctl",
        description="One YAML file says what a container network should be; netctl applies the difference.",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.names = tuple(command.name for command in commands)
    top.add_argument("--version", action="version", version=f"netctl {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    parsers = {
        command.name: subparsers.add_parser(
            command.name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            epilog=f"examples:\n{command.examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for command in commands
    }
    for command in commands:
        command.add_arguments(parsers[command.name])
    return top, parsers


def _refuse_unknown(word: str, parser: Parser) -> NoReturn:
    flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001  argparse has no other way to list them
    near = nearest(word.partition("=")[0], flags) if word.startswith("-") else ""
    what = "option" if word.startswith("-") else "argument"
    help_text = f"did you mean {near}?" if near else f"`{parser.prog} --help` shows its usage"
    raise UsageError(f"`{parser.prog}` knows no {what} {word!r}", help_text)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most similar; "" if none is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


# --- shared options ---------------------------------------------------------------------------------------------------


def add_file(parser: Parser, *, default: str | None = DEFAULT_FILE) -> None:
    """FILE and --json."""
    parser.add_argument("file", nargs="?", default=default, metavar="FILE", help=f"the topology (default: {DEFAULT_FILE})")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_host(parser: Parser) -> None:
    """--host."""
    parser.add_argument("--host", metavar="NAME", type=parse_name, help="limit it to one host")


def add_quiet(parser: Parser) -> None:
    """--quiet."""
    parser.add_argument("--quiet", "-q", action="store_true", help="print errors only")


def add_plan_options(parser: Parser) -> None:
    """Options for the form of a plan: --verbose and --show-secrets."""
    parser.add_argument("--verbose", "-v", action="store_true", help="print every change, not a line for each container")
    help_text = "print the values of environment variables, not ***"
    parser.add_argument("--show-secrets", action="store_true", help=help_text)


def add_apply_options(parser: Parser) -> None:
    """Options for the execution of a plan: --yes and --rollback-after."""
    help_text = "ask nothing: also connect to machines that only a host reports"
    parser.add_argument("--yes", "-y", action="store_true", help=help_text)
    help_text = "seconds without a sign of life after which an ssh host rolls back (default: 60)"
    parser.add_argument("--rollback-after", metavar="S", type=_parse_seconds, default=60.0, help=help_text)


def parse_name(text: str) -> str:
    """A given name. ArgumentTypeError if it is empty, such as an unset variable's value: it must not mean all."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def _parse_seconds(text: str) -> float:
    """A number of seconds for a connection's timeout; ArgumentTypeError if it is invalid."""
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not 5 <= int(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 5 to 3600")
    return float(text)
