"""The ruleset: a constant program for each family, and the sets of the data that they work on.

The text of a program depends only on the topology's name. All data of a topology (bridges, published ports, policies,
addresses) are elements of sets and maps. So one more port is one more element, and no rule is ever rewritten. Sets are
hash tables wherever possible; the few interval sets hold what a user writes as a CIDR or a range.

`kinds.firewall.elements` makes steps of it, `kernel.netfilter.nft` compares it with what is live,
and `compile` fills the sets. The text of their elements is in `kinds.firewall.element_text`.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.kinds.firewall.chains import SOURCE_PORT_CHAINS, render_chains
from reconciler.kinds.firewall.name_elements import ResolverAddress, ResolverPort, ResolverView
from reconciler.kinds.firewall.port_chains import PORT, PORT_ISOLATED
from reconciler.kinds.firewall.set_elements import (
    BlockElement,
    BridgePair,
    ConnectionLimit,
    EndpointPair,
    ForwardedPrefix,
    IsolatedPrefix,
    LanClients,
    LinkElement,
    MacElement,
    NextHop,
    PortFilter,
    PortMac,
    ProtocolLink,
    RemoteSender,
    ReturnAddress,
    SenderAddress,
    SourcePorts,
)
from reconciler.kinds.firewall.sets import SetSpec
from reconciler.kinds.firewall.traffic_elements import AllowedTraffic, PublishedPort
from reconciler.kinds.links import TUNNELS
from reconciler.state.grammar import is_label, is_topology_name
from reconciler.state.naming import group_of

TABLE_PREFIX = "netctl-"


def _inet_sets() -> dict[str, SetSpec]:
    sets = {
        "bridges": SetSpec(LinkElement, ("ifname",)),
        # Each bridge with itself. netctl does not filter traffic within a bridge, but foreign firewalls must let it
        # pass.
        "same_bridge": SetSpec(BridgePair, ("ifname", "ifname")),
        "nat_bridges": SetSpec(LinkElement, ("ifname",)),
        "routed_bridges": SetSpec(LinkElement, ("ifname",)),
        # An uplink that is a port of Open vSwitch. If that works in user space, the host sees its packets too, and must
        # not accept them. Ports of containers are known by their group.
        "switched": SetSpec(LinkElement, ("ifname",)),
        # Links to the outside: packets between them and netctl's bridges may pass foreign filters, too.
        "uplinks": SetSpec(LinkElement, ("ifname",)),
        # Ports of name servers that containers reach by a redirection only.
        "dns_ports": SetSpec(ResolverPort, ("inet_service",)),
        # The limit of a container's connections, by its bridge and its hardware address there.
        "connections": SetSpec(ConnectionLimit, ("ifname", "ether_addr"), ("count",), statement="ct count over"),
        # The block of new source ports for a masqueraded connection, by its own source port.
        "source_ports": SetSpec(SourcePorts, ("inet_service",), ("verdict",), interval=True, chains=SOURCE_PORT_CHAINS),
    }
    for family in "46":
        sets |= _family_sets(family)
    for kind in TUNNELS:
        sets |= kind.encapsulation.sets
    return sets


def _family_sets(family: str) -> dict[str, SetSpec]:
    """The sets of the table `inet` with addresses of one family."""
    address = f"ipv{family}_addr"
    service = ("inet_proto", "inet_service")
    target = (address, "inet_service")
    return {
        f"own{family}": SetSpec(BlockElement, (address,), interval=True),
        # The members of `own` with a host subnet on this host: other packets may arrive over the uplink.
        f"local{family}": SetSpec(BlockElement, (address,), interval=True),
        f"guarded{family}": SetSpec(BlockElement, (address,), interval=True),
        f"natted{family}": SetSpec(BlockElement, (address,), interval=True),
        f"published{family}": SetSpec(PublishedPort, service, target),
        f"published_at{family}": SetSpec(PublishedPort, ("inet_proto", address, "inet_service"), target),
        f"published_from{family}": SetSpec(
            PublishedPort,
            ("inet_proto", address, "inet_service", address),
            target,
            interval=True,
            single=(1, 2),
        ),
        f"allowed{family}": SetSpec(AllowedTraffic, (address, address), interval=True, counted=True),
        f"allowed_ports{family}": SetSpec(AllowedTraffic, (address, address, *service), interval=True, counted=True),
        f"outbound{family}": SetSpec(AllowedTraffic, (address,), interval=True, counted=True),
        f"outbound_ports{family}": SetSpec(AllowedTraffic, (address, *service), interval=True, counted=True),
        # Other hosts, by link and hardware address, that send packets of their containers without encapsulation.
        f"neighbours{family}": SetSpec(SenderAddress, ("ifname", "ether_addr", address)),
        # Hosts that share a subnet with this one, by their underlay addresses.
        f"peers{family}": SetSpec(BlockElement, (address,)),
        # Containers on other hosts with a port published here, and this host's address that they answer to.
        f"returns{family}": SetSpec(ReturnAddress, (address,), (address,)),
        # Containers on a LAN with a published port, and the LAN: they would answer its clients directly, past this
        # host.
        f"lan_clients{family}": SetSpec(LanClients, (address, address), interval=True),
        # The topology's hosts in their subnets. They route, so their ICMP errors may concern connections of others.
        f"gateways{family}": SetSpec(BlockElement, (address,)),
        # Where the host's name servers answer, and the containers that know other names than their subnet does.
        f"resolvers{family}": SetSpec(ResolverAddress, (address,)),
        f"dns_views{family}": SetSpec(ResolverView, (address,), ("inet_service",)),
        # Each container with itself: nft cannot compare two addresses of a packet, but it can look up both
        # together.
        f"endpoints{family}": SetSpec(EndpointPair, (address, address)),
    }


def _netdev_sets() -> dict[str, SetSpec]:
    """The sets of one subnet's fast path: local and remote containers, and the links to them."""
    sets = {
        # Hardware addresses behind the tunnel, and of containers here.
        "behind": SetSpec(MacElement, ("ether_addr",)),
        "members": SetSpec(MacElement, ("ether_addr",)),
        # With routes: the bridge's hardware address, to which containers send packets for other hosts.
        "gateway": SetSpec(MacElement, ("ether_addr",)),
    }
    for family in "46":
        address = f"ipv{family}_addr"
        sets |= {
            f"addresses{family}": SetSpec(SenderAddress, ("ifname", "ether_addr", address)),
            # With routes: the next hop to a remote container, the sources that its host sends for it, and the local
            # containers.
            f"hops{family}": SetSpec(NextHop, (address,), (address,)),
            f"neighbours{family}": SetSpec(RemoteSender, ("ether_addr", address)),
            f"members{family}": SetSpec(BlockElement, (address,)),
        }
    return sets | {name: SetSpec(ProtocolLink, ("ether_type",), ("iface_index",)) for name in WAYS}


WAYS = ("to_tunnel", "to_uplink", "to_bridge")
"""The maps that name a link, for each protocol. The kernel stores the link's number, so a re-created link is another one."""

SETS: Mapping[str, Mapping[str, SetSpec]] = {
    "inet": _inet_sets(),
    "bridge": {
        # Each container's port, and the chain for packets that come in there.
        "ports": SetSpec(PortFilter, ("ifname",), ("verdict",), chains=(PORT, PORT_ISOLATED)),
        # Ports that may send as a DHCP server, and as an IPv6 router. Ports with addresses from the LAN, which are
        # known only later.
        "dhcp_clients": SetSpec(LinkElement, ("ifname",)),
        "leases4": SetSpec(SenderAddress, ("ifname", "ether_addr", "ipv4_addr"), interval=True),
        "dhcp_servers": SetSpec(LinkElement, ("ifname",)),
        "routers": SetSpec(LinkElement, ("ifname",)),
        # Ports in a LAN, whose switches may learn group members from MLD. netctl's bridges do not (mcast_snooping 0):
        # there each report would go to every port. 1,000 new containers with IPv6 send five each, and keep both cores
        # busy for half a minute.
        "lan_ports": SetSpec(LinkElement, ("ifname",)),
        "macs": SetSpec(PortMac, ("ifname", "ether_addr")),
        "addresses4": SetSpec(SenderAddress, ("ifname", "ether_addr", "ipv4_addr")),
        # Two rules use this set: one with a packet's source, one with the target of a neighbor advertisement. In nft
        # 1.0.6, only bits of a payload (`@th,64,128`) of type integer can express the target. So both rules use bits.
        "addresses6": SetSpec(SenderAddress, ("ifname", "ether_addr", "ipv6_addr"), typeof="iifname . ether saddr . @nh,64,128"),
        # Forwarding containers: the port, the prefix behind it, and the containers with a route to the prefix by it.
        "forwarded4": SetSpec(ForwardedPrefix, ("ifname", "ether_addr", "ipv4_addr", "ipv4_addr"), interval=True),
        "forwarded6": SetSpec(ForwardedPrefix, ("ifname", "ether_addr", "ipv6_addr", "ipv6_addr"), interval=True),
        # Isolated ports, with the prefixes in which they reach no address of another isolated one, and those addresses.
        # The hardware addresses of isolated ones on other hosts.
        "isolated_ports": SetSpec(LinkElement, ("ifname",)),
        "isolated_ports4": SetSpec(IsolatedPrefix, ("ifname", "ipv4_addr"), interval=True),
        "isolated_ports6": SetSpec(IsolatedPrefix, ("ifname", "ipv6_addr"), interval=True),
        "isolated4": SetSpec(BlockElement, ("ipv4_addr",)),
        "isolated6": SetSpec(BlockElement, ("ipv6_addr",)),
        "isolated_macs": SetSpec(MacElement, ("ether_addr",)),
    },
    "arp": {},
    "netdev": _netdev_sets(),
}
"""The sets and maps of each table, in the order of their declaration."""


# --- names ------------------------------------------------------------------------------------------------------------


def check_topology(name: str) -> None:
    """Raise ValueError unless `name` is a DNS label of at most 20 characters."""
    if not is_topology_name(name):
        raise ValueError(f"{name!r} is not a name of a topology")


def table_name(topology: str, subnet: str = "") -> str:
    """`netctl-shop`, or for a subnet `netctl-shop.front`; ValueError if a name is invalid in a file."""
    check_topology(topology)
    if subnet and not is_label(subnet):
        raise ValueError(f"{subnet!r} is not a name of a subnet")
    return f"{TABLE_PREFIX}{topology}" + (f".{subnet}" if subnet else "")


def parse_table_name(name: str) -> tuple[str, str]:
    """Topology and subnet of a table; both "" if the name is not one of netctl's."""
    topology, _, subnet = name.removeprefix(TABLE_PREFIX).partition(".")
    return (topology, subnet) if name.startswith(TABLE_PREFIX) else ("", "")


# --- the programs -----------------------------------------------------------------------------------------------------


def render_table(family: str, name: str) -> str:
    """The table with its empty sets, chains and rules, as `nft -f` reads it; ValueError if the name is not a table's."""
    topology, subnet = parse_table_name(name)
    table_name(topology, subnet)
    sets = "".join(spec.declare(each) for each, spec in SETS[family].items())
    return f"table {family} {name} {{\n{sets}{render_chains(family, group_of(topology))}}}\n"
