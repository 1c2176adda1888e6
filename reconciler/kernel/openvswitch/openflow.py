"""OpenFlow rules of netctl's Open vSwitch bridges, read and written with ovs-ofctl(8), one process for each bridge.

A bridge listens on a socket next to that of the database. All rules of one batch for one bridge are a bundle: it takes
effect as a whole, or not at all.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.errors import HostError
from reconciler.kernel.events.monitors import MonitorEvents
from reconciler.kernel.events.source import Cause
from reconciler.kernel.openvswitch.ovsdb import is_there
from reconciler.state.snapshot import OvsFlowInfo
from reconciler.state.steps.openvswitch import FlowAdd, FlowDelete, FragmentsSet
from reconciler.state.steps.step import Step, StepError
from reconciler.state.trace import OPENFLOW, TracedFrame, TraceEvent

TIMEOUT_S = 10
TOOL, CONTROL_TOOL = "ovs-ofctl", "ovs-appctl"
_TRACED = re.compile(r"\s*(\d+)\. (.*?)priority (\d+)", re.ASCII)
_LINE = re.compile(r"\s*cookie=0x[0-9a-f]+, (.*\S)?\s*actions=(.*)", re.ASCII)


def bridge_socket(url: str, bridge: str) -> str:
    """The bridge's socket, from the URL of the database: `unix:/run/openvswitch/b-shop-front.mgmt`."""
    return f"unix:{Path(url.removeprefix('unix:')).parent / bridge}.mgmt"


def open_flow_events(url: str, bridge: str, machine_netns: str) -> MonitorEvents:
    """The changes of the rules of a bridge. OSError."""
    return MonitorEvents((TOOL, "monitor", bridge_socket(url, bridge), "watch:!initial"), machine_netns, Cause.SWITCH)


def read_flows(url: str, bridge: str, cookie: int) -> Iterator[OvsFlowInfo]:
    """The rules of a bridge that carry the cookie. HostError if the bridge does not answer."""
    words = ("--names", "--no-stats", "dump-flows", bridge_socket(url, bridge), f"cookie={cookie:#x}/-1")
    for line in _run(words, "").splitlines():
        if flow := parse_flow(bridge, line):
            yield flow


def read_fragments(url: str, bridge: str) -> str:
    """How the bridge's rules see fragments, in a word of `ovs-ofctl set-frags`. HostError if it does not answer."""
    return _run(("get-frags", bridge_socket(url, bridge)), "").strip()


def trace_frame(url: str, frame: TracedFrame) -> Iterator[TraceEvent]:
    """The flows that a frame would match (ovs-vswitchd(8), ofproto/trace). HostError if the switch does not answer."""
    control = next(iter(sorted(Path(url.removeprefix("unix:")).parent.glob("ovs-vswitchd.*.ctl"))), None)
    if control is None:
        raise HostError("ovs-vswitchd has no control socket", "is it running?")
    for line in _run(("-t", str(control), "ofproto/trace", frame.bridge, frame.flow), "", CONTROL_TOOL).splitlines():
        if found := _TRACED.match(line):
            yield TraceEvent(
                family=OPENFLOW, table=frame.bridge, chain=found[1], number=int(found[3]), verdict="", text=found[2].rstrip(", ")
            )


def parse_flow(bridge: str, line: str) -> OvsFlowInfo | None:
    """One line of `dump-flows`; None for its heading.

    All words between cookie and match except the table (a timeout, for example) are added to the actions. They do not
    identify a rule, and no rule of netctl's has any.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    *attributes, match = (found[1] or "").split(", ")
    table = next((word for word in attributes if word.startswith("table=")), "table=0")
    others = [word for word in attributes if word != table]
    return OvsFlowInfo(bridge, ",".join(part for part in (table, match) if part), ", ".join((found[2].strip(), *others)))


def run_flow_steps(url: str, steps: Sequence[Step]) -> None:
    """Execute the steps, the rules of each bridge as one bundle. StepError if one is rejected."""
    by_bridge: dict[str, list[FlowAdd | FlowDelete]] = {}
    for step in steps:
        if isinstance(step, FlowAdd | FlowDelete):
            by_bridge.setdefault(step.bridge, []).append(step)
        if isinstance(step, FragmentsSet):
            _set_fragments(url, step)
    for bridge, those in by_bridge.items():
        if all(isinstance(step, FlowDelete) for step in those) and not is_there(bridge_socket(url, bridge)):
            continue  # they were deleted with their bridge
        try:
            _run(("--bundle", "add-flows", bridge_socket(url, bridge), "-"), "".join(f"{render_mod(step)}\n" for step in those))
        except HostError as error:
            raise StepError(those[0], error.message) from error


def _set_fragments(url: str, step: FragmentsSet) -> None:
    try:
        _run(("set-frags", bridge_socket(url, step.bridge), step.mode), "")
    except HostError as error:
        raise StepError(step, error.message) from error


def render_mod(step: FlowAdd | FlowDelete) -> str:
    """A step as a line of a file for `ovs-ofctl add-flows`.

    StepError if it would be more than one line, or contain a comment.
    """
    line = f"add cookie={step.cookie:#x},{step.match},actions={step.actions}" if isinstance(step, FlowAdd) else ""
    line = line or f"delete_strict cookie={step.cookie:#x}/-1,{step.match}"
    if not (line.isascii() and line.isprintable()) or "#" in line:
        raise StepError(step, "a flow that is not one line of ovs-ofctl's")
    return line


def _run(words: Sequence[str], text: str, tool: str = TOOL) -> str:
    try:
        done = subprocess.run([tool, *words], input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise HostError(f"the command {tool} is missing", "apt-get install openvswitch-switch") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{tool} has no answer after {TIMEOUT_S} s", "is ovs-vswitchd running?") from error
    if done.returncode:
        raise HostError(f"{tool}: {' '.join(done.stderr.split()) or f'exit status {done.returncode}'}")
    return done.stdout
