"""Steps on Open vSwitch: bridges and ports in its database, and OpenFlow rules.

`apply` writes a whole batch in one transaction, and the rules of a bridge as one bundle; a command line here is one
step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.state.shell import HostShell
from reconciler.state.steps.backends import OPENFLOW, OVSDB
from reconciler.state.steps.step import Step

Marks = tuple[tuple[str, str], ...]
"""The entries of `external_ids` whose keys begin with `netctl:`."""
OVS_TOPOLOGY = "netctl:topology"
"""The key in the `external_ids` of bridges and ports that names their topology."""
SECURE, STANDALONE = "secure", "standalone"
"""The behaviour of a bridge without flows (`fail_mode`): it passes nothing, or it switches everything."""
HANDS_OFF = "linux-noop"
"""The type of QoS with which ovs-vswitchd leaves a link's queueing discipline alone; without QoS it removes any."""
PORT_MARK, BRIDGE_MARK = "netctl:port", "netctl:bridge"
"""Keys in the `external_ids` of netctl's QoS rows. A QoS is a row of its own, and stays when its port is deleted."""
FIRST_FRAGMENTS = "nx-match"
"""The fragment mode in which rules see the ports and types of a first fragment, as of a whole packet."""


@dataclass(frozen=True, slots=True)
class OvsBridgeAdd(Step):
    """Create a bridge in the OVSDB with its internal port of the same name, and wait until ovs-vswitchd has created it.

    All steps of this backend in one batch are one transaction (RFC 7047). Without flows the bridge passes nothing; with
    `fail_mode` standalone it passes everything (ovs-vswitchd.conf.db(5)).
    """

    backend = OVSDB
    name: str
    datapath: str
    mac: str
    mtu: int
    marks: Marks
    fail_mode: str = SECURE
    learns: bool = False
    """Whether it learns the hardware addresses behind its ports."""

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = ["add-br", self.name, "--", "set", "bridge", self.name, f"datapath_type={self.datapath}"]
        yield _vsctl(shell, *words, *_bridge_settings(self))


@dataclass(frozen=True, slots=True)
class OvsBridgeSet(Step):
    """Set all properties of an existing bridge that netctl manages."""

    backend = OVSDB
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
    """Delete a bridge, its ports and its flows."""

    backend = OVSDB
    name: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _vsctl(shell, "--if-exists", "del-br", self.name)


@dataclass(frozen=True, slots=True)
class OvsPortAdd(Step):
    """Add an existing link to a bridge as a port."""

    backend = OVSDB
    bridge: str
    name: str
    marks: Marks
    is_isolated: bool = False
    number: int = 0
    """The OpenFlow number to ask for (`ofport_request`); 0 is any."""
    leaves_queues: bool = False
    """Whether ovs-vswitchd leaves the link's queueing discipline alone. Else each change of its own removes it."""

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = [*_queues(self, self.bridge), "add-port", self.bridge, self.name]
        words += ["--", "set", "port", self.name, *_port_settings(self)]
        words += ["--", "set", "interface", self.name, f"ofport_request={self.number}"] if self.number else []
        yield _vsctl(shell, *words)


@dataclass(frozen=True, slots=True)
class OvsPortSet(Step):
    """Set all properties of an existing port that netctl manages, and wait until its link is in use."""

    backend = OVSDB
    name: str
    marks: Marks
    is_isolated: bool = False
    leaves_queues: bool = False

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _vsctl(shell, *_queues(self), "set", "port", self.name, *_port_settings(self))


@dataclass(frozen=True, slots=True)
class OvsPortDelete(Step):
    """Remove a port from its bridge; the link stays. With `leaves_queues`, delete its QoS, which is netctl's."""

    backend = OVSDB
    bridge: str
    name: str
    leaves_queues: bool = False

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _vsctl(shell, "--if-exists", "del-port", self.bridge, self.name)
        if self.leaves_queues:
            # A QoS is a row of its own. ovs-vsctl cannot delete it together with the port: the database counts the reference.
            queues = _vsctl(shell, "--bare", "--columns=_uuid", "find", "qos", *_marks(((PORT_MARK, self.name),)))
            yield f"{queues} | xargs -r {_vsctl(shell, 'destroy', 'qos')}"


@dataclass(frozen=True, slots=True)
class FragmentsSet(Step):
    """Set how rules of the bridge see fragments, in a word of ovs-ofctl(8), `set-frags`. A restart resets it."""

    backend = OPENFLOW
    bridge: str
    mode: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "ovs-ofctl", "set-frags", _bridge(shell, self.bridge), self.mode)


@dataclass(frozen=True, slots=True)
class FlowAdd(Step):
    """Add or replace an OpenFlow rule, in the words of ovs-ofctl(8).

    The rules of a bridge in a batch are one bundle: all or none.
    """

    backend = OPENFLOW
    bridge: str
    cookie: int
    match: str
    """Table, priority and match, which identify a rule."""
    actions: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        flow = f"cookie={self.cookie:#x},{self.match},actions={self.actions}"
        yield shell.tool(self.netns, "ovs-ofctl", "add-flow", _bridge(shell, self.bridge), flow)


@dataclass(frozen=True, slots=True)
class FlowDelete(Step):
    """Delete the rule."""

    backend = OPENFLOW
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
    """The bridge for ovs-ofctl: its name, or its socket next to that of a database which is not at the usual path."""
    return f"unix:{Path(shell.openvswitch.removeprefix('unix:')).parent / name}.mgmt" if shell.openvswitch else name


def _bridge_settings(step: OvsBridgeAdd | OvsBridgeSet) -> list[str]:
    words = [f"fail_mode={step.fail_mode}", f'other_config:hwaddr="{step.mac}"', *_marks(step.marks)]
    flood = ["--", "remove" if step.learns else "add", "bridge", step.name, "flood_vlans", "0"]
    return [*words, *flood, "--", "set", "interface", step.name, f"mtu_request={step.mtu}"]


def _port_settings(step: OvsPortAdd | OvsPortSet) -> list[str]:
    queues = ["qos=@queues"] if step.leaves_queues else []
    return [f"protected={'true' if step.is_isolated else 'false'}", *queues, *_marks(step.marks)]


def _queues(step: OvsPortAdd | OvsPortSet, bridge: str = "") -> list[str]:
    """The words that replace the port's QoS by one with which ovs-vswitchd leaves its queueing discipline alone."""
    if not step.leaves_queues:
        return []
    marks = {PORT_MARK: step.name, BRIDGE_MARK: bridge, **{key: value for key, value in step.marks if key == OVS_TOPOLOGY}}
    marked = _marks(tuple((key, value) for key, value in marks.items() if value))
    return ["--if-exists", "destroy", "qos", step.name, "--", "--id=@queues", "create", "qos", f"type={HANDS_OFF}", *marked, "--"]


def _marks(marks: Marks) -> list[str]:
    return [f'external_ids:"{key}"="{value}"' for key, value in marks]
