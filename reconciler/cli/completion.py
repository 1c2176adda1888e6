"""`netctl completion`: a script for the completion of command lines in a shell.

The script asks `netctl completion words -- WORD…` for the words that fit, of which the last is the one to complete. Names of
containers, hosts and subnets are read from the file that the words name, or from the default one. A file is completed by the
shell.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence

from reconciler.cli.parser import Command, Parser
from reconciler.cli.words import default_file

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A name of the file. Nothing else reaches a shell, which would expand it."""
REPLICAS_MAX = 50
"""The most replicas of one container that are offered."""
SCRIPTS = {
    "bash": r"""_netctl() {
    local IFS=$'\n' found
    found=$(netctl completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _netctl netctl
""",
    "zsh": r"""#compdef netctl
_netctl() {
    local -a found
    found=(${(f)"$(netctl completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    compadd -a found
    _files
}
compdef _netctl netctl
""",
    "fish": r"""complete -c netctl -a '(netctl completion words -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
""",
}
OPTIONS_WITH_NAMES = {"--host": ("hosts",), "--subnet": ("subnets",)}
"""The parts of the file whose names an option takes."""
COMMANDS_WITH_NAMES = {
    "status": ("containers", "subnets"),
    "ls": ("containers",),
    "exec": ("containers",),
    "wait": ("containers",),
    "explain": ("containers", "hosts"),
}
"""The parts of the file whose names a command takes."""
EXAMPLES = """\
  . <(netctl completion bash)         in this shell; for all, write it to
                                      /etc/bash_completion.d/netctl
  netctl completion zsh > ~/.zfunc/_netctl
  netctl completion fish > ~/.config/fish/completions/netctl.fish
"""


def add_arguments(parser: Parser) -> None:
    """The shell."""
    parser.add_argument("container", choices=(*SCRIPTS, "words"), metavar="SHELL", help=f"{', '.join(SCRIPTS)}")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """0."""
    if options.container == "words":
        print("\n".join(complete(options.words or [""], options.command_table)))
    else:
        print(SCRIPTS[options.container], end="")
    return 0


def complete(words: Sequence[str], commands: Sequence[Command]) -> list[str]:
    """The words that may stand in place of the last one; none where a file is to stand."""
    from reconciler.cli.parser import make_parsers, options_of

    *before, last = words
    _, parsers = make_parsers(commands)
    by_name = {name: command.name for command in commands for name in (command.name, *command.aliases)}
    command = next((by_name[word] for word in before if word in by_name), "")
    if before and before[-1] in OPTIONS_WITH_NAMES:
        found: Iterator[str] = _names(before, OPTIONS_WITH_NAMES[before[-1]])
    elif before and before[-1] in ("-f", "--file"):
        return []
    elif last.startswith("-"):
        found = iter(options_of(parsers[command]) if command else ["--file", "--help", "--version"])
    elif not command or command == "help":
        found = iter(by_name)
    elif command == "completion":
        found = iter(SCRIPTS)
    else:
        found = _names(before, COMMANDS_WITH_NAMES.get(command, ()))
    return sorted({word for word in found if word.startswith(last)})


def _names(before: Sequence[str], parts: Sequence[str]) -> Iterator[str]:
    """The names in these parts of the file, which may have faults."""
    if not parts:
        return
    from itertools import pairwise

    from reconciler.errors import NetctlError
    from reconciler.topology.parsed_file import read_parsed

    files = [after for word, after in pairwise(before) if word in ("-f", "--file")]
    files += [word for word in before if word.endswith((".yaml", ".yml"))]
    try:
        tree = read_parsed(files[0] if files else default_file()).document.tree
    except NetctlError:
        return
    for part in parts:
        found = tree.get(part) if isinstance(tree, dict) else None
        for name, value in found.items() if isinstance(found, dict) else ():
            if NAME.fullmatch(str(name)):
                yield from _replicas(str(name), value)


def _replicas(name: str, value: object) -> Iterator[str]:
    count = value.get("replicas") if isinstance(value, dict) else None
    yield name
    if isinstance(count, int):
        yield from (f"{name}-{number}" for number in range(1, min(count, REPLICAS_MAX) + 1))


COMMAND = Command("completion", "print a script that completes command lines", EXAMPLES, add_arguments, run, takes_words=True)
