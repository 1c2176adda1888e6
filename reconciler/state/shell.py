"""Words, comments and here-documents of a shell script, and how its lines enter the namespaces of a host.

Steps write their command lines with these functions, so that any text in a line remains a word.

A user reads a script on a terminal before running it. So it must not steer the terminal, and it may pass through any
encoding: a `printf` writes all that is not printable ASCII. The words mean the same to every POSIX shell.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.state.ref import HOST, container_of, netns_path_name
from reconciler.state.visible import visible_line

_HIDDEN = re.compile(r"[^ -~\n\t]+")


def quote(word: str) -> str:
    """The word as a shell reads it; ValueError if it has a NUL, which no word can have."""
    if "\0" in word:
        raise ValueError("a word with a NUL")
    if not _HIDDEN.search(word):
        return shlex.quote(word)
    parts, at = [], 0
    for found in _HIDDEN.finditer(word):
        parts += [word[at : found.start()], _print(found[0])]
        at = found.end()
    quoted = [shlex.quote(part) if index % 2 == 0 else part for index, part in enumerate([*parts, word[at:]]) if part]
    return "".join(quoted)


def join(words: Iterable[str]) -> str:
    """A command line of these words."""
    return " ".join(map(quote, words))


def comment(text: str) -> str:
    """A comment on one line, whatever the text."""
    return f"# {visible_line(text)}"


def here_document(command: str, text: str, word: str) -> Iterator[str]:
    """The lines that pass the text to the command; `word` ends it, or another word if the text has that one on a line."""
    end = word
    lines = set(text.splitlines()) | set(text.split("\n"))
    while end in lines:
        end += "_"
    yield f"{command} <<'{end}'"
    yield text
    yield end


def _print(text: str) -> str:
    octal = "".join(f"\\{byte:03o}" for byte in text.encode("utf-8", "surrogateescape"))
    return f"\"$(printf '{octal}')\""


@dataclass(frozen=True, slots=True)
class EngineShell:
    """How command lines reach a container of an engine."""

    command: tuple[str, ...]
    """The engine's program, with where it listens."""
    pid: str
    """The command line that prints the first process of the container; "" if a file under /run/netns is its namespace."""


@dataclass(frozen=True, slots=True)
class HostShell:
    """How command lines enter the namespaces of one host.

    `host_key` is what the host is called in labels and under /run/netctl: `local`, or `shop.lab.alpha`. `own` is the file
    name under /run/netns of the host's own namespace, "" for the machine's. `engines` maps a container that an
    engine runs to how command lines reach it.
    """

    topology: str
    host_key: str
    own: str = ""
    engines: Mapping[str, EngineShell] = field(default_factory=dict)
    openvswitch: str = ""
    """The socket of the host's Open vSwitch database; "" for the usual one."""

    def netns_word(self, netns: str) -> str:
        """The namespace's name for `ip netns` and `peer … netns`: a name, or an engine container's pid; "" for the machine's."""
        if netns == HOST:
            return self.own
        if (engine := self.engines.get(container_of(netns))) and engine.pid:
            return f"$({engine.pid})"
        return netns_path_name(self.topology, netns)

    def link_netns(self, netns: str) -> str:
        """The value of ip(8)'s `netns` for a link that is created in the namespace, as a shell reads it."""
        name = self.netns_word(netns) or "1"  # the machine's own namespace has no name; pid 1 lives in it
        return name if name.startswith("$(") else quote(name)

    def tool(self, netns: str, *words: str) -> str:
        """The command line that runs `words` in the namespace."""
        name = self.netns_word(netns)
        if not name:
            return join(words)
        if name.startswith("$("):
            return f"nsenter -t {name} -n {join(words)}"
        if words[0] in ("ip", "bridge"):  # they can enter the namespace themselves, which is faster
            return join([words[0], "-n", name, *words[1:]])
        return join(["nsenter", f"--net=/run/netns/{name}", *words])

    def engine(self, netns: str, runtime: str) -> tuple[str, ...]:
        """The command of the engine that runs the container of a namespace."""
        engine = self.engines.get(container_of(netns))
        return engine.command if engine else (runtime,)


def flatten(options: Iterable[tuple[str, str]]) -> list[str]:
    """Names and values in turn, as ip(8) expects them."""
    return [word for option in options for word in option]
