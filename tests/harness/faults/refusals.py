"""Steps that a host refuses because of its state, or does not refuse: each is tried on the real host and on its fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.bridge import OvsBridge, OvsPort
from reconciler.kinds.openvswitch.flow import OvsFlow
from reconciler.kinds.settings.qdisc import Qdisc
from reconciler.state.host import HostState
from reconciler.state.ref import HOST
from reconciler.state.steps.addresses import DhcpStart
from reconciler.state.steps.containers import ContainerStart
from reconciler.state.steps.firewall import IptablesAdd
from reconciler.state.steps.links import LinkAdd, OffloadSet, QdiscDelete, QdiscSet
from reconciler.state.steps.openvswitch import FlowAdd, OvsBridgeDelete, OvsPortAdd, OvsPortDelete, OvsPortSet
from reconciler.state.steps.step import Step
from reconciler.state.steps.uplinks import UplinkEnslave, UplinkRelease
from tests.harness.faults.both import DIRECT, DOCKER, LINUX, MACVLAN, SWITCH, first


@dataclass(frozen=True, slots=True)
class Trial:
    """A step on a topology that has been applied."""

    example: str
    step: Callable[[HostState], Step]
    is_refused: bool = True


def _queue(state: HostState, dev: str) -> QdiscSet:
    rate = first(state, Qdisc)
    return QdiscSet(rate.netns, dev, rate.rate_bytes, 32768, 65536)


def _passthru(state: HostState) -> LinkAdd:
    own = first(state, Macvlan, HOST)
    return replace(own.lower_add(), name="more", mac="02:00:00:00:00:77", options=(("link", own.lower), ("mode", "passthru")))


def _port(state: HostState, name: str, bridge: str = "") -> OvsPortAdd:
    return OvsPortAdd(HOST, bridge or first(state, OvsBridge).name, name, ())


def _flow(state: HostState, port: str, bridge: str = "") -> FlowAdd:
    return FlowAdd(HOST, bridge or first(state, OvsBridge).name, 1, f'table=0,priority=9,in_port="{port}"', "drop")


TRIALS: Mapping[str, Trial] = {
    "a queue at a link that is not there": Trial(LINUX, lambda state: _queue(state, "none0")),
    "a queue in the place of another": Trial(LINUX, lambda state: _queue(state, first(state, Qdisc).dev), is_refused=False),
    "no queue at a link that is not there": Trial(LINUX, lambda _: QdiscDelete(HOST, "none0"), is_refused=False),
    "an offload of a link that is not there": Trial(LINUX, lambda _: OffloadSet(HOST, "none0", "tx", on=False)),
    "a rule in a chain that is not there": Trial(
        LINUX, lambda _: IptablesAdd(HOST, "iptables", "filter", "NOT-DOCKERS", ("-j", "ACCEPT"))
    ),
    "a DHCP client in no namespace": Trial(LINUX, lambda _: DhcpStart("container:no", "no", "eth0", default=True)),
    "a macvlan on a link that is not there": Trial(
        MACVLAN, lambda _: LinkAdd(HOST, "more", "macvlan", "", 1500, 7, options=(("link", "none0"), ("mode", "bridge")))
    ),
    "a macvlan that would have a shared uplink to itself": Trial(MACVLAN, _passthru),
    "an uplink that is not there": Trial(DIRECT, lambda _: UplinkEnslave(HOST, "none0", "lo")),
    "an uplink into a bridge that is not there": Trial(DIRECT, lambda _: UplinkEnslave(HOST, "eth0", "none0")),
    "an uplink that is gone is given back": Trial(DIRECT, lambda _: UplinkRelease(HOST, "none0", "b"), is_refused=False),
    "a bridge of Open vSwitch that is there": Trial(SWITCH, lambda state: first(state, OvsBridge).lower_create()[0]),
    "a bridge of Open vSwitch that is gone": Trial(SWITCH, lambda _: OvsBridgeDelete(HOST, "none0"), is_refused=False),
    "a port that is there": Trial(SWITCH, lambda state: _port(state, first(state, OvsPort).name)),
    "a port of a bridge that is not there": Trial(SWITCH, lambda state: _port(state, first(state, Veth).name, "none0")),
    "a change of a port that is not there": Trial(SWITCH, lambda _: OvsPortSet(HOST, "none0", ())),
    "a port that is gone": Trial(SWITCH, lambda s: OvsPortDelete(HOST, first(s, OvsBridge).name, "none0"), is_refused=False),
    "a rule for a port that is not there": Trial(SWITCH, lambda state: _flow(state, "none0")),
    "a rule of a bridge that is not there": Trial(SWITCH, lambda state: _flow(state, "none0", "none0")),
    "a rule that is there": Trial(SWITCH, lambda state: first(state, OvsFlow).lower_create()[0], is_refused=False),
    "a container that is there": Trial(DOCKER, lambda state: first(state, EngineContainer).lower_create()[0]),
    "a start of a container that is not there": Trial(DOCKER, lambda _: ContainerStart("container:no", "docker", "none")),
}
