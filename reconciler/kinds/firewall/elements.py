"""The topology's nftables tables on a host, and one record for each element of their sets and maps.

Firewall and NAT are the tables `netctl-<topology>` of the families inet, bridge and arp. The fast path of a subnet over
several hosts is a table of its own (see `fast_path`). netctl recognises a table by its name. The program of a table is
constant, so netctl compares it as a whole (`intact`). If a chain or rule was changed, one transaction replaces the
table together with its elements. Each element is a record of its own: one more published port, or one more container,
is one `add element`.

The program is in `kinds.firewall.program`, what elements say in `kinds.firewall.set_elements`, their text in
`kinds.firewall.element_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from reconciler.kinds.firewall.element_text import format_element, parse_element, render_element
from reconciler.kinds.firewall.holders import find_holder, holders_among
from reconciler.kinds.firewall.program import SETS, parse_table_name, render_table, table_name
from reconciler.kinds.firewall.set_elements import ProtocolLink, SetElement
from reconciler.kinds.firewall.summary import describe_elements, describe_ports, summarise_ports
from reconciler.kinds.firewall.traffic_elements import AllowedTraffic, PublishedPort
from reconciler.kinds.identity import element_name, table_ref, uplink_ref
from reconciler.state.naming import split_replica
from reconciler.state.record import Change, Record
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot, TableInfo
from reconciler.state.steps.firewall import ConntrackFlush, NftCommand
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, LentNames, Subject, subject_in
from reconciler.state.summary import InterfaceFacts, Part, Phrase

CHANGED_MAX = 3
"""The most chains and sets of a changed table that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallPart(Record):
    """One of the topology's nftables tables, or something in it. Users see all of them as one firewall."""

    counted_as = "firewall"

    family: str
    topology: str

    @property
    def services(self) -> str:
        """The services that it allows if it belongs to a policy, for users."""
        return ""

    @classmethod
    def count(cls, records: Sequence[Self]) -> str:
        """The allowed services, or else the firewall."""
        return ", ".join(dict.fromkeys(record.services for record in records if record.services)) or "firewall"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallTable(FirewallPart):
    """The table of one family, `inet`, `bridge` or `arp`, or with a subnet `netdev`, with its constant program."""

    kind = "firewall"
    root_of = ("host",)

    intact: bool = True
    """Whether its sets, chains and rules are those of the program. Desired tables are always intact."""
    subnet: str = ""
    changed: tuple[str, ...] = field(default=(), compare=False)
    """The chains and sets that differ from the program, as `chain ours`; empty if the table is intact, or if that is unknown."""

    @classmethod
    def ref_of(cls, netns: str, family: str, subnet: str = "") -> Ref:
        """The identity of such a record."""
        return table_ref(netns, family, subnet)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.family, self.subnet)

    @property
    def as_made(self) -> Self:
        return self if self.intact else replace(self, intact=True)

    @property
    def subject(self) -> Subject:
        return Subject.subnet(self.subnet) if self.subnet else HOST_SUBJECT

    def describe(self) -> str:
        name = table_name(self.topology, self.subnet)
        return f"nftables table {self.family} {name}" + ("" if self.intact else ", changed by another program")

    @property
    def label(self) -> str:
        return f"nftables table {self.family} {table_name(self.topology, self.subnet)}"

    def describe_drift(self, live: Record | None, reason: str) -> str:
        if not isinstance(live, FirewallTable) or live.intact:
            return FirewallPart.describe_drift(self, live, reason)
        names = [f"{word} `{name}`" for word, _, name in (each.partition(" ") for each in live.changed[:CHANGED_MAX])]
        more = f" and {len(live.changed) - CHANGED_MAX:,} more" if len(live.changed) > CHANGED_MAX else ""
        verb = "were" if len(live.changed) > 1 else "was"
        what = f"{', '.join(names)}{more} of the {self.label}" if names else f"the {self.label}"
        return f"{what} {verb} changed by another program"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for table, subnet in own_tables(snapshot):
            yield cls(
                netns="",
                family=table.family,
                topology=snapshot.topology,
                intact=table.intact,
                subnet=subnet,
                changed=table.changed,
            )

    def lower_create(self) -> tuple[Step, ...]:
        # `add` first, so that `delete` always finds a table: one transaction creates or replaces it.
        return (NftCommand(self.netns, self._clear() + render_table(self.family, table_name(self.topology, self.subnet))),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (NftCommand(self.netns, self._clear()),)

    def _clear(self) -> str:
        name = f"{self.family} {table_name(self.topology, self.subnet)}"
        return f"add table {name}\ndelete table {name}\n"


def own_tables(snapshot: Snapshot) -> Iterator[tuple[TableInfo, str]]:
    """The tables of the snapshot's topology, each with its subnet."""
    for table in snapshot.tables:
        topology, subnet = parse_table_name(table.name)
        if topology == snapshot.topology:
            yield table, subnet


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallElement(FirewallPart):
    """One element of a set (`value` is "") or of a map, in the canonical text of `kinds.firewall.element_text`."""

    kind = "element"
    described_as = "nftables elements"

    set: str
    key: str
    value: str = ""
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """The owner of the element, for users: `container web`."""
    subnet: str = ""
    """The subnet of its table."""

    @classmethod
    def of(cls, netns: str, family: str, topology: str, element: SetElement, about: Subject, subnet: str = "") -> Self:
        """The record of an element in a table."""
        name, key, value = format_element(element)
        return cls(netns=netns, family=family, topology=topology, set=name, key=key, value=value, about=about, subnet=subnet)

    @property
    def element(self) -> SetElement:
        """What it says, as a type of its own for each shape of set."""
        return parse_element(self.family, self.set, self.key, self.value)

    @property
    def shape(self) -> type[SetElement]:
        """The type of what it says."""
        return SETS[self.family][self.set].element

    @property
    def published(self) -> PublishedPort | None:
        """What it says, if it is a published port."""
        element = self.element if self.is_named else None
        return element if isinstance(element, PublishedPort) else None

    @classmethod
    def ref_of(cls, netns: str, family: str, set_name: str, key: str, subnet: str = "") -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, element_name(family, set_name, key, subnet))

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.family, self.set, self.key, self.subnet)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (FirewallTable.ref_of(self.netns, self.family, self.subnet),)

    @property
    def follows(self) -> tuple[Ref, ...]:
        # The host handles packets that arrive at its uplink until the bridge has the uplink.
        return (uplink_ref(self.netns, self.key),) if self.set == "switched" else ()

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    @property
    def belongs_to_any_of(self) -> tuple[str, ...]:
        # A live element may not name its owner; its addresses and links identify it.
        return self.element.names if self.about == HOST_SUBJECT else ()

    def subject_among(self, names: LentNames) -> Subject:
        subject = super(FirewallElement, self).subject_among(names)
        if subject == HOST_SUBJECT:  # a container on another host, to which this one forwards a port
            container = names.container_at(self.element.forwarded_to) if names.everywhere else ""
            return Subject.container(container) if container else subject
        element = self.element if subject.sort == "policy" else None
        if not isinstance(element, AllowedTraffic):
            return subject
        # A host reads only the address of a container on another host in a policy.
        source, target = (split_replica(names.container_at(end))[0] for end in element.ends)
        return Subject.policy(source or subject.name, target or subject.target)

    @property
    def services(self) -> str:
        element = self.element if issubclass(self.shape, AllowedTraffic) else None
        return element.describe_services() if isinstance(element, AllowedTraffic) else ""

    @property
    def is_named(self) -> bool:
        # A port of this host that leads to a container on another host.
        return issubclass(self.shape, PublishedPort)

    @classmethod
    def phrases(cls, records: Sequence[Self], _facts: InterfaceFacts) -> Iterator[Phrase]:
        if published := [port for record in records if (port := record.published)]:
            ports = ", ".join(summarise_ports(published))
            yield Phrase(Part.PORTS, ports, alone=", ".join(describe_ports(published)))

    @classmethod
    def describe_changes(cls, changes: Iterable[Change]) -> Iterator[str]:
        yield from describe_elements(list(changes))

    def describe(self) -> str:
        return self.element.describe()

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        tables = [
            (table, subnet, [parse_element(table.family, *text) for text in table.elements])
            for table, subnet in own_tables(snapshot)
        ]
        holders = holders_among(snapshot, (one for table, _, found in tables if table.family == "bridge" for one in found))
        for table, subnet, elements in tables:
            for (name, key, value), element in zip(table.elements, elements, strict=True):
                if not isinstance(element, ProtocolLink):
                    about = find_holder(element, holders, Subject.subnet(subnet) if subnet else HOST_SUBJECT)
                    yield cls(
                        netns="", family=table.family, topology=snapshot.topology,
                        set=name, key=key, value=value, about=about, subnet=subnet,
                    )  # fmt: skip

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (self._command("add"), *self._flush())

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        # A map keeps the old value of an existing key, so the key is deleted first, in the same transaction.
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
        """Steps that delete the UDP connections of a changed port: a flow keeps its first translation as long as it is busy."""
        port = self.published
        return (ConntrackFlush(self.netns, "udp", port.port),) if port and port.protocol == "udp" else ()
