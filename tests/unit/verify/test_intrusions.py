"""Which probes are sent with frames made by hand: from where, to what, and that their number grows with the containers only."""

from __future__ import annotations

from collections import Counter

from reconciler.compile import compile_topology
from reconciler.probes.frames import ADVERTISED, DETOUR, GROUP, STRAY
from reconciler.probes.model import FORBIDDEN, FOREIGN_NETNS, FramedPacketProbe, FrameProbe, ProbePlan
from reconciler.state.host import HostFacts
from reconciler.state.naming import mac_of
from reconciler.topology.load import parse_topology
from reconciler.verify.expectations import compile_probes

LAB = "version: 1\nname: shop\nhosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 192.0.2.12}}\n"
REAL = LAB.replace("alpha: {connect: lab", "alpha: {connect: local").replace("beta: {connect: lab", "beta: {connect: 'ssh://b'")
DB = "subnets: {a: {cidr: 10.44.0.0/24}}\ncontainers: {db: {host: alpha, networks: {a: auto}, ports: ['127.0.0.1:5432:5432']}}\n"


def probes_of(text: str, facts: dict[str, HostFacts] | None = None) -> ProbePlan:
    topology = parse_topology(text.encode())
    return compile_probes(topology, compile_topology(topology, facts or {}).resolved, facts or {})


def framed(plan: ProbePlan) -> list[FramedPacketProbe]:
    return [probe for probe in plan.probes if isinstance(probe, FramedPacketProbe)]


def frames(plan: ProbePlan) -> list[FrameProbe]:
    return [probe for probe in plan.probes if isinstance(probe, FrameProbe)]


def at_localhost(plan: ProbePlan) -> list[FramedPacketProbe]:
    return [probe for probe in framed(plan) if probe.address.startswith("127.")]


def facts_of(number: int, prefix: int = 24) -> HostFacts:
    return HostFacts(True, f"lan{number}", uplink_mac=f"52:54:00:00:00:{number}", addresses=(f"192.0.2.{number}/{prefix}",))


def test_localhost_is_asked_from_three_places() -> None:
    """A port on localhost is asked by the lab's router as a neighbour, from a foreign link, and from a container."""
    asked = at_localhost(probes_of(LAB + DB))
    host_mac = mac_of("shop", "lab", "host", "alpha")
    assert [(p.host, p.source, p.target, p.port, p.expected, p.section) for p in asked] == [
        ("lab", "a neighbour", "host alpha", 5432, False, FORBIDDEN),
        ("alpha", "a foreign link", "host alpha", 5432, False, FORBIDDEN),
        ("alpha", "db", "host alpha", 5432, False, FORBIDDEN),
    ]
    assert (asked[0].interface, asked[0].claim, asked[0].mac) == ("s-192.0.2.0", "192.0.2.1", host_mac)
    assert all(probe.listener and probe.listener.port == 5432 for probe in asked)


def test_a_port_on_every_address_is_one_on_localhost_too() -> None:
    """One of each protocol is asked; one bound to another address, one with `from:` and one of IPv6 only are not."""
    ports = ["8080:80", "8081:80", "53:53/udp", "192.0.2.11:90:90", "[::]:91:90"]
    listed = ", ".join(f"'{port}'" for port in ports)
    text = LAB.replace("192.0.2.11", "[192.0.2.11, '2001:db8:1::11']") + DB.replace("10.44.0.0/24", "[10.44.0.0/24, 'fd44::/64']")
    plan = probes_of(text.replace("'127.0.0.1:5432:5432'", f"{listed}, {{listen: 92, to: 92, from: [192.0.2.0/24]}}"))
    assert {(probe.kind, probe.port) for probe in at_localhost(plan)} == {("tcp", 8080), ("udp", 53)}


def test_a_real_host_is_asked_by_a_declared_neighbour() -> None:
    """Another host of the file on the same segment sends, by its uplink, to the hardware address that the host has there."""
    plan = probes_of(REAL + DB, {"alpha": facts_of(11), "beta": facts_of(12)})
    asked = at_localhost(plan)[0]
    assert (asked.host, asked.netns, asked.source) == ("beta", "", "host beta")
    assert (asked.interface, asked.claim, asked.mac) == ("lan12", "192.0.2.12", "52:54:00:00:00:11")
    assert not any("neighbour" in note for note in plan.notes)


def test_without_a_neighbour_a_note_says_so() -> None:
    """A host whose prefix holds no other declared host is sent nothing from its LAN, and one line names it."""
    plan = probes_of(REAL + DB, {"alpha": facts_of(11, 32), "beta": facts_of(12)})
    assert [probe.source for probe in at_localhost(plan)] == ["a foreign link", "db"]
    assert [note for note in plan.notes if "neighbour of alpha" in note]


def test_nothing_is_asked_of_a_localhost_without_ports() -> None:
    """Without a published port nothing is sent to 127.0.0.1, and no note speaks of it."""
    plan = probes_of(REAL + DB.replace(", ports: ['127.0.0.1:5432:5432']", ""), {"alpha": facts_of(11, 32)})
    assert not at_localhost(plan)
    assert not any("localhost" in note for note in plan.notes)


def test_every_container_tries_its_own_port() -> None:
    """Each sends to the link-local groups and plays router, towards its host; the next one listens for what is flooded."""
    containers = "containers: {a: {host: alpha, networks: {s: auto}}, b: {host: alpha, networks: {s: auto}}}\n"
    plan = probes_of(LAB + "subnets: {s: {cidr: [10.44.0.0/24, 'fd44::/64']}}\n" + containers)
    assert Counter((p.kind, p.source, p.target) for p in frames(plan)) == Counter(
        [
            *((kind, name, "host alpha") for kind in (GROUP, ADVERTISED) for name in "ab"),
            *((kind, one, two) for kind in (STRAY, ADVERTISED) for one, two in ("ab", "ba")),
        ]
    )
    assert not any(probe.expected for probe in frames(plan))


def test_isolated_ports_try_their_gateway() -> None:
    """Each sends to the next isolated one by way of the gateway, in both families; others do not."""
    isolated = "networks: {s: {address: auto, isolated: true}}"
    listed = ", ".join(f"{name}: {{host: alpha, {isolated}}}" for name in "abc")
    plan = probes_of(
        LAB
        + "subnets: {s: {cidr: [10.44.0.0/24, 'fd44::/64']}}\n"
        + f"containers: {{{listed}, open: {{host: alpha, networks: {{s: auto}}}}}}\n"
    )
    tried = Counter((p.source, p.target) for p in plan.probes if p.kind == DETOUR)
    assert tried == {("a", "b"): 2, ("b", "c"): 2, ("c", "a"): 2}
    assert {probe.mac for probe in frames(plan) if probe.kind == DETOUR} == {mac_of("shop", "bridge", "alpha", "s")}


def test_a_router_may_advertise_and_a_lan_is_left_alone() -> None:
    """Of a port with `allow: [router-advertisements]` none is forbidden; into a LAN only frames that stay on a link are sent."""
    allowed = "{address: auto, allow: [router-advertisements]}"
    plan = probes_of(
        LAB
        + "subnets: {s: {cidr: [10.44.0.0/24, 'fd44::/64']}, lan: {cidr: 192.0.2.0/24, mode: direct}}\n"
        + f"containers: {{r: {{host: alpha, networks: {{s: {allowed}}}}}, l: {{host: alpha, networks: {{lan: 192.0.2.50}}}}}}\n"
    )
    kinds = {(probe.source, probe.kind) for probe in frames(plan)}
    assert kinds == {("r", GROUP), ("l", GROUP)}


def test_routes_are_asked_with_frames_for_others() -> None:
    """Over routes, a frame for another hardware address and a broadcast must not lead to the other host; over VXLAN none is."""
    text = "subnets: {s: {cidr: 10.44.0.0/24, overlay: routes}}\n"
    text += "containers: {a: {host: alpha, networks: {s: auto}}, b: {host: beta, networks: {s: auto}}}\n"
    asked = [(p.source, p.target, p.mac) for p in framed(probes_of(LAB + text)) if not p.address.startswith("127.")]
    nobody = mac_of("shop", "no one")
    assert asked == [("a", "b", nobody), ("a", "b", "ff:ff:ff:ff:ff:ff"), ("b", "a", nobody), ("b", "a", "ff:ff:ff:ff:ff:ff")]
    assert not framed(probes_of(LAB + text.replace("routes", "vxlan")))


def test_the_number_grows_with_the_containers_only() -> None:
    """Of 1,000 containers at most 32 send, and the foreign link asks for one of each subnet."""
    plan = probes_of(
        LAB + "subnets: {s: {cidr: 10.44.0.0/16}}\ncontainers: {w: {host: alpha, replicas: 1000, networks: {s: auto}}}\n"
    )
    by_kind = Counter(probe.kind for probe in frames(plan))
    assert max(by_kind.values()) <= 32
    assert len([probe for probe in plan.probes if probe.netns == FOREIGN_NETNS]) == 1
