"""Damage to a host and to its fake. A step does it to both; a command of another program is a line of code for the fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.engine.holder import NetnsHolder
from reconciler.kinds.firewall.docker_user import DockerUser
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.bridge import OvsBridge, OvsPort
from reconciler.kinds.openvswitch.flow import OvsFlow
from reconciler.kinds.settings.offload import Offload
from reconciler.kinds.settings.qdisc import Qdisc
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import HOST
from reconciler.state.steps.containers import ContainerStop
from reconciler.state.steps.step import Step
from tests.harness.fakes.host import FakeHost
from tests.harness.fakes.spaces import Link

LINUX = "a bridge, a rate limit, a command and Docker's chain"
MACVLAN, DIRECT = "macvlans, and a DHCP client", "an uplink in a bridge"
SWITCH, SWITCH_DIRECT = "a bridge of Open vSwitch", "an uplink in a bridge of Open vSwitch"
DOCKER = "a container of Docker"
WEB, DB = "container:web", "container:db"
STATIC = 4  # RTPROT_STATIC, linux/rtnetlink.h
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to a topology that has been applied."""

    example: str
    steps: Callable[[HostState], tuple[Step, ...]] = lambda _: ()
    """Given what is applied."""
    netns: str = HOST
    command: str = ""
    change: Callable[[FakeHost], object] = lambda _: None
    """What `command` in `netns` does, for the fake host."""
    strays: tuple[str, ...] = ()
    """The kinds of what conflicts afterwards."""


def first(state: HostState, kind: type[R], netns: str | None = None) -> R:
    """A record of the kind, in the namespace where one is named."""
    found = (one for one in state.records.values() if isinstance(one, kind))
    return next(one for one in found if netns is None or netns in (one.netns, getattr(one, "peer_netns", None)))


def deletion(kind: type[Record], netns: str | None = None) -> Callable[[HostState], tuple[Step, ...]]:
    """The steps that delete one thing of the kind, past all order."""
    return lambda state: first(state, kind, netns).lower_delete()


def _foreign_route(fake: FakeHost) -> None:
    fake.spaces[WEB].protocols[4, "default", 0] = STATIC


def _foreign_link(fake: FakeHost) -> None:
    fake._drop_link(WEB, "eth0")
    fake.spaces[WEB].links["eth0"] = Link(90, "eth0", "bridge")


def _switch_off(fake: FakeHost) -> None:
    """All of the link's IPv6 goes (addrconf_ifdown)."""
    space = fake.spaces[WEB]
    space.sysctls["net.ipv6.conf.eth0.disable_ipv6"] = "1"
    space.addresses = [each for each in space.addresses if each[0] != "eth0" or ":" not in each[1]]
    space.routes = {key: route for key, route in space.routes.items() if route.dev != "eth0" or route.family == 4}
    space.neighbors = {key: mac for key, mac in space.neighbors.items() if key[0] != "eth0" or ":" not in key[1]}


def _take_out(fake: FakeHost) -> None:
    space = fake.spaces[HOST]
    space.links["eth0"].master, space.links["eth0"].port_options = "", {}
    space.addresses.append(("eth0", "192.0.2.12/24"))


def _stop(kind: type[EngineContainer | NetnsHolder]) -> Callable[[HostState], tuple[Step, ...]]:
    """The kernel takes a namespace apart some time after its last process; the link is deleted to have it at once."""

    def steps(state: HostState) -> tuple[Step, ...]:
        container = first(state, kind)
        return (ContainerStop(container.netns, container.runtime, container.engine_name), *first(state, Veth).lower_delete())

    return steps


DAMAGES: Mapping[str, Damage] = {
    "another program's route in the place of one": Damage(
        LINUX,
        netns=WEB,
        command="ip route delete default; ip route add default via 10.44.0.1 proto static",
        change=_foreign_route,
        strays=("stray-route",),
    ),
    "another link under the name of one": Damage(
        LINUX,
        netns=WEB,
        command="ip link delete eth0; ip link add eth0 type bridge",
        change=_foreign_link,
        strays=("stray-link",),
    ),
    "IPv6 off for one link": Damage(
        LINUX,
        netns=WEB,
        command="sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
        change=_switch_off,
        strays=("stray-switch",),
    ),
    "another queue at a link": Damage(
        LINUX,
        netns=DB,
        command="tc qdisc add dev eth0 root pfifo limit 10",
        change=lambda fake: fake.spaces[DB].queues.update(eth0=("pfifo", 0)),
        strays=("stray-queue",),
    ),
    "a rate limit is deleted": Damage(LINUX, deletion(Qdisc, WEB)),
    "a veth goes with its rate limit, addresses and routes": Damage(LINUX, deletion(Veth, WEB)),
    "a rule in Docker's chain is deleted": Damage(LINUX, deletion(DockerUser)),
    "a macvlan goes with its DHCP client": Damage(MACVLAN, deletion(Macvlan, "container:app")),
    "the host's own macvlan goes": Damage(MACVLAN, deletion(Macvlan, HOST)),
    "an uplink is taken out of its bridge, and gets an address": Damage(
        DIRECT, command="ip link set eth0 nomaster; ip address add 192.0.2.12/24 dev eth0", change=_take_out
    ),
    "a port goes from the database, and its rules keep its number": Damage(SWITCH, deletion(OvsPort)),
    "the link of a port goes, and the port stays": Damage(SWITCH, deletion(Veth, WEB)),
    "a bridge of Open vSwitch goes with its ports, rules and addresses": Damage(SWITCH, deletion(OvsBridge)),
    "a rule of Open vSwitch is deleted": Damage(SWITCH, deletion(OvsFlow)),
    "an offload is on again": Damage(SWITCH, deletion(Offload)),
    "a bridge of Open vSwitch goes, and the uplink has lost its addresses": Damage(SWITCH_DIRECT, deletion(OvsBridge)),
    "a container is stopped, and its links go": Damage(DOCKER, _stop(EngineContainer)),
    "a holder is stopped, and what joined it runs without links": Damage(DOCKER, _stop(NetnsHolder)),
}
