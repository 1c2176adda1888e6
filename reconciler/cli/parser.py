"""The grammar of the command line, its help, and what is said where it is not kept to. Called by `cli.main`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from reconciler import __version__
from reconciler.errors import UsageError

DEFAULT_FILE = "topology.yaml"

EXIT_STATUSES = """\
exit status:
  0  good                                     4  failed, and rolled back
  1  a difference (diff, status)              5  failed, and not wholly rolled back
  2  the file or the usage is wrong           6  verification failed
  3  a host is unreachable or lacks something 7  another netctl holds the lock
"""

EXAMPLES = {
    "init": """\
examples:
  netctl init                         write topology.yaml, to start from
  netctl init shop.yaml               the same, under another name
""",
    "apply": """\
examples:
  netctl apply                        bring all hosts to topology.yaml
  netctl apply --host alpha shop.yaml one host only
  netctl apply --plan p.json          exactly what `netctl diff --plan p.json` has shown
""",
    "diff": """\
examples:
  netctl diff                         what would change
  netctl diff --commands              the same as ip, nft and docker command lines
  netctl diff --commands --show-secrets
                                      with the values of variables, ready to run
  netctl diff --json | jq .hosts      for programs
exit status: 0 nothing differs, 1 something does, 2 or more trouble
""",
    "destroy": """\
examples:
  netctl destroy                      remove what topology.yaml made
  netctl destroy --name shop          without the file: this machine and the lab
  netctl destroy --name shop --host ssh://root@alpha
                                      without the file, another machine
  netctl destroy --keep-going         where a host is gone for good
""",
    "validate": """\
examples:
  netctl validate shop.yaml           every fault, with its place and what to write
""",
    "status": """\
examples:
  netctl status                       in step, drifted, missing: by host and container
exit status: 0 in step, 1 drift
""",
    "verify": """\
examples:
  netctl verify                       ask from inside every namespace, print a matrix
exit status: 0 as the file says, 6 not
""",
    "exec": """\
examples:
  netctl exec web -- ip address       run a command in a container's network
  netctl exec --host alpha -- ss -lnt in a host's own network
The command is one of this machine's, not of the container's image. The exit status is its own.
""",
}

WORDS = {
    "init": "write a topology file to start from",
    "apply": "bring every host to the file",
    "diff": "print the plan and touch nothing",
    "destroy": "remove everything the topology made",
    "validate": "read and check the file only",
    "status": "what is live, in step or drifted",
    "verify": "probe what the file promises and forbids",
    "exec": "run a command in a container's network namespace",
}


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as ours: one sentence, a suggestion, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        found = re.search(r"invalid choice: '(.*?)'", message)
        if found:
            near = nearest(found.group(1), WORDS)
            raise UsageError(f"there is no command {found.group(1)!r}", f"did you mean `netctl {near}`?" if near else HELP_HINT)
        raise UsageError(message.removeprefix("argument "), f"`{self.prog} --help` shows how it is used")


HELP_HINT = f"the commands are {', '.join(WORDS)}; `netctl --help` says more"


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of one command; UsageError where they are not in the grammar. `--help` and `--version` raise SystemExit."""
    # What follows `--` is the command that exec runs, and none of our business.
    words = list(arguments)
    cut = words.index("--") if "--" in words else len(words)
    parser, commands = make_parser()
    options, unknown = parser.parse_known_args(words[:cut])
    if unknown:
        _refuse_unknown(unknown[0], commands[options.command])
    tail = words[cut + 1 :]
    if options.command == "exec":
        options.words += tail
    elif tail:
        name = f"netctl {options.command}"
        raise UsageError(f"`{name}` takes nothing after `--`", f"`{name} --help` shows how it is used")
    return options


def _refuse_unknown(word: str, command: argparse.ArgumentParser) -> NoReturn:
    flags = [flag for action in command._actions for flag in action.option_strings]  # noqa: SLF001  argparse has no other way to list them
    near = nearest(word.partition("=")[0], flags) if word.startswith("-") else ""
    what = "option" if word.startswith("-") else "argument"
    help_text = f"did you mean {near}?" if near else f"`{command.prog} --help` shows how it is used"
    raise UsageError(f"`{command.prog}` knows no {what} {word!r}", help_text)


def parse_seconds(text: str) -> float:
    """A number of seconds that a connection can be waited for; ArgumentTypeError."""
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not 5 <= int(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 5 to 3600")
    return float(text)


def parse_name(text: str) -> str:
    """A name that is given. ArgumentTypeError where it is empty, as a variable may be that is not set: it must not mean all."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like it; "" where none is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and that of each command by its name."""
    parser = Parser(
        prog="netctl",
        description="One YAML file says what a container network should be; netctl applies the difference.",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"netctl {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands: dict[str, Parser] = {}
    for name, words in WORDS.items():
        commands[name] = subparsers.add_parser(
            name,
            help=words,
            description=words[0].upper() + words[1:] + ".",
            epilog=EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_common(commands[name], name)
    _add_special(commands)
    return parser, commands


def _add_common(command: Parser, name: str) -> None:
    if name == "exec":
        command.add_argument("--file", "-f", default=DEFAULT_FILE, metavar="FILE", help=f"the topology (default: {DEFAULT_FILE})")
        return
    default = None if name == "destroy" else DEFAULT_FILE
    command.add_argument("file", nargs="?", default=default, metavar="FILE", help=f"the topology (default: {DEFAULT_FILE})")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    if name not in ("init", "validate"):
        command.add_argument("--host", metavar="NAME", type=parse_name, help="limit it to one host")
    if name in ("apply", "destroy"):
        command.add_argument("--quiet", "-q", action="store_true", help="print errors only")
    if name in ("apply", "diff", "destroy"):
        command.add_argument("--verbose", "-v", action="store_true", help="print every change, not a line for each container")
        help_text = "print the values of environment variables, not ***"
        command.add_argument("--show-secrets", action="store_true", help=help_text)
    if name == "status":
        command.add_argument("--verbose", "-v", action="store_true", help="count the connections of each container, too")


def _add_special(commands: dict[str, Parser]) -> None:
    commands["apply"].add_argument("--plan", metavar="FILE", help="apply exactly the plan saved there; refused where it is stale")
    commands["diff"].add_argument("--plan", metavar="FILE", help="also save the plan there")
    commands["diff"].add_argument("--commands", action="store_true", help="print the plan as a shell script")
    help_text = "the topology's name, where its file is gone"
    commands["destroy"].add_argument("--name", metavar="TOPOLOGY", type=parse_name, help=help_text)
    help_text = "leave out ssh hosts that cannot be reached, and name them"
    commands["destroy"].add_argument("--keep-going", action="store_true", help=help_text)
    for name in ("apply", "destroy"):
        help_text = "ask nothing: also go to machines that only a host speaks of"
        commands[name].add_argument("--yes", "-y", action="store_true", help=help_text)
        help_text = "what an ssh host does without hearing of netctl before it takes itself back (default: 60)"
        commands[name].add_argument("--rollback-after", metavar="S", type=parse_seconds, default=60.0, help=help_text)
    help_text = "a host's own network namespace, not a container's"
    commands["exec"].add_argument("--host", metavar="NAME", type=parse_name, help=help_text)
    commands["exec"].add_argument("container", nargs="?", metavar="CONTAINER", help="as in the file; of replicas, as in worker-2")
    commands["exec"].add_argument("words", nargs="*", metavar="-- CMD", help="the command and its arguments")
