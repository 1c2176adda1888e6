"""`netctl help`: the usage of a command, or what a key of the topology file means."""

from __future__ import annotations

import argparse

from reconciler.cli.parser import Command, Parser, make_parsers, nearest
from reconciler.errors import UsageError

EXAMPLES = """\
  netctl help apply                   the usage of a command
  netctl help ports                  a key of the file, in the words of docs/file-format.md
  netctl help hosts.address           a key of one part, if several have it
"""


def add_arguments(parser: Parser) -> None:
    """A command or a key."""
    parser.add_argument("word", nargs="?", metavar="COMMAND|KEY", help="a command, or a key of the topology file")


def run(options: argparse.Namespace) -> int:
    """0. UsageError for a word that is neither."""
    from reconciler.cli.terminal import show
    from reconciler.topology.keys import find_keys, read_keys

    commands: tuple[Command, ...] = options.command_table
    top, parsers = make_parsers(commands)
    by_name = {name: command.name for command in commands for name in (command.name, *command.aliases)}
    if not options.word:
        print(top.format_help(), end="")
        return 0
    if options.word in by_name:
        print(parsers[by_name[options.word]].format_help(), end="")
        return 0
    found = find_keys(options.word)
    if not found:
        known = [*by_name, *dict.fromkeys(key.name for key in read_keys())]
        near = nearest(options.word, known)
        help_text = f"did you mean {near}?" if near else "`netctl --help` lists the commands, docs/file-format.md the keys"
        raise UsageError(f"there is no command and no key {options.word!r}", help_text)
    for number, key in enumerate(found):
        default = f"\n  default: {key.default}" if key.default else ""
        show(f"{chr(10) * bool(number)}{key.name} ({key.section}): {key.value}{default}")
    return 0


COMMAND = Command("help", "explain a command, or a key of the file", EXAMPLES, add_arguments, run)
