"""The owner of a thing, for users: `container web`, `subnet front`, `policy from web to db`, `lab`, or `host`.

A record states its owner as far as it knows it (`Record.subject`). Some records hold only an address or the name of a
link. They list the names that identify their owner (`Record.belongs_to_any_of`). Other records lend these names their
own subject (`Record.names_lent`).

Only this module builds the text of a subject, and parses it. In JSON a subject is its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from reconciler.state.naming import replica_name, split_replica
from reconciler.state.ref import container_of, is_lab_netns

Sort = Literal["lab", "host", "subnet", "container", "policy"]
ROOTED: tuple[Sort, ...] = ("lab", "host", "subnet", "container")
"""The sorts of subjects that have a record of their own, in the order of a plan. A policy has none."""
SUBJECTS_MAX = 1 << 14
"""Subjects that are cached: hundreds of thousands of records share them."""

_TEXT = re.compile(
    r"""
    (?P<alone> lab | host )
    | (?P<sort> subnet | container ) [ ] (?P<name> [^\r\n\0]{1,4096} )
    | policy [ ] from [ ] (?P<source> [^\r\n\0]{1,2048}? ) [ ] to [ ] (?P<target> [^\r\n\0]{1,2048} )
    """,
    re.VERBOSE,
)


class Subject(NamedTuple):
    """The owner of a thing. `name` is empty for the lab and the host; a policy has its source there, and a target.

    It is a tuple because sets and dicts of many records hash and compare it often.
    """

    sort: Sort
    name: str = ""
    target: str = ""

    @classmethod
    def container(cls, name: str) -> Subject:
        """A container."""
        return cls("container", name)

    @classmethod
    def subnet(cls, name: str) -> Subject:
        """A subnet."""
        return cls("subnet", name)

    @classmethod
    def policy(cls, source: str, target: str) -> Subject:
        """A policy, by its parties: names of containers and subnets, `outside`, `host`, or addresses."""
        return cls("policy", source, target)

    def __str__(self) -> str:
        """The text for people and in JSON: `container web`."""
        if self.sort == "policy":
            return f"policy {self.parties}"
        return f"{self.sort} {self.name}" if self.name else self.sort

    @property
    def parties(self) -> str:
        """Of a policy: `from web to db`."""
        return f"from {self.name} to {self.target}"

    @property
    def container_name(self) -> str:
        """The container that it is; "" if it is something else."""
        return self.name if self.sort == "container" else ""

    @property
    def is_rooted(self) -> bool:
        """Whether its sort has a record of its own, with which it comes and goes."""
        return self.sort in ROOTED

    @property
    def order(self) -> tuple[int, str, int, str]:
        """A key to sort subjects: the lab, the host, subnets, then containers; numbers of replicas count by value."""
        stem, number = split_replica(self.name)
        return (ROOTED.index(self.sort) if self.is_rooted else len(ROOTED)), stem, number, self.target

    @property
    def stem(self) -> Subject | None:
        """Of a replica (`container worker-12`): what it has in common with the others; None for a name without a number."""
        stem, number = split_replica(self.name)
        return self._replace(name=stem) if number >= 0 else None

    def through(self, last: Subject) -> str:
        """The text for people of a run of replicas: `container worker-1 .. worker-12`."""
        return f"{self} .. {last.name}"

    def replica(self, number: int) -> Subject:
        """Its replica of that number: `container worker-1` of `container worker`."""
        return self._replace(name=replica_name(self.name, number))


LAB_SUBJECT = Subject("lab")
HOST_SUBJECT = Subject("host")


@lru_cache(SUBJECTS_MAX)
def parse_subject(text: str) -> Subject:
    """The inverse of `str(Subject)`; ValueError if the text is none of a subject."""
    found = _TEXT.fullmatch(text)
    if not found:
        raise ValueError("text in place of a subject")
    match found["alone"], found["sort"]:
        case ("lab", _):
            return LAB_SUBJECT
        case ("host", _):
            return HOST_SUBJECT
        case (_, "subnet"):
            return Subject.subnet(found["name"])
        case (_, "container"):
            return Subject.container(found["name"])
        case _:
            return Subject.policy(found["source"], found["target"])


def subject_in(netns: str, about: Subject = HOST_SUBJECT) -> Subject:
    """The container or lab of a namespace; for the host's own namespace `about`."""
    return _subject_of(netns) or about


@lru_cache(SUBJECTS_MAX)
def _subject_of(netns: str) -> Subject | None:
    """The container or lab of a namespace; None for the host's own."""
    if container := container_of(netns):
        return Subject.container(container)
    return LAB_SUBJECT if is_lab_netns(netns) else None


@dataclass(frozen=True, slots=True)
class LentNames:
    """The subjects of names (of links, addresses, hardware addresses), as the records of one host or of all hosts lend them."""

    here: Mapping[str, Subject]
    everywhere: Mapping[str, Subject] = field(default_factory=dict)

    def container_at(self, address: str) -> str:
        """The container that has the address on any host; "" if no record says so."""
        return self.everywhere[address].container_name if address in self.everywhere else ""
