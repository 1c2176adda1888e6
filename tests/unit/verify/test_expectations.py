"""What is asked of a topology: the promises and prohibitions of its file, as probes."""

from __future__ import annotations

from reconciler.compile import compile_topology
from reconciler.probes.model import (
    ALLOWED,
    FORBIDDEN,
    IN_SUBNETS,
    PUBLISHED,
    TO_OUTSIDE,
    ClaimProbe,
    PacketProbe,
    Probe,
    ProbePlan,
)
from reconciler.topology.load import parse_topology
from reconciler.verify.expectations import compile_probes

HEAD = "version: 1\nname: shop\nhosts: {alpha: {connect: lab, address: [192.0.2.11, '2001:db8:1::11']}}\n"
FRONT_BACK = "subnets: {front: {cidr: 10.44.0.0/24}, back: {cidr: 10.45.0.0/24, mode: isolated}}\n"
PAIR = "containers: {web: {networks: {front: 10.44.0.10}}, db: {networks: {back: 10.45.0.20}}}\n"


def probes_of(text: str) -> ProbePlan:
    topology = parse_topology((HEAD + text).encode())
    return compile_probes(topology, compile_topology(topology, {}).resolved, {})


def find(plan: ProbePlan, source: str, target: str, **wanted: object) -> list[Probe]:
    """The probes from one to the other that have these values."""
    between = (probe for probe in plan.probes if (probe.source, probe.target) == (source, target))
    return [probe for probe in between if all(getattr(probe, name) == value for name, value in wanted.items())]


def test_without_a_policy_nothing_passes_between_subnets() -> None:
    """Both ways between two subnets is forbidden, and so is the way out of an isolated one, and into any of them."""
    plan = probes_of(FRONT_BACK + PAIR)
    for source, target in (("web", "db"), ("db", "web"), ("db", "outside"), ("outside", "web"), ("a neighbour", "db")):
        assert find(plan, source, target, section=FORBIDDEN, expected=False), (source, target)
    assert find(plan, "web", "outside", section=TO_OUTSIDE, expected=True)
    (straight,) = find(plan, "a neighbour", "web")
    assert isinstance(straight, PacketProbe)
    assert straight.via == "192.0.2.11"


def test_a_policy_opens_one_direction() -> None:
    """What a policy allows must pass, the other direction still not."""
    plan = probes_of(FRONT_BACK + PAIR + "policies: [{allow: web, to: back}]\n")
    assert find(plan, "web", "db", section=ALLOWED, expected=True)
    assert not find(plan, "web", "db", expected=False)
    assert find(plan, "db", "web", section=FORBIDDEN)


def test_a_policy_with_ports_opens_these_only() -> None:
    """The port that is named must pass; a ping, and a port that is not named, must not."""
    plan = probes_of(FRONT_BACK + PAIR + "policies: [{allow: web, to: db, ports: [5432/tcp, 53/udp]}]\n")
    opened = {(probe.kind, probe.port) for probe in find(plan, "web", "db", expected=True)}
    assert opened == {("tcp", 5432), ("udp", 53)}
    closed = {(probe.kind, probe.port) for probe in find(plan, "web", "db", expected=False)}
    assert closed == {("icmp", 0), ("tcp", 7)}
    assert all(probe.listener for probe in find(plan, "web", "db") if probe.port)


def test_published_ports_are_asked_from_everywhere() -> None:
    """From outside, the host, localhost, itself and another container; of a range, both ends."""
    exposed = "containers: {web: {networks: {front: 10.44.0.10}, ports: ['8080-8082:80']}, app: {networks: {front: auto}}}\n"
    plan = probes_of(FRONT_BACK + exposed.replace(":80']", ":80-82']"))
    published = [probe for probe in plan.probes if probe.section == PUBLISHED]
    assert {probe.source for probe in published} == {"outside", "host alpha", "web", "app"}
    assert {(probe.port, probe.listener.port) for probe in published if probe.listener} == {(8080, 80), (8082, 82)}
    assert {probe.address for probe in published if probe.source == "host alpha"} == {"192.0.2.11", "127.0.0.1"}


def test_a_restriction_is_asked_both_ways() -> None:
    """A source that `from:` names gets in, one that it does not name stays out."""
    exposed = "containers: {web: {networks: {front: auto}, ports: [{listen: 81, to: 80, from: [203.0.113.0/24]}]}}\n"
    plan = probes_of(FRONT_BACK + exposed)
    assert [probe.expected for probe in find(plan, "outside", "web", section=PUBLISHED)] == [True]
    assert [probe.expected for probe in find(plan, "host alpha", "web", section=PUBLISHED)] == [False]
    assert [probe.expected for probe in find(plan, "web", "web", section=PUBLISHED)] == [False]


def test_isolated_ports_are_kept_apart() -> None:
    """Two of them must not reach each other, others reach both; by its published port, one is asked by others only."""
    net = "networks: {front: {address: auto, isolated: true}}"
    listed = f"one: {{{net}, ports: ['80']}}, two: {{{net}}}, open: {{networks: {{front: auto}}}}"
    plan = probes_of(FRONT_BACK + f"containers: {{{listed}}}\n")
    assert [p.expected for p in find(plan, "one", "two", kind="icmp") + find(plan, "two", "one", kind="icmp")] == [False, False]
    assert [p.expected for p in find(plan, "one", "open", kind="icmp") + find(plan, "open", "two", kind="icmp")] == [True, True]
    published = {probe.source for probe in plan.probes if probe.section == PUBLISHED}
    assert published == {"host alpha", "outside", "open"}


def test_a_spoofed_address_is_forbidden() -> None:
    """One container of each subnet asks its gateway from an unused address; by IPv6 it also advertises such an address."""
    plan = probes_of(
        'subnets: {front: {cidr: [10.44.0.0/24, "fd44::/64"]}, back: {cidr: 10.45.0.0/24}}\n'
        "containers: {web: {networks: {front: auto}}, app: {networks: {front: auto}}, db: {networks: {back: auto}}}\n"
    )
    claims = [probe for probe in plan.probes if isinstance(probe, ClaimProbe)]
    borrowed = [(p.source, p.kind, p.address, p.claim, p.interface, p.heard_at) for p in claims]
    assert borrowed == [
        ("web", "arp", "10.44.0.1", "10.44.0.4", "eth0", ""),
        ("web", "ndp", "fd44::1", "fd44::4", "eth0", ""),
        ("web", "advertisement", "fd44::1", "fd44::4", "eth0", "b-shop-front"),
        ("db", "arp", "10.45.0.1", "10.45.0.3", "eth0", ""),
    ]
    assert not any(probe.expected for probe in claims)


def test_all_addresses_of_one_family() -> None:
    """0.0.0.0 is no host's address: the host's own of that family are asked."""
    plan = probes_of(
        'subnets: {front: {cidr: [10.44.0.0/24, "fd00:44::/64"]}}\n'
        'containers: {web: {networks: {front: auto}, ports: ["0.0.0.0:8080:80", "[::]:8081:80"]}}\n'
    )
    asked = {(probe.address, probe.port) for probe in find(plan, "host alpha", "web") if probe.kind == "tcp"}
    assert asked == {("192.0.2.11", 8080), ("127.0.0.1", 8080), ("2001:db8:1::11", 8081)}


def test_both_families_and_the_whole_mtu() -> None:
    """A dual-stack subnet is asked by both families, with small packets and with those that fill the MTU."""
    text = "subnets: {front: {cidr: [10.44.0.0/24, 'fd44::/64']}}\ncontainers: {web: {networks: {front: auto}}}\n"
    plan = probes_of(text)
    assert {(p.family, p.size) for p in find(plan, "web", "host alpha", subnet="front")} >= {(4, 0), (6, 0), (4, 1500), (6, 1500)}
    assert {probe.family for probe in find(plan, "web", "outside")} == {4, 6}


def test_a_family_that_one_lacks_is_not_asked() -> None:
    """In a dual-stack subnet, one without IPv6 is asked, and asks, by IPv4 only."""
    text = (
        'subnets: {front: {cidr: [10.44.0.0/24, "fd00:44::/64"]}}\n'
        "containers: {web: {networks: {front: {ipv6: false}}}, db: {networks: {front: auto}}}\n"
    )
    plan = probes_of(text)
    assert {p.family for p in (*find(plan, "web", "db", kind="icmp"), *find(plan, "db", "web", kind="icmp"))} == {4}
    assert {p.family for p in find(plan, "db", "host alpha", subnet="front")} == {4, 6}


def test_many_members_are_a_sample_and_that_is_said() -> None:
    """A thousand replicas do not ask each other: a ring and the gateway, a note, and no more probes than grow with them."""
    text = "subnets: {front: {cidr: 10.44.0.0/16}}\ncontainers: {w: {replicas: 1000, networks: {front: auto}}}\n"
    plan = probes_of(text)
    assert len([probe for probe in plan.probes if probe.section == IN_SUBNETS]) == 125
    assert len({probe.source for probe in plan.probes if probe.source.startswith("w-")}) == 1000
    assert len(plan.probes) < 8000
    assert "1,000 members" in plan.notes[0]


def test_probes_depend_on_the_file_only() -> None:
    """The same file gives the same probes, in the same order."""
    assert probes_of(FRONT_BACK + PAIR) == probes_of(FRONT_BACK + PAIR)


def test_the_outside_asks_a_macvlan_by_its_default_route_only() -> None:
    """A container answers by its default route; a bridge that it leads over drops what comes from an address of the LAN."""
    text = """\
subnets: {front: {cidr: 10.44.0.0/24}, lan: {cidr: 192.0.2.0/24, mode: macvlan}}
containers:
  web: {networks: {front: auto, lan: 192.0.2.70}}
"""
    assert not find(probes_of(text), "outside", "web", section=TO_OUTSIDE)
    only_lan = text.replace("front: auto, lan", "lan")
    assert [probe.address for probe in find(probes_of(only_lan), "outside", "web", section=TO_OUTSIDE)] == ["192.0.2.70"]
