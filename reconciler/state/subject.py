"""The owner of a thing, for users: `container web`, `subnet front`, `policy from web to db`, `lab`, or `host`.

A record states its owner as far as it knows it (`Record.subject`). Some records hold only an address or the name of a
link. They list the names that identify their owner (`Record.belongs_to_any_of`). Other records lend these names their
own subject (`Record.names_lent`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.state.ref import container_of, is_lab_netns

LAB = "lab"
HOST_SUBJECT = "host"
CONTAINER = "container "
ROOTED = (LAB, HOST_SUBJECT, "subnet", "container")
"""The sorts of subjects that have a record of their own, in the order of a plan. A policy has none."""


def subject_in(netns: str, about: str = "") -> str:
    """The container or lab of a namespace; for the host's own namespace `about`, or else the host."""
    if container := container_of(netns):
        return f"{CONTAINER}{container}"
    return LAB if is_lab_netns(netns) else about or HOST_SUBJECT


def subject_of(container: str) -> str:
    """The subject of a container."""
    return f"{CONTAINER}{container}"


def container_in(subject: str) -> str:
    """The container that a subject names; "" if it names something else."""
    return subject.removeprefix(CONTAINER) if subject.startswith(CONTAINER) else ""


@dataclass(frozen=True, slots=True)
class LentNames:
    """The subjects of names (of links, addresses, hardware addresses), as the records of one host or of all hosts lend them."""

    here: Mapping[str, str]
    everywhere: Mapping[str, str] = field(default_factory=dict)

    def container_at(self, address: str) -> str:
        """The container that has the address on any host; "" if no record says so."""
        return container_in(self.everywhere.get(address, ""))


def order_of(subject: str) -> tuple[int, str]:
    """A key to sort subjects: the lab, the host, subnets, then containers; numbers within a name count by value."""
    word = subject.partition(" ")[0]
    stem, _, number = subject.rpartition("-")
    name = f"{stem}-{int(number):09d}" if number.isascii() and number.isdigit() else subject
    return (ROOTED.index(word) if word in ROOTED else len(ROOTED)), name
