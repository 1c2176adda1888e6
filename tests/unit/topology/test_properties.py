"""The checks that use a trick (sorting, sweeping) agree with the plain definition, on anything hypothesis thinks of."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import TopologyError
from reconciler.topology.load import parse_topology

HEAD = "version: 1\nname: a\nhosts: {h: {connect: local}}\n"

LISTEN = st.tuples(
    st.sampled_from(["", "0.0.0.0:", "127.0.0.1:", "198.51.100.1:"]),
    st.integers(1, 12),
    st.integers(0, 4),
    st.sampled_from(["tcp", "udp"]),
)
CIDR = st.builds(
    lambda third, length: str(ip_network(f"10.0.{third}.0/{length}", strict=False)), st.integers(0, 15), st.integers(20, 26)
)


def messages(text: str) -> list[str]:
    try:
        parse_topology(text.encode())
    except TopologyError as error:
        return [fault.message for fault in error.faults]
    return []


@given(st.lists(LISTEN, max_size=6))
def test_ports_meet(listens: list[tuple[str, int, int, str]]) -> None:
    """Ports are refused if and only if two of one protocol overlap on one address, or on all of them."""
    items = [f'"{address}{first}-{first + more}:{first}-{first + more}/{protocol}"' for address, first, more, protocol in listens]
    text = (
        HEAD
        + f"subnets: {{s: {{cidr: 10.1.0.0/24}}}}\ncontainers: {{c: {{networks: {{s: auto}}, ports: [{', '.join(items)}]}}}}\n"
    )
    wild = ("", "0.0.0.0:")
    meet = any(
        one[3] == other[3]
        and one[1] <= other[1] + other[2]
        and other[1] <= one[1] + one[2]
        and (one[0] == other[0] or one[0] in wild or other[0] in wild)
        for one, other in combinations(listens, 2)
    )
    found = messages(text)
    assert all("published twice" in message for message in found)
    assert bool(found) == meet


@given(st.lists(CIDR, max_size=6))
def test_subnets_overlap(cidrs: list[str]) -> None:
    """Subnets are refused if and only if two of them overlap, in whatever order they stand."""
    text = HEAD + "subnets:\n" + "".join(f"  s{number}: {{cidr: {cidr}}}\n" for number, cidr in enumerate(cidrs))
    text = text if cidrs else HEAD
    meet = any(ip_network(one).overlaps(ip_network(other)) for one, other in combinations(cidrs, 2))
    found = messages(text)
    assert all("overlaps" in message for message in found)
    assert bool(found) == meet


@given(st.permutations(["web", "db", "cache", "queue"]))
def test_order_does_not_matter(names: list[str]) -> None:
    """A topology means the same in whatever order its containers stand."""
    text = (
        HEAD
        + "subnets: {s: {cidr: 10.1.0.0/24}}\ncontainers:\n"
        + "".join(f"  {name}: {{networks: {{s: auto}}}}\n" for name in names)
    )
    containers = parse_topology(text.encode()).containers
    assert list(containers) == names
    assert {name: containers[name] for name in sorted(names)} == dict(sorted(containers.items()))
    assert all(container.attachments[0].interface == "eth0" for container in containers.values())
