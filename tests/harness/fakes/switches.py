"""Open vSwitch of the fake host: the database, ovs-vswitchd in user space, and its rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reconciler.state.ref import HOST
from reconciler.state.snapshot import OffloadInfo, OvsBridgeInfo, OvsFlowInfo, OvsPortInfo
from reconciler.state.steps.openvswitch import (
    FlowAdd,
    FlowDelete,
    FragmentsSet,
    OvsBridgeAdd,
    OvsBridgeDelete,
    OvsBridgeSet,
    OvsPortAdd,
    OvsPortDelete,
    OvsPortSet,
)
from tests.harness.fakes.base import Base, Handlers, Refused, Switch, SwitchPort
from tests.harness.fakes.spaces import Link

_NAMED = re.compile(r'(?:in_port=|output:)"([^"]+)"')


class Switches(Base):
    """The steps of Open vSwitch."""

    def switch_handlers(self) -> Handlers:
        return {
            OvsBridgeAdd: self._bridge_add,
            OvsBridgeSet: self._bridge_set,
            OvsBridgeDelete: self._bridge_delete,
            OvsPortAdd: self._ovs_port_add,
            OvsPortSet: self._ovs_port_set,
            OvsPortDelete: self._ovs_port_delete,
            FragmentsSet: self._fragments_set,
            FlowAdd: self._flow_add,
            FlowDelete: self._flow_delete,
        }

    def _switch(self, name: str) -> Switch:
        if name not in self.switches:
            raise Refused(f"Open vSwitch has no bridge {name}")
        return self.switches[name]

    def _bridge_add(self, step: OvsBridgeAdd) -> None:
        """With its internal port, a link of the host: a tap in user space."""
        if step.name in self.switches or any(step.name in switch.ports for switch in self.switches.values()):
            raise Refused(f"Open vSwitch has a bridge or port {step.name} already")
        kind = "tun" if step.datapath == "netdev" else "openvswitch"
        self._add_link(self.spaces[HOST], Link(self._next_index(), step.name, kind, step.mac, step.mtu))
        self.switches[step.name] = Switch(step.datapath, step.mac, step.mtu, step.marks, step.fail_mode, step.learns)

    def _bridge_set(self, step: OvsBridgeSet) -> None:
        switch = self._switch(step.name)
        for name in ("mac", "mtu", "marks", "fail_mode", "learns"):
            setattr(switch, name, getattr(step, name))
        if link := self.spaces[HOST].links.get(step.name):
            link.mac, link.mtu = step.mac, step.mtu

    def _bridge_delete(self, step: OvsBridgeDelete) -> None:
        """Ports, rules and the internal port go with it; the links of its ports stay."""
        if self.switches.pop(step.name, None) and step.name in self.spaces[HOST].links:
            self._drop_link(HOST, step.name)

    def _ovs_port_add(self, step: OvsPortAdd) -> None:
        switch = self._switch(step.bridge)
        if any(step.name in (name, *each.ports) for name, each in self.switches.items()):
            raise Refused(f"Open vSwitch has a port {step.name} already")
        port = switch.ports[step.name] = SwitchPort(step.marks, step.is_isolated, step.leaves_queues, number=0, index=0)
        port.index = self._link(HOST, step.name).index  # without it, the row is there all the same
        port.number = step.number or switch.next_number()
        self._drop_queues(step)

    def _ovs_port_set(self, step: OvsPortSet) -> None:
        port = next((switch.ports[step.name] for switch in self.switches.values() if step.name in switch.ports), None)
        if port is None:
            raise Refused(f"Open vSwitch has no port {step.name}")
        port.marks, port.is_isolated, port.leaves_queues = step.marks, step.is_isolated, step.leaves_queues
        self._drop_queues(step)

    def _ovs_port_delete(self, step: OvsPortDelete) -> None:
        if step.bridge in self.switches:
            self.switches[step.bridge].disconnect(step.name)
            self.switches[step.bridge].ports.pop(step.name, None)

    def _drop_queues(self, step: OvsPortAdd | OvsPortSet) -> None:
        """ovs-vswitchd removes the queues of a port, unless it is to leave them alone."""
        if not step.leaves_queues:
            self.spaces[HOST].queues.pop(step.name, None)

    def _fragments_set(self, step: FragmentsSet) -> None:
        self._switch(step.bridge).fragments = step.mode

    def _flow_add(self, step: FlowAdd) -> None:
        switch = self._switch(step.bridge)
        if unknown := [name for name in _NAMED.findall(f"{step.match} {step.actions}") if name not in switch.ports]:
            raise Refused(f"{unknown[0]}: invalid or unknown port")
        switch.flows[step.match] = (step.cookie, step.actions)

    def _flow_delete(self, step: FlowDelete) -> None:
        self._switch(step.bridge).flows.pop(step.match, None)

    # --- reading ----------------------------------------------------------------------------------------------------

    def takes(self, link: Link) -> bool:
        """Whether ovs-vswitchd takes the packets of a link."""
        return any(port.index == link.index for switch in self.switches.values() for port in switch.ports.values())

    def read_switches(self) -> Iterator[OvsBridgeInfo]:
        for name, switch in self.switches.items():
            ports = tuple(self._read_port(*item) for item in switch.ports.items())
            marks, fragments = tuple(sorted(switch.marks)), switch.fragments if name in self.spaces[HOST].links else ""
            yield OvsBridgeInfo(
                name, switch.datapath, switch.mac, switch.mtu, switch.fail_mode, marks, ports, switch.learns, fragments
            )

    def _read_port(self, name: str, port: SwitchPort) -> OvsPortInfo:
        return OvsPortInfo(name, port.number, tuple(sorted(port.marks)), port.is_isolated, port.leaves_queues)

    def read_flows(self, cookie: int) -> Iterator[OvsFlowInfo]:
        for name, switch in self.switches.items():
            yield from (OvsFlowInfo(name, match, flow[1]) for match, flow in switch.flows.items() if flow[0] == cookie)

    def read_offloads(self) -> Iterator[OffloadInfo]:
        """Of what leads to a bridge in user space: the container's end of a veth (`tx`), and other links (`gro`)."""
        for name in (name for switch in self.switches.values() if switch.datapath == "netdev" for name in switch.ports):
            if link := self.spaces[HOST].links.get(name):
                netns, dev, feature = (*link.peer, "tx") if link.peer else (HOST, name, "gro")
                yield OffloadInfo(netns, dev, feature, on=(dev, feature) not in self.spaces[netns].offloads_off)
