"""The definition of a command, the parsing of its arguments, and the shared options. `cli.main` has the table of commands.

Every start of netctl imports this module and those of the commands, so they import what they need only when they run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, NoReturn

from reconciler import __version__
from reconciler.cli.words import COMMAND_HINTS, OPTION_HINTS, bring_forward, default_file, find_file, split_exec
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
    """Whether `words` takes the words of a command, after `--` or after the first argument."""
    aliases: tuple[str, ...] = ()
    """Names that other tools have for it."""


class _TopParser(Parser):
    """The parser of the whole command line, which knows the names of the commands."""

    names: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; it suggests a command for an unknown name."""
        found = re.search(r"invalid choice: '(.*?)'", message)
        if not found:
            super().error(message)
        word = found.group(1)
        near = nearest(word, self.names)
        hint = COMMAND_HINTS.get(word) or (f"netctl {near}" if near else "")
        listed = f"the commands are {', '.join(self.names)}; see `netctl --help`"
        raise UsageError(f"there is no command {word!r}", f"did you mean `{hint}`?" if hint else listed)


def parse_arguments(arguments: Sequence[str], commands: Sequence[Command]) -> tuple[Command, argparse.Namespace]:
    """The command, and its options. UsageError if they are wrong. `--help` and `--version` raise SystemExit."""
    top, parsers = make_parsers(commands)
    by_name = {name: command for command in commands for name in (command.name, *command.aliases)}
    with_value = frozenset(flag for parser in parsers.values() for flag in options_of(parser, with_value=True))
    words = bring_forward(arguments, by_name, with_value)
    if words and words[0] in by_name:
        words[0] = by_name[words[0]].name
    tail: list[str] = []
    if words and words[0] in by_name and by_name[words[0]].takes_words:
        own, tail = split_exec(words[1:], with_value)
        words = [words[0], *own]
    elif "--" in words:
        cut = words.index("--")
        words, tail = words[:cut], words[cut + 1 :]
    options, unknown = top.parse_known_args(words)
    command = by_name[options.command]
    # argparse reads no further names after an option.
    if hasattr(options, "names") and not any(word.startswith("-") for word in unknown):
        options.names += unknown
    elif unknown:
        _refuse_unknown(unknown[0], parsers[command.name])
    if command.takes_words:
        options.words += tail
    elif tail:
        name = f"netctl {command.name}"
        raise UsageError(f"`{name}` takes nothing after `--`", f"`{name} --help` shows its usage")
    _settle_file(options)
    options.command_table = tuple(commands)  # for those that are about commands
    return command, options


def _settle_file(options: argparse.Namespace) -> None:
    """Choose the file: that of `--file`, the argument, or the default; UsageError if two are given."""
    if not hasattr(options, "file_option"):
        return
    if hasattr(options, "names"):
        options.file, options.names = (None, options.names) if options.file_option else find_file(options.names)
    if options.file_option is not None and options.file is not None:
        raise UsageError("the file is given twice", "name it once: netctl COMMAND FILE, or netctl COMMAND -f FILE")
    options.file = options.file_option if options.file is None else options.file
    if options.file == "":
        raise UsageError("the name of the file is empty", f"name a file, or leave it out for {DEFAULT_FILE}")
    if options.file is None and not options.may_lack_file:
        options.file = default_file()


def make_parsers(commands: Sequence[Command]) -> tuple[Parser, dict[str, Parser]]:
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
            help=command.summary + (f" (also: {', '.join(command.aliases)})" if command.aliases else ""),
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
    option = word.partition("=")[0] if word.startswith("-") else ""
    near = nearest(option, options_of(parser)) if option else ""
    what = "option" if option else "argument"
    help_text = f"did you mean {near}?" if near else f"`{parser.prog} --help` shows its usage"
    help_text = OPTION_HINTS.get(option, help_text)
    raise UsageError(f"`{parser.prog}` knows no {what} {word!r}", help_text)


def options_of(parser: Parser, *, with_value: bool = False) -> list[str]:
    """The options of a parser; with `with_value`, those that take a value."""
    actions = parser._actions  # noqa: SLF001  argparse has no other way to list them
    return [flag for action in actions if not with_value or action.nargs is None for flag in action.option_strings]


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most similar; "" if none is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


# --- shared options ---------------------------------------------------------------------------------------------------


def add_file(parser: Parser, *, may_lack: bool = False) -> None:
    """FILE, -f FILE and --json. With `may_lack`, the file stays None if none is given."""
    parser.add_argument(
        "file", nargs="?", default=None, metavar="FILE", help=f"the topology (default: {DEFAULT_FILE}); - is standard input"
    )
    add_file_option(parser, may_lack=may_lack)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_file_option(parser: Parser, *, may_lack: bool = False) -> None:
    """-f FILE alone."""
    parser.add_argument("--file", "-f", dest="file_option", metavar="FILE", help="the same as FILE; NETCTL_FILE is the default")
    parser.set_defaults(may_lack_file=may_lack, file=None)


def add_names(parser: Parser, what: str) -> None:
    """FILE and names in one list, -f FILE and --json. A name has no dot and no slash; a file has one, or is first and exists."""
    parser.add_argument("names", nargs="*", metavar="[FILE] [NAME]", help=what)
    add_file_option(parser)
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
    help_text = "ask nothing: remove and re-create containers, and connect to machines that only a host reports"
    parser.add_argument("--yes", "-y", action="store_true", help=help_text)
    help_text = "seconds without a sign of life after which an ssh host rolls back (default: 60)"
    parser.add_argument("--rollback-after", metavar="S", type=_parse_seconds, default=60.0, help=help_text)


def add_dry_run(parser: Parser) -> None:
    """--dry-run."""
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")


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
