"""Facts of a host, read in real namespaces: its uplink, who listens, what other firewalls do, which addresses are live."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.facts.host_facts import find_published, read_facts
from reconciler.kernel.facts.listeners import parse_address, parse_listeners
from reconciler.kernel.namespaces import Namespaces, enter, run_in_thread
from reconciler.kernel.snapshot import Interest, read_snapshot
from reconciler.state.foreign import ForeignContainer, ForeignInterface, ForeignLink, ForwardDrop, Interceptor
from reconciler.state.host import HostFacts, Lease
from reconciler.state.naming import Alias, group_of
from reconciler.state.snapshot import AddressInfo, ContainerInfo, LinkInfo, NamespaceInfo, Snapshot, TableInfo
from tests.harness.dockerd import Dockerd
from tests.harness.fakes.foreign import ports

pytestmark = pytest.mark.kernel

Read = Callable[..., HostFacts]


@pytest.fixture
def host(topology: str) -> Iterator[str]:
    """A namespace that plays the host, with an uplink that has addresses and default routes."""
    name = f"{topology}-host"
    subprocess.run(["ip", "netns", "add", name], check=True)
    in_host(name, "ip link set lo up")
    in_host(name, "ip link add up0 mtu 1400 type veth peer name far0")
    in_host(name, "ip link set up0 up")
    in_host(name, "ip link set far0 up")
    in_host(name, "ip address add 192.0.2.11/24 dev up0")
    in_host(name, "ip address add 2001:db8::11/64 dev up0 nodad")
    in_host(name, "ip route add default via 192.0.2.1 dev up0")
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


def in_host(name: str, line: str, text: str | None = None) -> None:
    """Run a command line in the namespace."""
    subprocess.run(["nsenter", f"--net=/run/netns/{name}", *line.split()], check=True, input=text, text=True)


@pytest.fixture
def read(context: KernelContext, host: str) -> Read:
    """Reads the facts as a worker does, which is in the host's namespace."""

    def read_there(**wishes: Any) -> HostFacts:
        return read_in(dataclasses.replace(context, own_netns=f"/run/netns/{host}", **wishes), host)

    return read_there


def read_in(context: KernelContext, netns: str, *engines: str) -> HostFacts:
    """The facts of the host that the namespace called `netns` plays."""
    namespaces = Namespaces(context)
    try:
        snapshot = read_snapshot(namespaces, Interest())
    finally:
        namespaces.close()

    def body() -> HostFacts:
        enter(f"/run/netns/{netns}")
        return read_facts(context, snapshot, Interest(engines={engine: {} for engine in engines}))

    return run_in_thread(body)


def of_kind(facts: HostFacts, kind: str) -> list[Interceptor]:
    return [one for one in facts.foreign if isinstance(one, Interceptor) and one.kind == kind]


def details(facts: HostFacts, kind: str) -> list[str]:
    return [one.detail for one in of_kind(facts, kind)]


def find(facts: HostFacts, kind: str, detail: str) -> Interceptor:
    return next(one for one in of_kind(facts, kind) if one.detail == detail)


def commands(facts: HostFacts, detail: str) -> tuple[str, ...]:
    return next(one.commands for one in facts.foreign_of(ForwardDrop) if one.detail == detail)


def test_uplink(read: Read, host: str) -> None:
    """The uplink is what the file says, else the link of the route to a peer, else that of the default route."""
    facts = read()
    assert (facts.exists, facts.uplink, facts.uplink_mtu) == (True, "up0", 1400)
    assert facts.addresses == ("192.0.2.11/24", "2001:db8::11/64")
    in_host(host, "ip address add 198.51.100.1/32 dev far0")
    assert read(addresses=("198.51.100.1",)).uplink == "up0", "who holds an address says nothing of the way out"
    in_host(host, "ip link set far0 up")
    in_host(host, "ip route add 203.0.113.0/24 dev far0")
    assert read(peers=("203.0.113.7",)).uplink == "far0"
    assert read(addresses=("2001:db8::11",)).uplink == "up0"
    assert read(uplink="far0", addresses=("192.0.2.11",)).uplink == "far0"
    assert (missing := read(uplink="eth7")).uplink == "eth7", "compile says that it is not there"
    assert "eth7" not in [link.name for link in missing.foreign_of(ForeignLink)]
    assert facts.missing == ()


def test_router_advertisements(read: Read, host: str) -> None:
    """Routes are taken from advertisements where accept_ra is 2, or 1 and the link does not forward."""
    expected = {("0", "0"): False, ("1", "0"): True, ("1", "1"): False, ("2", "1"): True}
    for (accepts, forwards), result in expected.items():
        for key, value in (("forwarding", forwards), ("accept_ra", accepts)):
            in_host(host, f"sysctl -qw net.ipv6.conf.up0.{key}={value}")
        assert read().accepts_ra is result, (accepts, forwards)


def test_routes_and_links(read: Read, host: str) -> None:
    """On-link and static routes of others are reported, with the link; default, loopback and link-local routes are not."""
    in_host(host, "ip route add 10.44.0.0/16 via 192.0.2.7")
    facts = read()
    assert sorted(details(facts, "route")) == ["10.44.0.0/16", "192.0.2.0/24", "2001:db8::/64"]
    static = find(facts, "route", "10.44.0.0/16")
    assert static.name == "up0"
    assert static.help_text == "choose another CIDR, or remove it: ip -4 route delete 10.44.0.0/16 dev up0"
    assert {link.name for link in facts.foreign_of(ForeignLink)} == {"up0", "far0"}


def test_own_things_do_not_conflict(read: Read, host: str, topology: str) -> None:
    """Our links and their routes are not foreign; those of another topology are."""
    for name, owner, cidr in (("b-ours", topology, "10.45.0.1/24"), ("b-theirs", "t-theirs", "10.46.0.1/24")):
        in_host(host, f"ip link add {name} group {group_of(owner)} type bridge")
        in_host(host, f"ip link set {name} up alias {Alias(owner, 'bridge', 'front')}")
        in_host(host, f"ip address add {cidr} dev {name}")
    facts = read()
    assert "10.45.0.0/24" not in details(facts, "route")
    assert find(facts, "route", "10.46.0.0/24").name == "b-theirs"
    assert "b-ours" not in [link.name for link in facts.foreign_of(ForeignLink)]
    assert "10.45.0.1/24" not in facts.addresses
    assert facts.leases == (Lease("front", "", "10.45.0.1"),)


def test_listeners(read: Read, host: str) -> None:
    """Listening sockets are reported with address, port and holder, in both families and protocols; of the own namespace only."""
    sockets: list[socket.socket] = []

    def listen() -> None:
        enter(f"/run/netns/{host}")
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_STREAM, "192.0.2.11"),
            (socket.AF_INET6, socket.SOCK_STREAM, "::"),
            (socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0"),
            (socket.AF_INET6, socket.SOCK_DGRAM, "2001:db8::11"),
        ):
            sockets.append(socket.socket(family, kind))
            sockets[-1].bind((address, 8080 + len(sockets)))
            if kind == socket.SOCK_STREAM:
                sockets[-1].listen()
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("192.0.2.1", 53))
        sockets.append(client)

    run_in_thread(listen)
    with subprocess.Popen(["nsenter", f"--net=/run/netns/{host}", "busybox", "nc", "-l", "-p", "9999"]) as server:
        while not (found := details(read(), "listener")) or "9999" not in " ".join(found):
            assert server.poll() is None
        facts = read()
        server.kill()
    for one in sockets:
        one.close()
    wanted = ["tcp 192.0.2.11 8081", "tcp :: 8082", "tcp :: 9999", "udp 0.0.0.0 8083", "udp 2001:db8::11 8084"]
    assert sorted(details(facts, "listener")) == wanted
    assert find(facts, "listener", "tcp :: 9999").name == f"busybox (pid {server.pid})"
    assert "ss -Hlntp sport = :9999" in find(facts, "listener", "tcp :: 9999").help_text
    assert details(read(), "listener") == []


def test_listeners_are_parsed() -> None:
    """The kernel's own form: hexadecimal words in the machine's byte order."""
    assert parse_address("0B0200C0") == "192.0.2.11"
    assert parse_address("B80D0120000000000000000011000000") == "2001:db8::11"
    line = "   0: 0B0200C0:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0"
    (one,) = parse_listeners("tcp", "0A", f"  sl  local_address …\n{line}\n")
    assert (one.protocol, one.address, one.port, one.inode) == ("tcp", "192.0.2.11", 8080, "4711")
    assert parse_listeners("tcp", "01", f"title\n{line}\n") == []


def test_drops_of_others(read: Read, host: str) -> None:
    """A base chain that drops forwarded packets is named with the command that helps: of ufw, firewalld, iptables or nft."""
    assert details(read(), "drop") == []
    in_host(host, "iptables -P FORWARD DROP")
    policy = find(read(), "drop", "ip filter FORWARD")
    assert policy.name == "the policy of iptables"
    assert commands(read(), policy.detail) == ("iptables -I FORWARD -m mark --mark 0x1000/0x1000 -j ACCEPT",)
    in_host(host, "iptables -N ufw-before-forward")
    ufw = find(read(), "drop", "ip filter FORWARD")
    assert ufw.name == "ufw"
    assert commands(read(), ufw.detail) == ("ufw route allow in on BRIDGE", "ufw route allow out on BRIDGE")
    in_host(host, "iptables -N DOCKER-USER")
    facts = read()
    assert details(facts, "drop") == [], "Docker's chain comes first, and is ours to use"
    assert facts.docker_user_chain == ("iptables",)
    chain = "type filter hook forward priority 10; policy drop;"
    in_host(
        host,
        "nft -f -",
        f"table inet strict {{ chain through {{ {chain} }}\n chain in {{ {chain.replace('forward', 'input')} }}\n }}",
    )
    assert details(read(), "drop") == ["inet strict through", "inet strict in"]
    assert commands(read(), "inet strict in") == ("nft insert rule inet strict in iifname BRIDGE accept",)
    (command,) = commands(read(), "inet strict through")
    assert command == "nft insert rule inet strict through meta mark and 0x1000 == 0x1000 accept"
    in_host(host, command)
    assert details(read(), "drop") == ["inet strict in"], "what helps, helps"
    in_host(host, "nft -f -", "table inet firewalld { chain filter_FORWARD { type filter hook forward priority 0; reject; }\n }")
    assert commands(read(), "inet firewalld filter_FORWARD")[0].startswith("firewall-cmd ")


def test_other_topologies_ports(read: Read, host: str, topology: str) -> None:
    """Ports that another topology publishes here are reported; our own are not."""
    for name in (topology, "t-theirs"):
        program = f"""
            table inet netctl-{name} {{
                map published4 {{ type inet_proto . inet_service : ipv4_addr . inet_service
                    elements = {{ tcp . 8080 : 10.44.0.10 . 80 }}
                }}
                map published_at6 {{ type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service
                    elements = {{ udp . 2001:db8::11 . 53 : fd00::1 . 53 }}
                }}
                map published_from4 {{ type inet_proto . ipv4_addr . inet_service . ipv4_addr : ipv4_addr . inet_service
                    flags interval
                    elements = {{ tcp . 0.0.0.0/0 . 8443 . 192.0.2.0/24 : 10.44.0.10 . 443 }}
                }}
                chain forward {{ type filter hook forward priority -10; policy drop; }}
            }}"""
        in_host(host, "nft -f -", program)
    facts = read()
    assert sorted(details(facts, "port")) == ["tcp 0.0.0.0 8080", "tcp 0.0.0.0 8443", "udp 2001:db8::11 53"]
    assert {one.name for one in of_kind(facts, "port")} == {"topology t-theirs"}
    assert details(facts, "drop") == []


def test_own_ports_are_ranges(topology: str) -> None:
    """The ports of the topology are reported as ranges, each of one protocol and one address."""
    everywhere = tuple(("published4", f"{protocol} . {port}", "10.44.0.10 . 80")
                       for protocol, port in (("tcp", 90), ("tcp", 82), ("udp", 83), ("tcp", 81), ("tcp", 80)))  # fmt: skip
    chosen = (
        ("published_at4", "tcp . 192.0.2.11 . 83", "10.44.0.10 . 80"),
        ("published_from4", "tcp . 0.0.0.0/0 . 91 . 192.0.2.0/24", "10.44.0.10 . 80"),
        ("published6", "tcp . 82", "fd00::1 . 80"),
    )
    tables = (
        TableInfo("inet", f"netctl-{topology}", True, (*everywhere, *chosen)),
        TableInfo("bridge", f"netctl-{topology}", True, (("ports", "v-a", "goto from_container"),)),
    )
    assert sorted(find_published(Snapshot(topology, {}, tables=tables)), key=str) == sorted(
        map(
            ports,
            ("tcp 0.0.0.0 80-82", "tcp 0.0.0.0 90-91", "udp 0.0.0.0 83", "tcp 192.0.2.11 83", "tcp :: 82"),
        ),
        key=str,
    )


@pytest.mark.docker
def test_docker_beside_us(dockerd: Dockerd, context: KernelContext, host: str) -> None:
    """Docker's networks and ports are seen where they are, its foreign containers wherever the file names some of its own."""
    dockerd.docker("network", "create", "--subnet", "10.99.0.0/24", "theirs")
    ports = ("--publish", "127.0.0.1:8088:80", "--publish", "8089:80")
    dockerd.docker("run", "--detach", "--name", "shop", *ports, "--network", "theirs", "busybox:latest")
    dockerd.docker("create", "--name", "idle", "busybox:latest")
    try:
        there = dataclasses.replace(context, own_netns=f"/run/netns/{dockerd.netns}", engines=(("docker", dockerd.url),))
        facts = read_in(there, dockerd.netns, "docker")
        unasked = read_in(there, dockerd.netns)
        elsewhere = read_in(dataclasses.replace(there, own_netns=f"/run/netns/{host}"), host, "docker")
        not_there = read_facts(there, Snapshot(context.topology, {}), Interest(engines={"docker": {}}), exists=False)
    finally:
        dockerd.remove_all()
        dockerd.docker("network", "rm", "theirs")
    for each in (facts, unasked):
        assert "10.99.0.0/24" in details(each, "route")
        assert sorted(details(each, "port")) == ["tcp 0.0.0.0 8089", "tcp 127.0.0.1 8088"]
        assert details(each, "listener") == ["tcp :: 8089"], "the engine's proxies are told by their ports"
        assert find(each, "port", "tcp 0.0.0.0 8089").help_text == "find it: docker ps --filter publish=8089"
    for each in (facts, elsewhere, not_there):
        states = {(one.name, one.runtime, one.state) for one in each.foreign_of(ForeignContainer)}
        assert states == {("shop", "docker", "running"), ("idle", "docker", "created")}
    assert not list(unasked.foreign_of(ForeignContainer))
    for each in (elsewhere, not_there):
        assert details(each, "port") == []
        assert "10.99.0.0/24" not in details(each, "route")
    assert "iptables" in facts.docker_user_chain
    assert "ip filter FORWARD" not in details(facts, "drop")


def test_leases_and_interfaces(read: Read, context: KernelContext, topology: str) -> None:
    """A live container's addresses are those of the remote end of its link, by the alias of the local end; no link-local ones."""
    alias = str(Alias(topology, "veth", "web", "front"))
    near = LinkInfo(9, "v-web", "veth", "02:00:00:00:00:09", 1500, group_of(topology), up=True, peer=2, alias=alias)
    ends = ((1, "lo", 0), (2, "eth0", 9), (3, "eth1", 8))
    lo, far, foreign = (LinkInfo(n, name, "veth", "", 1500, 0, up=True, peer=peer) for n, name, peer in ends)
    inside = NamespaceInfo(
        {1: lo, 2: far, 3: foreign},
        addresses=tuple(
            AddressInfo(index, cidr, 0, scope=253 if cidr.startswith("fe80") else 0)
            for index, cidr in ((1, "127.0.0.1/8"), (2, "10.44.0.10/24"), (2, "fe80::1/64"), (3, "10.9.0.2/24"))
        ),
    )
    info = ContainerInfo("docker", "web", "theirs", None, running=True, pid=0, existing=True, networks=("bridge",))
    snapshot = Snapshot(topology, {"": NamespaceInfo({9: near}), "container:web": inside}, containers=(info,))
    facts = read_facts(context, snapshot, Interest())
    assert facts.leases == (Lease("front", "web", "10.44.0.10"),)
    (interface,) = facts.foreign_of(ForeignInterface)
    assert (interface.container, interface.name) == ("web", "eth1")
    assert interface.help_text == "docker network disconnect bridge theirs, or re-create it with `--network none`"


def test_a_host_that_is_not_there(context: KernelContext, topology: str) -> None:
    """A lab host that is not there has defaults, and the lab's world has the same."""
    facts = read_facts(context, Snapshot(topology, {}), Interest(), exists=False)
    lab = read_facts(dataclasses.replace(context, host_key=f"{topology}.lab"), Snapshot(topology, {}), Interest())
    assert facts == HostFacts(exists=False, uplink="eth0", fast_path=True)
    assert lab == dataclasses.replace(facts, exists=True)


def test_missing_root_and_library(context: KernelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host lacks is reported in sentences that say what to do."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    nobody = read_facts(context, Snapshot("x", {}), Interest(), exists=False)
    assert nobody.missing == ("netctl needs root on the host: run it with sudo",)
    monkeypatch.undo()
    monkeypatch.setattr("reconciler.kernel.facts.host_facts.LIBRARY", "libnosuch.so.1")
    (sentence,) = read_facts(context, Snapshot("x", {}), Interest(), exists=False).missing
    assert "apt-get install libnftables1" in sentence
