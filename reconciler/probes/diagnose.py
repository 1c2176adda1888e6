"""The suspected faulty hop, from the findings of a failed probe and of the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.probes.frames import ADVERTISED, DETOUR, GROUP, STRAY
from reconciler.probes.model import (
    ALLOWED,
    FORBIDDEN,
    FOREIGN_NETNS,
    IN_SUBNETS,
    PUBLISHED,
    ROUTES,
    TO_OUTSIDE,
    WITH_HOST,
    ClaimProbe,
    FramedPacketProbe,
    FrameProbe,
    NameLookup,
    Opened,
    PacketProbe,
    Probe,
    Result,
    RouteLookup,
)
from reconciler.state.ref import is_container_netns


@dataclass(frozen=True, slots=True)
class NetnsFacts:
    """The facts of the namespace that a failed probe came from. Families are 4 and 6."""

    exists: bool
    links: tuple[str, ...] = ()
    addressed: tuple[int, ...] = ()
    default_routes: tuple[int, ...] = ()


def diagnose(failed: Result, results: Sequence[Result], facts: NetnsFacts, opened: Opened = Opened()) -> str:  # noqa: B008  a frozen value
    """One sentence: the hop, and what to check. `results` are all of the same host, `facts` of the failed probe's source."""
    probe, finding = failed.probe, failed.finding
    if not probe.expected:
        return _why_open(probe)
    if isinstance(probe, NameLookup):
        return f"the name server at {probe.address} does not know {probe.name} as the file says: netctl diff"
    if isinstance(probe, RouteLookup):
        return "a route of the container's own precedes the file's, or the file's is missing: netctl status"
    if finding.outcome == "wrong":
        return f"{finding.detail}: another server holds that address and port"
    if near := _at_source(probe, facts, results):
        return near
    if finding.detail and probe.kind == "icmp":
        return f"{finding.detail}{': a router on the path rejects it' if 'says' in finding.detail else ''}"
    if probe.section == PUBLISHED or probe.kind != "icmp":
        return _at_service(failed, results, opened)
    return _on_the_way(probe, results)


OPEN_FRAMES = {
    GROUP: "the port delivers frames to the host's stack, past the bridge's filter: the filter at the port's ingress is missing",
    ADVERTISED: "nothing drops router advertisements of a container: the filter at its port is missing, or IPv6 is on there",
    STRAY: "the bridge floods frames for unknown hardware addresses: `flood` is on at its ports",
    DETOUR: "the host routes from one isolated port to another: the rule against it in netctl's table is missing",
}


def _why_open(probe: Probe) -> str:
    match probe:
        case FrameProbe():
            return OPEN_FRAMES[probe.kind]
        case FramedPacketProbe() if probe.address.startswith("127."):
            return "packets to 127.0.0.0/8 come in by a link other than lo: the rule that drops them in prerouting is missing"
        case FramedPacketProbe():
            return "a frame that is not for the host is forwarded: the fast path does not check the frame's destination"
        case PacketProbe() if probe.via:
            origin = "another link" if probe.netns == FOREIGN_NETNS else "its uplink"
            return f"the host forwards packets of {origin} to a container: the guard chain of netctl's table is missing"
        case NameLookup():
            return f"the name server at {probe.address} shows {probe.name} to containers that may not know it: netctl diff"
        case ClaimProbe():
            return "the bridge does not check source addresses: the bridge table of netctl is missing or does not match"
    if probe.section == FORBIDDEN:
        return "the file does not allow it: the forward chain of netctl's table is missing or does not match"
    return "the file does not admit this source: the restriction by source is missing"


def _at_source(probe: Probe, facts: NetnsFacts, results: Iterable[Result]) -> str:
    """The fault at the source of the probe, if there is one."""
    if not facts.exists:
        return f"{probe.source} has no network namespace: it does not run"
    if not facts.links:
        return f"{probe.source} has no link besides lo: it is not connected"
    if probe.family not in facts.addressed:
        return f"{probe.source} has no IPv{probe.family} address"
    beyond = probe.section in (TO_OUTSIDE, PUBLISHED, ALLOWED) and is_container_netns(probe.netns)
    if beyond and probe.family not in facts.default_routes and not probe.address.startswith("127."):
        return f"{probe.source} has no IPv{probe.family} default route"
    if probe.size and _answered(results, probe.netns, probe.address, small=True):
        return f"small packets pass and those of {probe.size} bytes do not: an MTU on the path is too small"
    gateway = _gateway_result(probe, results)
    if beyond and gateway and not gateway.passed:
        return f"the gateway {gateway.probe.address} does not answer {probe.source}: look at its link and the bridge"
    return ""


def _at_service(failed: Result, results: Sequence[Result], opened: Opened) -> str:
    probe = failed.probe
    reached = [r for r in results if r.probe.listener == probe.listener and probe.listener and r.finding.outcome == "answered"]
    if failed.finding.outcome == "refused" and probe.section == PUBLISHED:
        if probe.listener in opened.taken:
            return f"the server in {probe.target} does not listen on its address, or no element of the maps leads to it"
        return "nothing translates that port on the host: its element in the published map is missing"
    if reached:
        others = next((r.probe.source for r in reached if r.probe.source != probe.source), "")
        if not others:
            others = f"{probe.source} at {reached[0].probe.address}"
            return f"{others} gets an answer, {probe.source} at {probe.address} does not: its element in the maps, or a filter"
        return f"{others} gets an answer, {probe.source} does not: a forward drop or a missing masquerade on this path"
    if failed.finding.outcome == "refused":
        return f"nothing listens there, or a rule rejects it ({failed.finding.detail})"
    return "dropped on the path by netctl's forward chain or a foreign one, or the published map leads elsewhere"


def _on_the_way(probe: Probe, results: Sequence[Result]) -> str:
    if probe.section == IN_SUBNETS:
        return f"no answer inside the subnet: look at {probe.target}'s link, its bridge port and the sets of the bridge table"
    if probe.section == ROUTES:
        return f"the next hop of a route does not answer: look at {probe.target}'s link and its bridge port"
    if probe.section == WITH_HOST:
        return f"no answer between {probe.source} and {probe.target}: look at the link, its address and its neighbor entry"
    if probe.section == TO_OUTSIDE and isinstance(probe, PacketProbe) and probe.on_lan:
        what = "an access point or a switch drops unknown hardware addresses"
        return f"the LAN's router does not answer {probe.source}: {what}, or the router blocks it"
    if probe.section == TO_OUTSIDE:
        others = any(r.finding.outcome == "answered" for r in results if r.probe.section == TO_OUTSIDE)
        what = "its subnet is not masqueraded" if others else "forwarding is off, no masquerade, or another table drops it"
        return f"the gateway answers and the outside does not: {what}"
    if probe.section == ALLOWED:
        return "a policy allows it and it does not pass: its element is missing, or a foreign forward chain drops it"
    return "no answer"


def _gateway_result(probe: Probe, results: Iterable[Result]) -> Result | None:
    for result in results:
        other = result.probe
        if other.section == WITH_HOST and other.netns == probe.netns and other.family == probe.family and not other.size:
            return result
    return None


def _answered(results: Iterable[Result], netns: str, address: str, *, small: bool) -> bool:
    return any(
        r.finding.outcome == "answered" and r.probe.netns == netns and r.probe.address == address and bool(r.probe.size) != small
        for r in results
    )
