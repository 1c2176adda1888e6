"""What the firewall lets pass and what it stops, shown with packets of both families."""

from __future__ import annotations

import socket

import pytest

from tests.harness.worlds.firewall import HOST4, HOST6, MEMBERS, OUTSIDE4, OUTSIDE6, FirewallWorld

pytestmark = pytest.mark.kernel

PROTOCOLS = ("tcp", "udp")
GATEWAY = {"b-nat": ("10.91.0.1", "fd91::1"), "b-rou": ("10.91.1.1", "fd91:1::1"), "b-iso": ("10.91.2.1", "fd91:2::1")}
STOPPED = {"refused", "timeout", "Permission denied", "No route to host"}


def both(name: str) -> tuple[str, str]:
    return MEMBERS[name].ip4, MEMBERS[name].ip6.replace("fd91:0::", "fd91::")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("client", "server"), [("n1", "n2"), ("i1", "i2")])
def test_within_a_subnet_everything_passes(world: FirewallWorld, client: str, server: str, protocol: str) -> None:
    """Containers of one subnet reach each other, also in an isolated one, and see each other's own address."""
    for family in (0, 1):
        assert world.ask(client, both(server)[family], 80, protocol) == f"{server} sees {both(client)[family]}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("container", ["n1", "r1", "i1"])
def test_container_and_host_reach_each_other(world: FirewallWorld, container: str, protocol: str) -> None:
    """Both ways, in every mode, by the gateway's address and by the address of the uplink."""
    for family in (0, 1):
        gateway = GATEWAY[MEMBERS[container].bridge][family]
        own = both(container)[family]
        assert world.ask(container, gateway, 22, protocol) == f"host sees {own}"
        assert world.ask(container, (HOST4, HOST6)[family], 22, protocol) == f"host sees {own}"
        assert world.ask("host", own, 80, protocol) == f"{container} sees {gateway}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_world_outside(world: FirewallWorld, protocol: str) -> None:
    """From a NATed subnet as the host, from a routed one as itself, from an isolated one not at all."""
    for family, outside in enumerate((OUTSIDE4, OUTSIDE6)):
        assert world.ask("n1", outside, 80, protocol) == f"outside sees {(HOST4, HOST6)[family]}"
        assert world.ask("r1", outside, 80, protocol) == f"outside sees {both('r1')[family]}"
        assert world.ask("i1", outside, 80, protocol) in STOPPED - {"timeout"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_from_outside_only_a_routed_subnet_can_be_reached(world: FirewallWorld, protocol: str) -> None:
    """A neighbour that has a route to a NATed or isolated subnet gets no answer, not even from the host's address in it."""
    for family, outside in enumerate((OUTSIDE4, OUTSIDE6)):
        assert world.ask("outside", both("r1")[family], 80, protocol) == f"r1 sees {outside}"
        assert world.ask("outside", both("n1")[family], 80, protocol, 0.3) == "timeout"
        assert world.ask("outside", both("i1")[family], 80, protocol, 0.3) == "timeout"
        assert world.ask("outside", GATEWAY["b-nat"][family], 22, protocol, 0.3) == "timeout"
        assert world.ask("outside", (HOST4, HOST6)[family], 22, protocol) == f"host sees {outside}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_between_subnets_nothing_passes_and_it_says_so_at_once(world: FirewallWorld, protocol: str) -> None:
    """A container of another subnet gets an error that it may not, without waiting for a time-out."""
    for client, server in (("n1", "r1"), ("r1", "n1"), ("n1", "i1"), ("i1", "r1"), ("i1", "n1")):
        for family in (0, 1):
            answer = world.ask(client, both(server)[family], 80, protocol, 2)
            if protocol == "tcp":
                assert answer == "refused"
            else:
                assert answer in {"Permission denied", "No route to host"}, (client, server, family, answer)


def test_a_subnet_that_is_on_another_host_is_refused_too(world: FirewallWorld) -> None:
    """What goes from one subnet of the topology to another needs a policy, also where the way leads over the uplink."""
    for family, (far, via) in enumerate((("10.91.9.5", OUTSIDE4), ("fd91:9::5", OUTSIDE6))):
        world.ip("host", f"route add {far} via {via}")
        try:
            with world.elements((f"own{(4, 6)[family]}", far, "")):
                assert world.ask("n1", far, 80) == "refused"
                assert world.ask("r1", far, 80) == "refused"
        finally:
            world.ip("host", f"route delete {far}")


def test_nothing_is_routed_through_another_container(world: FirewallWorld) -> None:
    """From bridge to bridge nothing passes without a policy, though the address belongs to neither subnet."""
    for family, beyond in enumerate(("198.51.100.5", "2001:db8:9::5")):
        world.ip("host", f"route add {beyond} via {both('r1')[family]}")
        try:
            assert world.ask("n1", beyond, 80) == "refused"
        finally:
            world.ip("host", f"route delete {beyond}")


def test_a_policy_opens_one_direction(world: FirewallWorld) -> None:
    """What a policy allows passes with its own source address, its replies too; the other way stays shut."""
    for family in (0, 1):
        source, target = both("i1")[family], both("n1")[family]
        with world.elements((f"allowed{(4, 6)[family]}", f"{source} . {target}", "")):
            for protocol in PROTOCOLS:
                assert world.ask("i1", target, 80, protocol) == f"n1 sees {source}"
                assert world.ask("n1", source, 80, protocol) in STOPPED
                assert world.ask("i2", target, 80, protocol) in STOPPED
        assert world.ask("i1", target, 80) in STOPPED


def udp4_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def udp6_socket() -> socket.socket:
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)


def test_a_policy_that_goes_takes_open_connections_along(world: FirewallWorld) -> None:
    """What a client sends on an old connection is judged again; only replies pass because they are replies."""
    for family, (source, target) in enumerate(zip(both("i1"), both("n1"), strict=True)):
        client = world.inside("i1", (udp4_socket, udp6_socket)[family])
        with client:
            client.settimeout(2)
            client.connect((target, 80))
            with world.elements((f"allowed{(4, 6)[family]}", f"{source} . {target}", "")):
                client.send(b"who")
                assert client.recv(200).startswith(b"n1")
            client.send(b"who")
            with pytest.raises(OSError, match=r"Permission denied|No route to host"):
                client.recv(200)


def test_a_policy_with_ports_opens_these_ports(world: FirewallWorld) -> None:
    """A range of ports, from a subnet to a container, of one protocol."""
    for family, subnet in ((0, "10.91.2.0/24"), (1, "fd91:2::/64")):
        target = both("n1")[family]
        with world.elements((f"allowed_ports{(4, 6)[family]}", f"{subnet} . {target} . tcp . 80-90", "")):
            assert world.ask("i1", target, 80) == f"n1 sees {both('i1')[family]}"
            assert world.ask("i2", target, 90) == f"n1 sees {both('i2')[family]}"
            assert world.ask("i1", target, 443) in STOPPED
            assert world.ask("i1", target, 80, "udp") in STOPPED
            assert world.ask("i1", both("n2")[family], 80) in STOPPED


def test_policies_with_the_outside(world: FirewallWorld) -> None:
    """An isolated container may be let out, behind the host's address; nothing comes in to it."""
    for family, (four, outside, host) in enumerate(((4, OUTSIDE4, HOST4), (6, OUTSIDE6, HOST6))):
        own = both("i1")[family]
        with world.elements((f"outbound_ports{four}", f"{own} . tcp . 80", ""), (f"natted{four}", own, "")):
            assert world.ask("i1", outside, 80) == f"outside sees {host}"
            assert world.ask("i1", outside, 443) in STOPPED
            assert world.ask("i2", outside, 80) in STOPPED
            assert world.ask("i1", both("n1")[family], 80) in STOPPED
        with world.elements((f"outbound{four}", own, ""), (f"natted{four}", own, "")):
            assert world.ask("i1", outside, 443) == f"outside sees {host}"
            assert world.ask("outside", own, 90, "tcp", 0.3) == "timeout"


# --- published ports ---


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_published_from_outside_and_from_the_host(world: FirewallWorld, protocol: str) -> None:
    """A port on every address: the outside is seen as itself; the host reaches it by its own addresses."""
    for family, (host, outside) in enumerate(((HOST4, OUTSIDE4), (HOST6, OUTSIDE6))):
        assert world.ask("outside", host, 8080, protocol) == f"n1 sees {outside}"
        assert world.ask("host", host, 8080, protocol).startswith("n1 sees ")
        assert world.ask("host", GATEWAY["b-iso"][family], 8080, protocol).startswith("n1 sees ")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_published_on_localhost(world: FirewallWorld, protocol: str) -> None:
    """127.0.0.1 leads to the container, as the host's address on its bridge; ::1 stays the host's own."""
    assert world.ask("host", "127.0.0.1", 8080, protocol) == "n1 sees 10.91.0.1"
    assert world.ask("host", "127.1.2.3", 8080, protocol) == "n1 sees 10.91.0.1"
    assert world.ask("host", "::1", 8080, protocol) == "refused"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("container", ["n1", "n2", "r1", "i1"])
def test_published_from_containers(world: FirewallWorld, container: str, protocol: str) -> None:
    """By the host's address, from the publishing container itself (hairpin), its neighbour, and other subnets."""
    for family, host in enumerate((HOST4, HOST6)):
        assert world.ask(container, host, 8080, protocol).startswith("n1 sees ")
        assert world.ask(container, GATEWAY[MEMBERS[container].bridge][family], 8080, protocol).startswith("n1 sees ")


def test_published_at_one_address_and_restricted_by_source(world: FirewallWorld) -> None:
    """One address only; and from one source only, others meet what the host has there: nothing."""
    for family, (host, outside) in enumerate(((HOST4, OUTSIDE4), (HOST6, OUTSIDE6))):
        assert world.ask("outside", host, 8443) == f"r1 sees {outside}"
        assert world.ask("host", GATEWAY["b-nat"][family], 8443) == "refused"
        assert world.ask("outside", host, 9000) == f"n2 sees {outside}"
        assert world.ask("n1", host, 9000) == "refused"
        assert world.ask("host", host, 9000) == "refused"


def test_published_ports_do_not_capture_traffic_to_others(world: FirewallWorld) -> None:
    """A container that asks another machine for the same port number gets that machine."""
    for outside in (OUTSIDE4, OUTSIDE6):
        assert world.ask("n1", outside, 8080) == "refused"
        assert world.ask("host", outside, 8080) == "refused"


# --- spoofing ---


def test_an_address_of_another_container_cannot_be_used(world: FirewallWorld) -> None:
    """Within its own subnet too: the frame is dropped at the port."""
    for family, (fake, prefix) in enumerate((("10.91.0.77", 24), ("fd91::77", 64))):
        # The honest ones first, so that n2 knows where to send the others.
        assert world.ask("n2", both("n1")[family], 80, "udp").startswith("n1 sees ")
        assert world.arrives("n2", (both("n2")[family], 0), GATEWAY["b-nat"][family])
        world.ip("n2", f"address add {fake}/{prefix} dev eth0" + (" nodad" if family else ""))
        try:
            assert world.ask("n2", both("n1")[family], 80, "udp", 0.3, (fake, 0)) == "timeout"
            assert not world.arrives("n2", (fake, 0), GATEWAY["b-nat"][family])
        finally:
            world.ip("n2", f"address delete {fake}/{prefix} dev eth0")
        assert world.ask("n2", both("n1")[family], 80).startswith("n1 sees ")


def test_a_neighbour_cannot_claim_our_addresses(world: FirewallWorld) -> None:
    """What comes from outside with a container's address as its source is dropped, before it reaches the host."""
    for family, target in enumerate((HOST4, HOST6)):
        assert world.arrives("outside", ((OUTSIDE4, OUTSIDE6)[family], 0), target)
        for owner in ("n1", "r1", "i1"):
            fake = both(owner)[family]
            world.ip("outside", f"address add {fake}/{(32, 128)[family]} dev lo nodad")
            try:
                assert not world.arrives("outside", (fake, 0), target)
            finally:
                world.ip("outside", f"address delete {fake}/{(32, 128)[family]} dev lo")


def test_containers_cannot_reach_the_loopback_of_their_host(world: FirewallWorld) -> None:
    """Though route_localnet is on: a packet for 127.0.0.1 that comes over the bridge is dropped (CVE-2020-8558)."""
    world.sysctl("n1", "net/ipv4/conf/eth0/route_localnet", "1")
    world.ip("n1", "route add 127.0.0.99 via 10.91.0.1 src 10.91.0.16", "route del local 127.0.0.0/8 dev lo table local")
    try:
        assert world.ask("n1", "127.0.0.99", 22, "udp", 0.3, ("10.91.0.16", 0)) == "timeout"
    finally:
        world.ip("n1", "route del 127.0.0.99", "route add local 127.0.0.0/8 dev lo table local src 127.0.0.1 scope host")


def test_errors_of_the_way_come_back(world: FirewallWorld) -> None:
    """ICMP errors that belong to a connection pass NAT and the firewall: a closed UDP port is refused, not silent."""
    for outside in (OUTSIDE4, OUTSIDE6):
        assert world.ask("n1", outside, 7777, "udp", 2) == "refused"


def test_pings_pass(world: FirewallWorld) -> None:
    """ICMP echo in a subnet, to the host, and to the outside; between subnets not."""

    def ping(name: str, address: str) -> bool:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        protocol = socket.IPPROTO_ICMPV6 if ":" in address else socket.IPPROTO_ICMP
        client = world.inside(name, lambda: socket.socket(family, socket.SOCK_RAW, protocol))
        with client:
            client.settimeout(0.4)
            client.connect((address, 0))
            # Type 8 with its checksum written down, or type 128, whose checksum the kernel fills in (RFC 3542).
            client.send(bytes.fromhex("8000000000010001") if ":" in address else bytes.fromhex("0800f7fd00010001"))
            try:
                while True:
                    data = client.recv(200)
                    if data[0 if ":" in address else 20] in (0, 129):
                        return True
            except OSError:
                return False

    for family in (0, 1):
        assert ping("n1", both("n2")[family])
        assert ping("n1", (HOST4, HOST6)[family])
        assert ping("n1", (OUTSIDE4, OUTSIDE6)[family])
        assert not ping("n1", both("r1")[family])
        assert not ping("i1", (OUTSIDE4, OUTSIDE6)[family])
