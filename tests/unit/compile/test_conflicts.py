"""What conflicts is found before anything is touched, in a sentence that names the file's line and says what to do."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reconciler.compile import compile_topology
from reconciler.compile.paste import pasted
from reconciler.errors import HostError
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.links.vxlan import Vxlan
from reconciler.kinds.openvswitch.bridge import OvsBridge
from reconciler.state.foreign import (
    Chain,
    ForeignContainer,
    ForeignInterface,
    ForeignLink,
    ForeignPort,
    ForeignResource,
    ForwardDrop,
)
from reconciler.state.host import HostFacts, Lease, LinkFacts
from reconciler.state.naming import interface_name
from reconciler.topology.load import parse_topology
from tests.harness.fakes.foreign import listener, port, ports, route
from tests.harness.topologies.full import load

TEXT = """
version: 1
name: shop
hosts: {here: {connect: local, uplink: eth7}}
subnets: {front: {cidr: [10.44.0.0/24, "fd00:44::/64"]}}
containers:
  web: {networks: {front: auto}, image: "nginx:1.27", ports: [8080:80, "192.0.2.11:53:53/udp"]}
  old: {networks: {front: auto}, existing: true}
"""
THERE = (ForeignLink(name="eth7"), ForeignContainer(name="old", runtime="docker", state="running"))
"""What the file itself asks for."""
TOPOLOGY = load(TEXT)


def meet(*resources: ForeignResource, **facts: object) -> str:
    """What a user reads if these things conflict; "" if none does."""
    seen = HostFacts(exists=True, foreign=(*THERE, *resources), **facts)  # type: ignore[arg-type]
    try:
        compile_topology(TOPOLOGY, {"here": seen})
    except HostError as error:
        return error.message
    return ""


def test_no_conflict() -> None:
    """Things of others that do not conflict with the topology stay."""
    assert not meet(
        route("192.0.2.0/24", "eth7"),
        *(route(each, "tun0") for each in ("0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "10.44.0.0/23", "fc00::/7")),
        listener("tcp 0.0.0.0 22", "sshd"),
        listener("udp 127.0.0.1 53", "named"),
        listener("udp 0.0.0.0 8080", "a web server"),
        ForeignContainer(name="web", runtime="docker", state="running"),
        ForeignContainer(name="shop-web", runtime="podman", state="running"),
        route("172.17.0.0/16", "docker0"),
        ForwardDrop(program="ufw", chain=Chain(family="ip", table="filter", name="FORWARD")),
    )


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (route("10.44.0.0/24", "tun0"), ":5:19: subnet front (10.44.0.0/24) overlaps the route to 10.44.0.0/24"),
        (route("fd00:44::7/128", "tun0"), "subnet front (fd00:44::/64) overlaps the route to fd00:44::7/128 (tun0)"),
        (route("10.44.0.128/25", "docker0"), "overlaps the route to 10.44.0.128/25 (docker0)"),
        (listener("tcp 0.0.0.0 8080", "nginx"), "port 8080/tcp of container web is listened on by nginx"),
        (listener("tcp :: 8080", "nginx"), "port 8080/tcp of container web is listened on by nginx"),
        (listener("udp 192.0.2.11 53", "named"), "port 53/udp of container web is listened on by named"),
        (
            ForeignPort(port=port("tcp 127.0.0.1 8080"), topology="other"),
            "8080/tcp of container web is published by topology other",
        ),
        (ForeignLink(name="b-shop-front"), "interface b-shop-front that is not netctl's; subnet front needs that name"),
        (ForeignLink(name=interface_name("v-", "shop", "web", "front")), "and container web needs that name"),
        (ForeignContainer(name="shop-web", runtime="docker", state="exited"), "has a container shop-web that is not netctl's"),
        (ForeignInterface(container="old", name="eth0"), "container old has an interface eth0 that is not netctl's"),
    ],
)
def test_conflicts_are_reported(resource: ForeignResource, words: str) -> None:
    """Each kind of thing that can conflict, in words."""
    assert words in meet(resource)


def test_an_address_of_the_host() -> None:
    """A subnet must not hold an address of its host. It may be a part of a network that the host is in."""
    assert "overlaps the address 10.44.0.77/16 of host here" in meet(addresses=("10.44.0.77/16",))
    assert not meet(addresses=("10.44.7.77/16",))


LATE = (
    (route("10.44.0.128/25", "tun0"), "10.44.0.128/25 takes packets from subnet front (10.44.0.0/24)"),
    (listener("tcp 0.0.0.0 8080", "nginx"), "port 8080/tcp leads to container web"),
)


@pytest.mark.parametrize(("resource", "words"), LATE)
def test_what_comes_later_hinders_no_plan(resource: ForeignResource, words: str) -> None:
    """What is made already is not judged again; who takes its packets is named. A range that is new is judged."""
    made = {
        "leases": (Lease("front", "", "10.44.0.1"), Lease("front", "", "fd00:44::1")),
        "published": (ports("tcp 0.0.0.0 8000-8080"),),
    }
    made["published"] += (ports("tcp :: 8080-8081"),)
    assert not meet(resource, **made)
    facts = HostFacts(exists=True, foreign=(*THERE, resource), **made)  # type: ignore[arg-type]
    intruders = compile_topology(TOPOLOGY, {"here": facts}).intruders["here"]
    assert any(words in f"{each.source.detail} {each.effect}" for each in intruders)
    assert meet(resource)
    assert meet(
        resource,
        leases=(Lease("front", "", "10.43.0.1"),),
        published=(ports("tcp 192.0.2.9 8080"), ports("udp 0.0.0.0 8080"), ports("tcp 0.0.0.0 8081-8089")),
    )


def test_a_missing_uplink() -> None:
    """The uplink that the file names must be there."""
    with pytest.raises(HostError) as caught:
        compile_topology(TOPOLOGY, {"here": HostFacts(exists=True, foreign=(ForeignLink(name="eth0"), THERE[1]))})
    assert "topology.yaml:4:" in caught.value.message
    assert "has no interface eth7" in caught.value.message
    assert "eth0" in caught.value.help_text


def test_all_at_once() -> None:
    """All conflicts are reported in one error, with exit status 3."""
    foreign = (*THERE, ForeignContainer(name="shop-web", runtime="docker", state="exited"))
    facts = HostFacts(exists=True, foreign=foreign, missing=("netctl needs root on the host: run it with sudo",))
    with pytest.raises(HostError) as caught:
        compile_topology(TOPOLOGY, {"here": facts})
    assert caught.value.exit_status == 3
    assert caught.value.message.startswith("2 conflicts, and nothing was changed:")
    assert "host here: netctl needs root" in caught.value.message


def test_a_container_of_others_that_does_not_run_is_waited_for() -> None:
    """A missing or stopped `existing` container is noted, and refuses nothing."""
    stopped = ForeignContainer(name="old", runtime="docker", state="exited")
    for foreign, state in ((THERE[:1], "missing"), ((THERE[0], stopped), "exited")):
        desired = compile_topology(TOPOLOGY, {"here": HostFacts(exists=True, foreign=foreign)})
        (conflict,) = desired.conflicts
        assert conflict.awaited == "old"
        assert f"the existing container old on host here is {state}" in conflict.message


@pytest.mark.parametrize(
    ("help_text", "wanted"),
    [
        ("remove it (ip link delete b0), or not", "remove it (netctl exec --host alpha -- ip link delete b0), or not"),
        ("remove it: ip -4 route delete 10.0.0.0/8", "remove it: netctl exec --host alpha -- ip -4 route delete 10.0.0.0/8"),
        ("find it: ss -Hlntp sport = :80", "find it: netctl exec --host alpha -- ss -Hlntp sport = :80"),
        ("iptables -I FORWARD -j ACCEPT; nft list tables",
         "netctl exec --host alpha -- iptables -I FORWARD -j ACCEPT; netctl exec --host alpha -- nft list tables"),
        ("if it is unused: ip netns delete x", "if it is unused: ip netns delete x"),
        ("find it: docker ps --filter publish=80", "find it: docker ps --filter publish=80"),
        ("write ip 10.0.0.1, and no more", "write ip 10.0.0.1, and no more"),
    ],
)  # fmt: skip
def test_commands_for_a_lab_host(help_text: str, wanted: str) -> None:
    """What acts on a network namespace is run in the lab host's, with the file if it has another name; the rest stays."""
    text = b"version: 1\nname: a\nhosts: {alpha: {connect: lab, address: 192.0.2.11}}\n"
    assert pasted(parse_topology(text), "alpha", help_text) == wanted
    named = pasted(parse_topology(text, "my files/a.yaml"), "alpha", help_text)
    assert named == wanted.replace("--host alpha --", "--host alpha --file 'my files/a.yaml' --")
    assert pasted(parse_topology(text.replace(b"lab, address: 192.0.2.11", b"local")), "alpha", help_text) == help_text


EVERY_LINK = """
version: 1
name: shop
hosts:
  here: {connect: local, address: 192.0.2.11}
  there: {connect: "ssh://there", address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24, overlay: vxlan}
  back: {cidr: 10.45.0.0/24, overlay: vxlan, bridge: openvswitch}
  lan: {cidr: 192.0.2.0/24, mode: direct, bridge: BRIDGE}
  side: {cidr: 192.168.7.0/24, mode: macvlan, uplink: eth1}
containers:
  web: {host: here, networks: {front: auto, back: auto, lan: 192.0.2.50, side: 192.168.7.50}}
  app: {host: there, networks: {front: auto, back: auto}}
"""


@pytest.mark.parametrize("bridge", ["linux", "openvswitch"])
def test_no_name_of_a_link_is_taken(bridge: str) -> None:
    """Every name that a link of netctl's gets on the host, second names included, is seen to be another's before the apply."""
    topology = load(EVERY_LINK.replace("BRIDGE", bridge))
    links = tuple(LinkFacts(name, "", "02:00:00:00:00:01", 1500) for name in ("eth0", "eth1"))
    facts = {
        name: HostFacts(exists=True, uplink="eth0", links=links, addresses=(f"{host.addresses[0]}/24",))
        for name, host in topology.hosts.items()
    }
    records = compile_topology(topology, facts).hosts["here"].records.values()
    made = [record for record in records if isinstance(record, Bridge | OvsBridge | Veth | Vxlan | Macvlan) and not record.netns]
    names = {name for record in made for name in (record.name, getattr(record, "altname", "")) if name}
    assert {"b-shop-back", "shop-back", "shop-lan", "shop-front.vxlan", "shop-web-back", "m-shop-side"} <= names
    for name in names:
        taken = replace(facts["here"], foreign=(ForeignLink(name=name),))
        with pytest.raises(HostError, match=f"interface {re.escape(name)} that is not netctl's"):
            compile_topology(topology, facts | {"here": taken})
