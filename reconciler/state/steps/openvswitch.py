"""Steps on Open vSwitch: bridges and ports in its database, and OpenFlow rules."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.state.steps.lanes import OPENFLOW, OVSDB
from reconciler.state.steps.step import Step

Marks = tuple[tuple[str, str], ...]
"""Of `external_ids`, those whose keys begin with `netctl:`."""
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


@dataclass(frozen=True, slots=True)
class OvsBridgeDelete(Step):
    """Remove a bridge, its ports and its flows."""

    lane = OVSDB
    name: str


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


@dataclass(frozen=True, slots=True)
class OvsPortSet(Step):
    """Set all that netctl has a say in of a port that is there, and wait until its link is in use."""

    lane = OVSDB
    name: str
    marks: Marks
    is_isolated: bool = False
    leaves_queues: bool = False


@dataclass(frozen=True, slots=True)
class OvsPortDelete(Step):
    """Remove a port from its bridge; the link stays. With `leaves_queues` it has a QoS of ours, which goes with it."""

    lane = OVSDB
    bridge: str
    name: str
    leaves_queues: bool = False


@dataclass(frozen=True, slots=True)
class FragmentsSet(Step):
    """Set what rules of the bridge see of fragments, in a word of ovs-ofctl(8), `set-frags`. A restart sets it back."""

    lane = OPENFLOW
    bridge: str
    mode: str


@dataclass(frozen=True, slots=True)
class FlowAdd(Step):
    """Add or replace an OpenFlow rule, in the words of ovs-ofctl(8). Those of a bridge in a batch are one bundle: all or none."""

    lane = OPENFLOW
    bridge: str
    cookie: int
    match: str
    """Table, priority and match, which tell one rule from another."""
    actions: str


@dataclass(frozen=True, slots=True)
class FlowDelete(Step):
    """Remove the rule."""

    lane = OPENFLOW
    bridge: str
    cookie: int
    match: str
