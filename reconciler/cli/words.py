"""The words of a command line before argparse reads them: options before the command, `exec` without `--`, a FILE among names.

People bring words from other tools. What means the same here is accepted (`Command.aliases`); of what does not, a hint names
netctl's word. Pure, but for a look at which files exist. Every start of netctl imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from itertools import pairwise

from reconciler.topology import DEFAULT_FILE

FILE_VARIABLE = "NETCTL_FILE"
DEFAULT_FILES = (DEFAULT_FILE, "topology.yml")
"""The names of a topology that is not named; the first that exists."""
STANDARD_INPUT = "-"
INTERACTIVE = ("-i", "-t", "-it", "-ti", "--interactive", "--tty")
"""The options of `docker exec` that netctl does not need: the command has the terminal of netctl."""
COMMAND_HINTS = {
    "ps": "netctl ls",
    "list": "netctl ls",
    "get": "netctl ls",
    "inspect": "netctl ls -o json",
    "show": "netctl status",
    "refresh": "netctl status",
    "rm": "netctl destroy",
    "delete": "netctl destroy",
    "remove": "netctl destroy",
    "deploy": "netctl apply",
    "create": "netctl apply",
    "start": "netctl apply",
    "sync": "netctl apply",
    "check": "netctl validate",
    "config": "netctl validate",
    "lint": "netctl validate",
    "test": "netctl verify",
    "ping": "netctl verify",
    "run": "netctl exec",
    "shell": "netctl exec",
    "stop": "docker stop NAME",
    "restart": "docker restart NAME",
    "logs": "docker logs NAME",
}
"""Commands of other tools, and what to run in their place."""
OPTION_HINTS = {
    "--auto-approve": "write --yes",
    "-auto-approve": "write --yes",
    "--force": "write --yes",
    "--out": "write --plan FILE",
    "-out": "write --plan FILE",
    "--topo": "write -f FILE",
    "-t": "write -f FILE",
    "-d": "leave it out: netctl ends when the network is there",
    "--detach": "leave it out: netctl ends when the network is there",
    "--check": "run `netctl diff`, which changes nothing",
    "--format": "write --json, or of `netctl ls` -o json",
    "-n": "write --host NAME for one host",
}
"""Options of other tools, and what to do in their place."""


def bring_forward(words: Sequence[str], commands: Collection[str], with_value: Collection[str]) -> list[str]:
    """The words with the command first: options that stand before it follow it. Words without a command stay as they are.

    `with_value` are the options whose value is the next word.
    """
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in {"--", "--version"}:
        at += 2 if words[at] in with_value else 1
    if not 0 < at < len(words) or words[at] not in commands:
        return list(words)
    return [words[at], *words[:at], *words[at + 1 :]]


def split_exec(words: Sequence[str], with_value: Collection[str]) -> tuple[list[str], list[str]]:
    """The words of netctl, and those of the command that `exec` runs, whatever these look like.

    The command begins after `--`, or with the first word after CONTAINER that is no option; with `--host`, with the first such
    word.
    """
    own: list[str] = []
    places, at = 1, 0
    while at < len(words) and words[at] != "--":
        word = words[at]
        if word.startswith("-") and word != STANDARD_INPUT:
            if word not in INTERACTIVE:
                own += words[at : at + 2] if word in with_value else [word]
            at += 2 if word in with_value else 1
            places -= word == "--host" or word.startswith("--host=")
        elif places <= 0:
            return own, list(words[at:])
        else:
            own.append(word)
            places -= 1
            at += 1
    return own, list(words[at + 1 :])


def find_file(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The file among the words, and the names. A name of the file has no dot and no slash, and a file's path usually has one."""
    for number, word in enumerate(words):
        if word == STANDARD_INPUT or "." in word or "/" in word or (number == 0 and os.path.isfile(word)):  # noqa: PTH113  a start without pathlib
            return word, [*words[:number], *words[number + 1 :]]
    return None, list(words)


def default_file() -> str:
    """The topology that a command reads if none is named."""
    named = os.environ.get(FILE_VARIABLE)
    found = (name for name in DEFAULT_FILES if os.path.exists(name))  # noqa: PTH110  a start without pathlib
    return named or next(found, DEFAULT_FILE)


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, though it may be wrong: `--json`, or `-o json` of `ls`, before any `--`."""
    own = list(words[: words.index("--")] if "--" in words else words)
    if "exec" in own:
        return False  # the words are those of another program
    named = {f"{first} {second}" for first, second in pairwise(own)}
    return "--json" in own or "--output=json" in own or "-ojson" in own or bool(named & {"-o json", "--output json"})
