"""A macvlan: an interface with a hardware address of its own on the host's uplink, in a container or on the host.

The uplink stays unchanged; it only delivers frames for a known hardware address to the macvlan with that address. No
bridge is created, and the host's bridges and filters never see such a frame. The mode (ip-link(8), IEEE 802.1Qbg)
determines how the macvlans of one uplink reach each other. `bridge`: directly. `vepa`: by a switch that reflects
frames. `private`: not at all. `passthru`: there is only one, and it has the uplink to itself, hardware address
included.

The uplink does not exchange frames with its own macvlans. So a host that must reach its containers has a macvlan of its
own in mode bridge, and routes to them over it. That macvlan has no address and answers no ARP, or the LAN would learn
two hardware addresses of the host.

A container's macvlan is created from the host's namespace, under its final name in the container's: moving a link
deletes its addresses. In the container it carries netctl's mark, tag and alias. Uplink and mode are fixed at its
creation; all else is repaired in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.kinds.identity import sysctl_ref
from reconciler.kinds.links.base import Link, Options
from reconciler.kinds.links.marks import OwnLink, bears_tag
from reconciler.kinds.links.wire import Table, choice
from reconciler.kinds.settings.link_settings import LINK_DEFAULTS
from reconciler.state.naming import parse_alias
from reconciler.state.ref import HOST, Ref, is_lab_netns
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import LinkAdd, Peer
from reconciler.state.summary import InterfaceFacts, Part, Phrase

WIRE: Table = {
    "mode": (1, choice("=I", {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16})),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Macvlan(Link):
    """The macvlan `name` on the host's link `lower`."""

    kind = "macvlan"
    root_of = ("subnet",)
    is_attachment = True
    wire = (WIRE,)
    lower_option = "link"
    fixed = ("lower", "mode")

    lower: str
    mode: str

    @classmethod
    def ref_of(cls, netns: str, name: str, mode: str) -> Ref:
        """The identity of the macvlan called `name`.

        One that has an uplink to itself and one that shares it have different identities: each can be created only
        after the other is deleted.
        """
        return Ref(cls.kind, netns, f"{name} {mode}" if mode == "passthru" else name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name, self.mode)

    @property
    def follows(self) -> tuple[Ref, ...]:
        # Settings that a new link inherits from its namespace must be right before its creation.
        return tuple(sysctl_ref(self.netns, key) for key in LINK_DEFAULTS) if self.netns != HOST else ()

    def phrase(self, facts: InterfaceFacts) -> Phrase:
        alias = parse_alias(self.alias)
        where = alias.subnet if alias and alias.subnet else self.lower
        own = facts.with_addresses(f"macvlan {self.name}", self.netns, self.name)
        return Phrase(Part.LINKS, f"{own} on {where}{facts.rate(self.netns, self.name)}")

    def describe(self) -> str:
        return f"macvlan {self.name} on {self.lower or 'a link that is gone'}, mode {self.mode}, MTU {self.mtu}"

    @classmethod
    def find_own(cls, snapshot: Snapshot) -> Iterator[OwnLink]:
        """The topology's macvlans. They carry its mark where they are: in containers and in the host's own namespace.

        The root of a container can write netctl's mark on a macvlan of its own. Then the link below is in the
        container; the link below one of netctl's is on the host.
        """
        for netns, namespace in snapshot.namespaces.items():
            # A lab host's own macvlans belong to the host, not to the lab.
            for info in namespace.links.values() if not is_lab_netns(netns) else ():
                is_forged = netns != HOST and info.local_peer
                if info.kind == cls.kind and bears_tag(snapshot.topology, info) and not is_forged:
                    alias = parse_alias(info.alias)
                    if alias is None or alias.topology == snapshot.topology:
                        yield OwnLink(snapshot.topology, netns, info, alias)

    @classmethod
    def read_fields(cls, snapshot: Snapshot, link: OwnLink) -> dict[str, Any]:
        lower = snapshot.namespace(HOST).links.get(link.info.peer)
        # It gets no altname: its name in a container is short already.
        return super(Macvlan, cls).read_fields(snapshot, link) | {"lower": lower.name if lower else "", "altname": ""}

    @property
    def wire_options(self) -> Options:
        return (("link", self.lower), ("mode", self.mode))

    @classmethod
    def parse_options(cls, options: Mapping[str, str]) -> dict[str, Any]:
        return {"mode": options.get("mode", "")}

    def lower_add(self) -> LinkAdd:
        peer = Peer(self.netns, self.name, self.mac, self.mtu) if self.netns != HOST else None
        return replace(Link.lower_add(self), netns=HOST, peer=peer)
