"""Steps on Open vSwitch: bridges and ports in its database, and OpenFlow rules.

`apply` writes all of a batch in one transaction, and the rules of a bridge as one bundle; a command line here is one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.state.shell import HostShell
from reconciler.state.steps.lanes import OPENFLOW, OVSDB
from reconciler.state.steps.step import Step

Marks = tuple[tuple[str, str], ...]
"""Of `external_ids`, those whose keys begin with `netctl:`."""
OVS_TOPOLOGY = "netctl:topology"
"""The key in the `external_ids` of bridges and ports under which their topology stands."""
SECURE, STANDALONE = "secure", "standalone"
"""What a bridge does that has lost its flows (`fail_mode`): pass nothing, or switch everything."""
HANDS_OFF = "linux-noop"
"""The type of QoS with which ovs-vswitchd does not touch a link's queues; with none it removes whatever is there."""
PORT_MARK, BRIDGE_MARK = "netctl:port", "netctl:bridge"
"""Keys in the `external_ids` of a QoS of ours: it is a row of its own, and stays in the database when its port goes."""
FIRST_FRAGMENTS = "nx-match"
"""Rules see the ports and types of a first fragment, as of a whole packet."""


@dataclass(frozen=True, slots=True)
class OvsBridgeAdd(Step):
    """Make a bridge in the OVSDB, with its internal port of the same name, and wait until ovs-vswitchd has made it.

    All steps of this lane that stand in one batch are one transaction (RFC 7047). Without flows the bridge passes nothing, or
    everything where `fail_mode` is standalone (ovs-vswitchd.conf.db(5)).
    """

    lane = OVSDB
    name: str
    datapath: str
    mac: str
    mtu: int
    marks: Marks
    fail_mode: str = SECURE
    learns: bool = False
    """Whether it learns which hardware address is behind which port."""

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = ["add-br", self.name, "--", "set", "bridge", self.name, f"datapath_type={self.datapath}"]
        yield _vsctl(shell, *words, *_bridge_settings(self))


@dataclass(frozen=True, slots=True)
class OvsBridgeSet(Step):
    """Set all that netctl has a say in of a bridge that is there."""

    lane = OVSDB
    name: str
    mac: str
    mtu: int
    marks: Marks
    fail_mode: str = SECURE
    learns: bool = False

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _vsctl(shell, "set", "bridge", self.name, *_bridge_settings(self))


@dataclass(frozen=True, slots=True)
class OvsBridgeDelete(Step):
    """Remove a bridge, its ports and its flows."""

    lane = OVSDB
    name: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _vsctl(shell, "--if-exists", "del-br", self.name)


@dataclass(frozen=True, slots=True)
class OvsPortAdd(Step):
    """Make a link that is there a port of a bridge."""

    lane = OVSDB
    bridge: str
    name: str
    marks: Marks
    is_isolated: bool = False
    number: int = 0
    """The OpenFlow number to ask for (`ofport_request`); 0 is any."""
    leaves_queues: bool = False
    """Whether ovs-vswitchd is to leave the link's queues alone. Else it removes them with each change of its own."""

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = [*_queues(self, self.bridge), "add-port", self.bridge, self.name]
        words += ["--", "set", "port", self.name, *_port_settings(self)]
        words += ["--", "set", "interface", self.name, f"ofport_request={self.number}"] if self.number else []
        yield _vsctl(shell, *words)


@dataclass(frozen=True, slots=True)
class OvsPortSet(Step):
    """Set all that netctl has a say in of a port that is there, and wait until its link is in use."""

    lane = OVSDB
    name: str
    marks: Marks
    is_isolated: bool = False
    leaves_queues: bool = False

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _vsctl(shell, *_queues(self), "set", "port", self.name, *_port_settings(self))


@dataclass(frozen=True, slots=True)
class OvsPortDelete(Step):
    """Remove a port from its bridge; the link stays. With `leaves_queues` it has a QoS of ours, which goes with it."""

    lane = OVSDB
    bridge: str
    name: str
    leaves_queues: bool = False

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _vsctl(shell, "--if-exists", "del-port", self.bridge, self.name)
        if self.leaves_queues:
            # A QoS is a row of its own. ovs-vsctl cannot remove it together with the port: the database sees a reference still.
            queues = _vsctl(shell, "--bare", "--columns=_uuid", "find", "qos", *_marks(((PORT_MARK, self.name),)))
            yield f"{queues} | xargs -r {_vsctl(shell, 'destroy', 'qos')}"


@dataclass(frozen=True, slots=True)
class FragmentsSet(Step):
    """Set what rules of the bridge see of fragments, in a word of ovs-ofctl(8), `set-frags`. A restart sets it back."""

    lane = OPENFLOW
    bridge: str
    mode: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "ovs-ofctl", "set-frags", _bridge(shell, self.bridge), self.mode)


@dataclass(frozen=True, slots=True)
class FlowAdd(Step):
    """Add or replace an OpenFlow rule, in the words of ovs-ofctl(8). Those of a bridge in a batch are one bundle: all or none."""

    lane = OPENFLOW
    bridge: str
    cookie: int
    match: str
    """Table, priority and match, which tell one rule from another."""
    actions: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        flow = f"cookie={self.cookie:#x},{self.match},actions={self.actions}"
        yield shell.tool(self.netns, "ovs-ofctl", "add-flow", _bridge(shell, self.bridge), flow)


@dataclass(frozen=True, slots=True)
class FlowDelete(Step):
    """Remove the rule."""

    lane = OPENFLOW
    bridge: str
    cookie: int
    match: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        flow = f"cookie={self.cookie:#x}/-1,{self.match}"
        yield shell.tool(self.netns, "ovs-ofctl", "--strict", "del-flows", _bridge(shell, self.bridge), flow)


def _vsctl(shell: HostShell, *words: str) -> str:
    database = [f"--db={shell.openvswitch}"] if shell.openvswitch else []
    return shell.tool("", "ovs-vsctl", *database, *words)


def _bridge(shell: HostShell, name: str) -> str:
    """What ovs-ofctl calls a bridge: its name, or its socket beside that of a database which is not at the usual place."""
    return f"unix:{Path(shell.openvswitch.removeprefix('unix:')).parent / name}.mgmt" if shell.openvswitch else name


def _bridge_settings(step: OvsBridgeAdd | OvsBridgeSet) -> list[str]:
    words = [f"fail_mode={step.fail_mode}", f'other_config:hwaddr="{step.mac}"', *_marks(step.marks)]
    flood = ["--", "remove" if step.learns else "add", "bridge", step.name, "flood_vlans", "0"]
    return [*words, *flood, "--", "set", "interface", step.name, f"mtu_request={step.mtu}"]


def _port_settings(step: OvsPortAdd | OvsPortSet) -> list[str]:
    queues = ["qos=@queues"] if step.leaves_queues else []
    return [f"protected={'true' if step.is_isolated else 'false'}", *queues, *_marks(step.marks)]


def _queues(step: OvsPortAdd | OvsPortSet, bridge: str = "") -> list[str]:
    """What makes a QoS with which ovs-vswitchd leaves the port's queues alone, in the place of the one that it has."""
    if not step.leaves_queues:
        return []
    marks = {PORT_MARK: step.name, BRIDGE_MARK: bridge, **{key: value for key, value in step.marks if key == OVS_TOPOLOGY}}
    told = _marks(tuple((key, value) for key, value in marks.items() if value))
    return ["--if-exists", "destroy", "qos", step.name, "--", "--id=@queues", "create", "qos", f"type={HANDS_OFF}", *told, "--"]


def _marks(marks: Marks) -> list[str]:
    return [f'external_ids:"{key}"="{value}"' for key, value in marks]
