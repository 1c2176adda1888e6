"""Open vSwitch's steps as `ovs-vsctl`, `ovs-ofctl` and `ethtool` command lines. Called by `render.commands`.

`apply` writes all of a batch in one transaction, and the rules of a bridge as one bundle; a line here is one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.kinds.openvswitch import OVS_TOPOLOGY
from reconciler.state.steps.links import OffloadSet
from reconciler.state.steps.openvswitch import (
    BRIDGE_MARK,
    HANDS_OFF,
    PORT_MARK,
    FlowAdd,
    FlowDelete,
    FragmentsSet,
    Marks,
    OvsBridgeAdd,
    OvsBridgeDelete,
    OvsBridgeSet,
    OvsPortAdd,
    OvsPortDelete,
    OvsPortSet,
)
from reconciler.state.steps.step import Step

if TYPE_CHECKING:
    from reconciler.render.commands import Place


def switch_lines(step: Step, place: Place) -> Iterator[str]:
    """The lines of a step for the OVSDB, for a bridge's rules, or for an offload. TypeError for any other."""
    match step:
        case OvsBridgeAdd():
            words = ["add-br", step.name, "--", "set", "bridge", step.name, f"datapath_type={step.datapath}"]
            yield _vsctl(place, *words, *_bridge_settings(step))
        case OvsBridgeSet():
            yield _vsctl(place, "set", "bridge", step.name, *_bridge_settings(step))
        case OvsBridgeDelete():
            yield _vsctl(place, "--if-exists", "del-br", step.name)
        case OvsPortAdd():
            words = [*_queues(step, step.bridge), "add-port", step.bridge, step.name]
            words += ["--", "set", "port", step.name, *_port_settings(step)]
            asked = ["--", "set", "interface", step.name, f"ofport_request={step.number}"] if step.number else []
            yield _vsctl(place, *words, *asked)
        case OvsPortSet():
            yield _vsctl(place, *_queues(step), "set", "port", step.name, *_port_settings(step))
        case OvsPortDelete():
            # A QoS is a row of its own; that of a port is found by the port's name.
            queues = ["--if-exists", "destroy", "qos", step.name, "--"] if step.leaves_queues else []
            yield _vsctl(place, *queues, "--if-exists", "del-port", step.bridge, step.name)
        case FlowAdd():
            flow = f"cookie={step.cookie:#x},{step.match},actions={step.actions}"
            yield place.tool(step.netns, "ovs-ofctl", "add-flow", _bridge(place, step.bridge), flow)
        case FlowDelete():
            flow = f"cookie={step.cookie:#x}/-1,{step.match}"
            yield place.tool(step.netns, "ovs-ofctl", "--strict", "del-flows", _bridge(place, step.bridge), flow)
        case FragmentsSet():
            yield place.tool(step.netns, "ovs-ofctl", "set-frags", _bridge(place, step.bridge), step.mode)
        case OffloadSet():
            yield place.tool(step.netns, "ethtool", "-K", step.dev, step.feature, "on" if step.on else "off")
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")


def _vsctl(place: Place, *words: str) -> str:
    database = [f"--db={place.openvswitch}"] if place.openvswitch else []
    return place.tool("", "ovs-vsctl", *database, *words)


def _bridge(place: Place, name: str) -> str:
    """What ovs-ofctl calls a bridge: its name, or its socket beside that of a database which is not at the usual place."""
    return f"unix:{Path(place.openvswitch.removeprefix('unix:')).parent / name}.mgmt" if place.openvswitch else name


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
