"""The records of a host and of the lab: forwarding, settings, and what outside knows."""

from __future__ import annotations

from reconciler.compile import Desired, compile_topology
from reconciler.compile.lab import find_segments
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.firewall.docker_user import DockerUser
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.netns import Netns
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.foreign import ForeignContainer
from reconciler.state.host import HostFacts
from tests.harness.topologies.full import FULL, load


def settings(desired: Desired, host: str) -> dict[tuple[str, str], Sysctl]:
    """By namespace and key."""
    return {(r.netns, r.key): r for r in desired.hosts[host].records.values() if isinstance(r, Sysctl)}


def local(mode: str = "nat", cidr: str = '[10.44.0.0/24, "fd00:44::/64"]', ports: str = "[]") -> str:
    """A file for the machine itself."""
    return f"""
version: 1
name: shop
hosts: {{here: {{connect: local}}}}
subnets: {{front: {{cidr: {cidr}, mode: {mode}}}}}
containers: {{web: {{networks: {{front: auto}}, ports: {ports}}}}}
"""


def test_forwarding_on_a_machine_is_remembered_and_keeps_its_default_route() -> None:
    """If the machine lives on router advertisements, accept_ra is 2 on its uplink before it forwards; all is restored."""
    found = settings(compile_topology(load(local()), {"here": HostFacts(exists=True, uplink="eth0.7", accepts_ra=True)}), "here")
    accept_ra, forward = found["", "net.ipv6.conf.eth0/7.accept_ra"], found["", "net.ipv6.conf.all.forwarding"]
    assert (accept_ra.value, accept_ra.remember, forward.remember) == ("2", True, True)
    assert forward.follows == (accept_ra.ref,)
    assert found["", "net.ipv4.ip_forward"].remember


def test_a_machine_without_router_advertisements_gets_none() -> None:
    """accept_ra 0 stays: another program has configured IPv6, and the kernel must not start to."""
    found = settings(compile_topology(load(local()), {"here": HostFacts(exists=True, uplink="eth0")}), "here")
    said = {key: record.value for (netns, key), record in found.items() if not netns and key.endswith("accept_ra")}
    assert said == {"net.ipv6.conf.b-shop-front.accept_ra": "0"}


def test_an_isolated_subnet_needs_no_forwarding() -> None:
    """A host that has nothing but isolated subnets does not become a router."""
    found = settings(compile_topology(load(local("isolated")), {}), "here")
    assert not [key for _, key in found if "forward" in key]


def test_localhost_is_opened_only_where_it_is_published() -> None:
    """route_localnet is 1 on the bridge of a port that localhost has, and 0 on every other, for it may have been one."""
    for expose, wanted in (("[8080:80]", True), ('["127.0.0.1:8080:80"]', True), ('["192.0.2.1:8080:80"]', False), ("[]", False)):
        found = settings(compile_topology(load(local(ports=expose)), {}), "here")
        assert found["", "net.ipv4.conf.b-shop-front.route_localnet"].value == ("1" if wanted else "0")


def test_a_container_without_ipv6_gets_none() -> None:
    """Its namespace has IPv6 off before the first link; the bridge of a subnet without IPv6 makes no link-local address."""
    records = compile_topology(load(local(cidr="10.44.0.0/24")), {}).hosts["here"].records.values()
    assert [record.ipv6 for record in records if isinstance(record, Netns)] == [False]
    settings = {record.key for record in records if isinstance(record, Sysctl) and "ipv6" in record.key}
    assert settings == {"net.ipv6.conf.b-shop-front.accept_ra"}  # what the host's bridge may not follow


def test_a_bridge_too_small_for_ipv6_has_no_setting_of_it() -> None:
    """The kernel has no IPv6 settings for a link with an MTU below 1280, so none is written."""
    small = local(cidr="10.44.0.0/24").replace("mode: nat", "mode: nat, mtu: 1279")
    records = compile_topology(load(small), {}).hosts["here"].records.values()
    assert not [
        record.key for record in records if isinstance(record, Sysctl) and "b-shop-front" in record.key and "ipv6" in record.key
    ]


def test_engines_containers_are_set_before_they_are_wired() -> None:
    """An engine's namespace gets its IPv6 settings first; a foreign container gets only what new links start with."""
    desired = compile_topology(load(FULL), {})
    found = settings(desired, "alpha")
    assert found["container:db", "net.ipv6.conf.all.disable_ipv6"].value == "1"
    assert found["container:cache", "net.ipv6.conf.default.disable_ipv6"].value == "0"
    assert ("container:cache", "net.ipv6.conf.all.disable_ipv6") not in found
    veths = [r for r in desired.hosts["alpha"].records.values() if isinstance(r, Veth) and r.peer_netns == "container:db"]
    assert all(found["container:db", "net.ipv6.conf.all.disable_ipv6"].ref in veth.follows for veth in veths)


def test_dockers_chain_gets_our_rule_where_it_is() -> None:
    """One rule for each command whose chain is there, on hosts with a host subnet only."""
    there = (ForeignContainer(name="cache", runtime="docker", state="running"),)
    facts = {"alpha": HostFacts(exists=True, foreign=there, docker_user_chain=("iptables", "ip6tables"))}
    hosts = compile_topology(load(FULL), facts).hosts
    assert [r.command for r in hosts["alpha"].records.values() if isinstance(r, DockerUser)] == ["iptables", "ip6tables"]
    assert not [r for r in hosts["beta"].records.values() if isinstance(r, DockerUser)]


def test_depends_on_what_is_there() -> None:
    """Every dependency of a desired record is desired too."""
    for state in compile_topology(load(FULL), {}).hosts.values():
        for record in state.records.values():
            assert set(record.depends_on) <= set(state.records), record


def test_the_router_learns_routed_subnets_only() -> None:
    """No route leads from outside to a container of a nat or isolated subnet."""
    routes = [r for r in compile_topology(load(FULL), {}).hosts["lab"].records.values() if isinstance(r, Route)]
    assert {(r.dst, r.via) for r in routes if r.netns == "lab:router" and r.via} == {("10.46.0.0/24", "198.51.100.12")}
    assert {r.via for r in routes if r.netns == "lab:outside" and r.dst == "default"} == {"203.0.113.1", "2001:db8:ffff::1"}


def test_nothing_of_the_lab_is_in_the_machines_own_namespace() -> None:
    """Every record of the lab is in a namespace of the lab, both ends of every cable too."""
    for record in compile_topology(load(FULL), {}).hosts["lab"].records.values():
        assert record.netns.startswith("lab:")
        assert not isinstance(record, Veth) or record.peer_netns.startswith("lab:")


def test_a_machine_has_no_lab() -> None:
    """Where no host is a lab host, there is no pseudo-host."""
    assert list(compile_topology(load(local()), {}).hosts) == ["here"]


def test_segments() -> None:
    """Hosts share a segment by a /24 or /64, or through a host that is in both; the order of hosts does not matter."""
    text = """
version: 1
name: shop
hosts:
  a: {connect: lab, address: [192.0.2.11, "2001:db8:1::11"]}
  b: {connect: lab, address: "2001:db8:1::12"}
  c: {connect: lab, address: 192.0.2.13}
  d: {connect: lab, address: 198.51.100.14}
subnets: {front: {cidr: 10.44.0.0/24}}
"""
    hosts = list(load(text).hosts.values())
    segments = find_segments(hosts)
    assert [(segment.name, segment.hosts) for segment in segments] == [("192.0.2.0", ("a", "b", "c")), ("198.51.100.0", ("d",))]
    assert find_segments(hosts[::-1]) == segments
