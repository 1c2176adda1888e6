"""How a subnet spans hosts, as records: what grows with whom, what is refused, and what both sides of a pair agree on."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TypeVar

import pytest

from reconciler.compile import Desired, compile_topology
from reconciler.errors import HostError, TopologyError
from reconciler.kinds.addressing.fdb import BROADCAST_MAC, Fdb
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.links.vxlan import Vxlan
from reconciler.state.foreign import ForeignTunnel
from reconciler.state.host import HostFacts
from reconciler.state.record import Record
from reconciler.state.ref import HOST
from reconciler.topology.load import parse_topology
from tests.harness.fakes.foreign import listener

R = TypeVar("R", bound=Record)

TEXT = """
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"]}
  gamma: {connect: lab, address: [198.51.100.13, "2001:db8:1::13"]}
subnets:
  front: {cidr: [10.44.0.0/24, "fd00:44::/64"]OPTIONS}
containers:
  web: {host: alpha, networks: {front: auto}}
  api: {host: beta, networks: {front: auto}}
  db: {host: gamma, networks: {front: auto}}
"""


def desired(options: str = "", text: str = TEXT, facts: dict[str, HostFacts] | None = None) -> Desired:
    topology = parse_topology(text.replace("OPTIONS", options).encode())
    return compile_topology(topology, facts if facts is not None else {host: HostFacts(exists=True) for host in topology.hosts})


def of(made: Desired, host: str, kind: type[R]) -> list[R]:
    return [record for record in made.hosts[host].records.values() if isinstance(record, kind) and record.netns == HOST]


def test_all_hosts_agree_on_the_tunnel() -> None:
    """One number, one port, one MTU; each speaks from its own address; all links of the segment have the MTU that is left."""
    made = desired()
    tunnels = [of(made, host, Vxlan)[0] for host in ("alpha", "beta", "gamma")]
    assert len({tunnel.vni for tunnel in tunnels}) == 1
    assert [tunnel.local for tunnel in tunnels] == ["192.0.2.11", "192.0.2.12", "198.51.100.13"]
    assert len({tunnel.mac for tunnel in tunnels}) == 3
    for host in ("alpha", "beta", "gamma"):
        mtus = [each.mtu for each in of(made, host, Vxlan)] + [each.mtu for each in of(made, host, Bridge)]
        assert set(mtus) == {1450}
        assert {link.mtu for link in of(made, host, Veth)} == {1450}
        assert {link.peer_mtu for link in of(made, host, Veth)} == {1450}


def test_given_numbers_are_taken() -> None:
    """`vni`, `vxlan_port` and `mtu`."""
    (tunnel,) = of(desired(", vni: 77, vxlan_port: 4790, mtu: 1400"), "beta", Vxlan)
    assert (tunnel.vni, tunnel.port, tunnel.mtu) == (77, 4790, 1400)


def test_entries_for_every_remote_endpoint() -> None:
    """Two other hosts with a container each: two broadcasts, four remote endpoints in both tables, a neighbor per address."""
    made = desired()
    entries = of(made, "alpha", Fdb)
    assert sorted(entry.remote for entry in entries if entry.mac == BROADCAST_MAC) == ["192.0.2.12", "198.51.100.13"]
    behind = {entry.mac: entry.remote for entry in entries if entry.remote and entry.mac != BROADCAST_MAC}
    assert len(behind) == 4
    assert {entry.mac for entry in entries if entry.dev.startswith("x-") and not entry.remote} == set(behind)
    endpoint = made.resolved.endpoints["db"][0]
    assert behind[endpoint.mac] == "198.51.100.13"
    assert behind[made.resolved.host_subnets["beta"]["front"].mac] == "192.0.2.12"
    neighbors = {neighbor.address: neighbor.mac for neighbor in of(made, "alpha", Neighbor)}
    assert all(neighbors[own.address] == endpoint.mac for own in endpoint.addresses)


def test_ipv6_underlay_takes_more_room() -> None:
    """Where a host has no IPv4 address, the VXLAN speaks IPv6, and 70 bytes are gone."""
    made = desired(text=TEXT.replace('[192.0.2.12, "2001:db8::12"]', '"2001:db8::12"'))
    (tunnel,) = of(made, "alpha", Vxlan)
    assert (tunnel.local, tunnel.mtu) == ("2001:db8::11", 1430)


def test_the_smallest_uplink_counts() -> None:
    """For every host of the segment."""
    facts = {"alpha": HostFacts(exists=True, uplink_mtu=9000), "beta": HostFacts(exists=True, uplink_mtu=1400)}
    (tunnel,) = of(desired(facts=facts), "alpha", Vxlan)
    assert tunnel.mtu == 1350


@pytest.mark.parametrize(
    ("options", "text", "words"),
    [
        (", overlay: routes", TEXT, "alpha (192.0.2.11) and gamma (198.51.100.13) share no link"),
        (", mtu: 1451", TEXT, "packets of 1451 bytes do not fit: the smallest uplink of front takes 1500, less 50 for the VXLAN"),
        (
            "",
            TEXT.replace('[192.0.2.12, "2001:db8::12"]', '"2001:db8::12"').replace('[192.0.2.11, "2001:db8::11"]', "192.0.2.11"),
            "the hosts of front have no family in common",
        ),
    ],
)
def test_refused(options: str, text: str, words: str) -> None:
    """With a sentence, and a place in the file."""
    with pytest.raises(TopologyError) as raised:
        desired(options, text)
    (fault,) = raised.value.faults
    assert words in fault.message
    assert fault.position.line == 9
    assert fault.help_text


def test_routes_that_cannot_be_say_what_to_write() -> None:
    """A family that a host lacks can be given. The help says why a host that the subnet does not name is on it."""
    lacking = TEXT.replace('[192.0.2.12, "2001:db8::12"]', "192.0.2.12")
    guest = TEXT.replace("db: {host: gamma, networks: {front: auto}}", "db: {host: gamma, networks: {back: auto}}")
    guest = guest.replace("containers:", "  back: {cidr: 10.45.0.0/24}\ncontainers:") + "policies: [{allow: db, to: web}]\n"
    for text, words in ((lacking, "give each host an IPv6 `address`"), (guest, "; gamma is on front for a policy")):
        with pytest.raises(TopologyError) as raised:
            desired(", overlay: routes", text)
        (fault,) = raised.value.faults
        assert words in fault.help_text


def test_an_uplink_without_room_for_ipv6_is_refused() -> None:
    """1,280 bytes must be left (RFC 8200)."""
    with pytest.raises(TopologyError) as raised:
        desired(facts={"alpha": HostFacts(exists=True, uplink_mtu=1320)})
    assert "which needs 1280 bytes a packet, and 1270 are left" in raised.value.faults[0].message


def test_auto_chooses_by_pair() -> None:
    """Routes between alpha and beta, which share a link, and VXLAN to gamma; both ends say the same."""
    made = desired(", overlay: auto")
    ways = {
        (host, peer.host): peer.overlay
        for host, host_subnets in made.resolved.host_subnets.items()
        for peer in host_subnets["front"].peers
    }
    assert {pair for pair, way in ways.items() if way == "routes"} == {("alpha", "beta"), ("beta", "alpha")}
    routes = {route.dst: route for route in of(made, "alpha", Route) if route.link is None}
    api = made.resolved.endpoints["api"][0]
    assert {f"{own.address}/{32 if own.family == 4 else 128}" for own in api.addresses} <= set(routes)
    assert len(routes) == 4
    assert {entry.remote for entry in of(made, "alpha", Fdb)} == {"198.51.100.13", ""}


def test_routes_over_a_real_link_need_its_prefix() -> None:
    """Of a host that is not in the lab, the prefix of its address is read from it."""
    text = TEXT.replace("connect: lab", "connect: ssh://root@x").replace("10.44.0.0/24", "10.45.0.0/24")
    text = text.replace('[10.45.0.0/24, "fd00:44::/64"]', "10.45.0.0/24")
    text = text.replace("198.51.100.13", "192.0.2.13")
    hosts = (("alpha", 11), ("beta", 12), ("gamma", 13))
    near = {host: HostFacts(exists=True, uplink="eth9", addresses=(f"192.0.2.{last}/24",)) for host, last in hosts}
    made = desired(", overlay: routes", text, near)
    assert {route.dev for route in of(made, "alpha", Route) if route.link is None} == {"eth9"}
    with pytest.raises(TopologyError) as raised:
        desired(", overlay: routes", text, {**near, "gamma": HostFacts(exists=True, addresses=("192.0.2.13/32",))})
    assert "share no link" in raised.value.faults[0].message


def test_what_keeps_a_host_from_the_others() -> None:
    """A VXLAN of that number which is not ours, and a program at its port; sockets of the kernel itself are no matter."""
    vni = of(desired(), "alpha", Vxlan)[0].vni
    taken = (
        ForeignTunnel(name="flannel.1", link_kind="vxlan", options=(("dstport", "4789"), ("id", str(vni)))),
        ForeignTunnel(name="flannel.2", link_kind="vxlan", options=(("dstport", "4789"), ("id", "1"))),
        listener("udp 0.0.0.0 4789", "socat (pid 7)"),
        listener("udp 0.0.0.0 4789"),
    )
    with pytest.raises(HostError) as raised:
        desired(facts={"alpha": HostFacts(exists=True, foreign=taken)})
    assert f"has a VXLAN of the number {vni} already, the link flannel.1" in raised.value.message
    assert "port 4789/udp, which the VXLAN of front needs, is held by socat (pid 7)" in raised.value.message
    assert raised.value.message.startswith("2 conflicts")


def test_a_host_has_the_address_that_others_reach_it_by() -> None:
    """Else packets would leave with another, or not at all, and the others would refuse them."""
    text = TEXT.replace("connect: lab", "connect: ssh://root@x")
    with pytest.raises(HostError) as raised:
        desired(text=text, facts={"beta": HostFacts(exists=True, addresses=("192.0.2.13/24", "2001:db8::12/64"))})
    assert "host beta does not have the address 192.0.2.12" in raised.value.message


def test_a_container_more_is_its_own_entries_and_nothing_else() -> None:
    """On a host that it is not on: two forwarding entries, a neighbor and an end of errors for each address, and its share."""
    before = desired().hosts["alpha"].records
    more = desired(text=TEXT + "  new: {host: gamma, networks: {front: 10.44.0.99}}\n").hosts["alpha"].records
    assert set(before) <= set(more)
    assert all(before[ref] == more[ref] for ref in before)
    assert sorted(ref.kind for ref in set(more) - set(before)) == ["element"] * 3 + ["fdb", "fdb", "neighbor", "neighbor"]


def test_who_may_send_is_who_is_declared() -> None:
    """The other hosts of the subnet, to this host's end of the tunnel, on its port, and no other node."""
    elements = {(e.set, e.key) for e in of(desired(), "alpha", FirewallElement)}
    assert ("vxlan_ports", "4789") in elements
    assert {key for name, key in elements if name == "vteps4"} == {
        f"{address} . 192.0.2.11 . 4789" for address in ("192.0.2.12", "198.51.100.13")
    }
    assert not any(name == "vteps6" for name, _ in elements)


def test_a_host_that_is_reached_by_routes_has_no_tunnel() -> None:
    """With `auto`, a neighbor's packets come by routes, so a VXLAN packet with its address is not its own."""
    elements = of(desired(", overlay: auto"), "alpha", FirewallElement)
    assert {each.key for each in elements if each.set == "vteps4"} == {"198.51.100.13 . 192.0.2.11 . 4789"}


def test_a_port_for_a_container_elsewhere_brings_replies_back() -> None:
    """The host that listens gives the packets its own address in the subnet; the container's own host does not."""
    text = TEXT.replace(
        "db: {host: gamma, networks: {front: auto}",
        "db: {host: gamma, networks: {front: auto}, ports: [{listen: 80, on: [alpha, gamma]}]",
    )
    made = desired(text=text)
    target = next(own.address for own in made.resolved.endpoints["db"][0].addresses if own.family == 4)
    gateway = made.resolved.host_subnets["alpha"]["front"].gateway(4)
    assert gateway
    values = {e.key: e.value for e in of(made, "alpha", FirewallElement) if e.set == "returns4"}
    assert values == {target: gateway.address}
    assert not [e for e in of(made, "gamma", FirewallElement) if e.set.startswith("returns")]
    assert ip_address(gateway.address)


def test_a_bridge_has_ports_for_the_containers_of_its_own_host() -> None:
    """1,023 on each host, however many a subnet has on all."""
    crowd = (
        "  a: {host: alpha, replicas: 800, networks: {front: auto}}\n  b: {host: beta, replicas: 800, networks: {front: auto}}\n"
    )
    text = TEXT.replace("10.44.0.0/24", "10.44.0.0/20") + crowd
    assert len(desired(text=text).resolved.members["alpha", "front"]) == 801
    with pytest.raises(TopologyError) as raised:
        desired(text=text + "  c: {host: beta, replicas: 800, networks: {front: auto}}\n")
    assert "has 1601 containers on one host" in raised.value.faults[0].message
