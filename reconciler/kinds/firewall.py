"""The topology's nftables tables on a host, and one record for each element of their sets and maps.

Firewall and NAT are the tables `netctl-<topology>` of the families inet, bridge and arp; the fast path of a subnet over several
hosts is a table of its own (see `fast_path`). A table is recognised by its name. What is in it is compared as a whole
(`intact`), since its program is constant: where somebody has changed a chain or rule, the table is replaced in one transaction,
its elements with it. An element is its own record, so that publishing one more port, or adding one container, is one
`add element`.

The program and the grammar of elements are in `kinds.firewall_program`, what they say in `kinds.firewall_words`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from reconciler.kinds.firewall_program import WAYS, parse_table_name, render_element, render_table, table_name
from reconciler.kinds.firewall_words import about_element, describe_element, holders_of
from reconciler.kinds.identity import uplink_ref
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot, TableInfo
from reconciler.state.steps.firewall import ConntrackFlush, NftCommand
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class FirewallTable(Record):
    """The table of one family, `inet`, `bridge` or `arp`, or with a subnet `netdev`, with its constant program."""

    kind = "firewall"

    family: str
    topology: str
    intact: bool = True
    """Whether its sets, chains and rules are those of the program. Desired tables are always intact."""
    subnet: str = ""

    @classmethod
    def ref_of(cls, netns: str, family: str, subnet: str = "") -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, table_ident(family, subnet))

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.family, self.subnet)

    @property
    def as_made(self) -> Self:
        return self if self.intact else replace(self, intact=True)

    @property
    def subject(self) -> str:
        return f"subnet {self.subnet}" if self.subnet else "host"

    def describe(self) -> str:
        name = table_name(self.topology, self.subnet)
        return f"nftables table {self.family} {name}" + ("" if self.intact else ", changed by somebody")

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for table, subnet in own_tables(snapshot):
            yield cls("", table.family, snapshot.topology, table.intact, subnet)

    def lower_create(self) -> tuple[Step, ...]:
        # `add` first, so that `delete` finds a table in every case: one text makes and replaces, in one transaction.
        return (NftCommand(self.netns, self._clear() + render_table(self.family, table_name(self.topology, self.subnet))),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (NftCommand(self.netns, self._clear()),)

    def _clear(self) -> str:
        name = f"{self.family} {table_name(self.topology, self.subnet)}"
        return f"add table {name}\ndelete table {name}\n"


def table_ident(family: str, subnet: str = "") -> str:
    """`inet`, `netdev.front`: a table's name among those of its topology."""
    return f"{family}.{subnet}" if subnet else family


def own_tables(snapshot: Snapshot) -> Iterator[tuple[TableInfo, str]]:
    """The tables of the snapshot's topology, each with its subnet."""
    for table in snapshot.tables:
        topology, subnet = parse_table_name(table.name)
        if topology == snapshot.topology:
            yield table, subnet


@dataclass(frozen=True, slots=True)
class FirewallElement(Record):
    """One element of a set (`value` is "") or of a map, in the canonical text of `kinds.firewall_program`."""

    kind = "element"

    family: str
    topology: str
    set: str
    key: str
    value: str = ""
    about: str = field(default="host", compare=False)
    """Whose element it is, for people: `container web`."""
    subnet: str = ""
    """Of its table."""

    @classmethod
    def ref_of(cls, netns: str, family: str, set_name: str, key: str, subnet: str = "") -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{table_ident(family, subnet)} {set_name} {key}")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.family, self.set, self.key, self.subnet)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (FirewallTable.ref_of(self.netns, self.family, self.subnet),)

    @property
    def follows(self) -> tuple[Ref, ...]:
        # The host goes on with what arrives at its uplink, until the bridge has it.
        return (uplink_ref(self.netns, self.key),) if self.set == "switched" else ()

    @property
    def subject(self) -> str:
        return self.about

    def describe(self) -> str:
        return describe_element(self.set, self.key, self.value)

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        tables = tuple(own_tables(snapshot))
        holders = holders_of(snapshot) if tables else {}
        for table, subnet in tables:
            for name, key, value in table.elements:
                if name not in WAYS:
                    about = f"subnet {subnet}" if subnet else about_element(name, key, value, holders)
                    yield cls("", table.family, snapshot.topology, name, key, value, about, subnet)

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (self._command("add"), *self._flush())

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        # A map keeps the value of a key that it has, so the key goes first, in the same transaction.
        return (before._command("delete"), self._command("add"), *self._flush())

    def lower_delete(self) -> tuple[Step, ...]:
        return (self._command("delete"), *self._flush())

    def lower_aftermath(self) -> tuple[Step, ...]:
        return self._flush()

    def _command(self, verb: str) -> NftCommand:
        table = self.family, table_name(self.topology, self.subnet)
        text = render_element(verb, table, self.set, self.key, self.value)
        return NftCommand(self.netns, text + "\n")

    def _flush(self) -> tuple[Step, ...]:
        """A UDP flow keeps the translation that it began with for as long as it is busy, so a changed port forgets its flows."""
        if not self.set.startswith("published") or not self.key.startswith("udp . "):
            return ()
        parts = self.key.split(" . ")
        port = parts[1] if len(parts) == 2 else parts[2]
        # A range is none of ours, one element is one port; it could be of all ports.
        return (ConntrackFlush(self.netns, "udp", int(port)),) if port.isdecimal() else ()
