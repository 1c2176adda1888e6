"""Moving a host's uplink into a bridge, and back: the one change of netctl's that can disconnect a host.

One send holds all of it: enslave, addresses to the bridge, addresses off the uplink, routes to the bridge. The kernel
processes it without a pause. Each address and route is sent as the kernel reported it, with another interface number.
So lifetimes, metrics, protocols and flags stay unchanged, and open connections continue.

/run/netctl/<host key>/uplink.json is written before the move, with the previous state: `{uplink: {bridge, topology,
phase, before, accept_dad}}`. A killed worker leaves `moving` or `returning` in it. The next worker then restores what
is on neither link. In the phase `moved`, only the kernel's state counts: an address that was renewed on the bridge is
returned renewed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink.dump import read_links
from reconciler.kernel.netlink.encode import encode
from reconciler.kernel.netlink.ethtool import read_offloads, run_offload_steps
from reconciler.kernel.netlink.rtnetlink import NetlinkError, Refusal
from reconciler.kernel.openvswitch.backend import run_ovsdb_steps
from reconciler.kernel.run_directory.private import write_private
from reconciler.kernel.settings.sysctl import read_remembered, read_sysctl, value_without_netctl, write_sysctl
from reconciler.kernel.uplink.arp import answers
from reconciler.kernel.uplink.link_configuration import Goods, LinkConfiguration, encode_move, read_link_configuration
from reconciler.state.jsontext import parse_json
from reconciler.state.ref import HOST
from reconciler.state.snapshot import LinkInfo, UplinkInfo
from reconciler.state.steps.backends import ETHTOOL, OVSDB
from reconciler.state.steps.links import LinkSet, OffloadSet
from reconciler.state.steps.openvswitch import OvsPortDelete
from reconciler.state.steps.step import Step, StepError
from reconciler.state.steps.uplinks import UplinkEnslave, UplinkRelease

ROUTER_BEFORE_S, ROUTER_AFTER_S = 0.5, 5.0
"""The seconds that the host's router may take to answer, before and after a move."""
MOVING, MOVED, RETURNING = "moving", "moved", "returning"
HARMLESS = frozenset((errno.EEXIST, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENOENT))
"""Errors for a thing to create that exists, or to delete that does not: with its address, or in an earlier attempt."""
OWN_KEYS = frozenset(("accept_dad", "addr_gen_mode", "rp_filter", "stable_secret"))
"""Settings of the bridge that are not the uplink's: records of their own, or tied to the interface."""


@dataclass(frozen=True, slots=True)
class UplinkNote:
    """The entry of one uplink in the host's file."""

    bridge: str
    topology: str
    phase: str
    before: LinkConfiguration
    accept_dad: str
    noted_s: float
    """The time when `before` was read, on the clock since boot (CLOCK_BOOTTIME): lifetimes pass meanwhile."""
    bridge_index: int = 0
    """The bridge's interface number: a re-created bridge has another, and none of the previous addresses."""
    offloads: tuple[str, ...] = ()
    """The offloads that were on, and are off while it is a port of Open vSwitch."""
    accept_ra: str = ""
    """Its accept_ra before it was a port of Open vSwitch, next to which the kernel listens; "" on a Linux bridge."""


def read_uplinks(context: KernelContext, links: Mapping[int, LinkInfo]) -> tuple[UplinkInfo, ...]:
    """The uplinks in the topology's file on this host; `links` are the host's."""
    return tuple(
        UplinkInfo(name, one.bridge, one.phase == MOVED and one.bridge_index in links)
        for name, one in read_kept(context).items()
        if one.topology == context.topology
    )


def run_uplink_steps(namespaces: Namespaces, steps: Iterable[Step]) -> None:
    """Execute UplinkEnslave and UplinkRelease in order. StepError at the first that is rejected; its move is rolled back."""
    for step in steps:
        try:
            if isinstance(step, UplinkEnslave):
                _enslave(namespaces, step)
            elif isinstance(step, UplinkRelease):
                _release(namespaces, step)
            else:
                raise TypeError(f"not a step of uplinks: {step}")
        except NetlinkError as error:
            raise StepError(step, error.message) from error
        except OSError as error:
            raise StepError(step, f"{error.filename or 'a file'}: {error.strerror or error}") from error


def _enslave(namespaces: Namespaces, step: UplinkEnslave) -> None:
    context, route_socket = namespaces.context, namespaces.socket(HOST)
    links = {link.name: link for link in read_links(route_socket).values()}
    uplink, bridge = _link(step, links, step.name), _link(step, links, step.bridge)
    kept = read_kept(context)
    known = kept.get(step.name)
    if known and known.topology != context.topology:
        raise StepError(step, f"{step.name} is in the bridge {known.bridge} of topology {known.topology}")
    here, there = read_link_configuration(route_socket, uplink.index), read_link_configuration(route_socket, bridge.index)
    lost = _lost(known, bridge, here, there)
    note = replace(known or _note(namespaces, step, here), bridge=step.bridge, phase=MOVING, bridge_index=bridge.index)
    write_kept(context, {**kept, step.name: note})
    if known is None or known.bridge_index != bridge.index:
        namespaces.run(HOST, partial(_copy_settings, context, step.name, step.bridge))
    _set(namespaces, 6, step.name, "accept_ra", "0" if note.accept_ra else "")
    routers = _answering(namespaces, step.name, here, ROUTER_BEFORE_S)
    back = UplinkRelease(HOST, step.name, step.bridge, (OvsPortDelete(HOST, step.bridge, step.name),) if step.joins else ())
    try:
        _run_switch_steps(namespaces, step.joins)
    except (StepError, HostError):
        _release(namespaces, back)
        raise
    stands = step.joins or uplink.master == bridge.index
    first = [] if stands else [encode(LinkSet(HOST, step.name, master=step.bridge), _Numbers(links))]
    if not uplink.up:
        first.append(encode(LinkSet(HOST, step.name, up=True), _Numbers(links)))
    move = encode_move(Goods(here, lost), (uplink.index, step.name), (bridge.index, step.bridge))
    if refusals := _refusals(route_socket.request([*first, *move])):
        _release(namespaces, back)
        raise StepError(step, f"the kernel refused to move {step.name} into {step.bridge}: {refusals[0]}")
    if routers and not _answering(namespaces, step.bridge, here, ROUTER_AFTER_S):
        _release(namespaces, back)
        what = f"the router {routers[0]} answered on {step.name}, and does not on {step.bridge}"
        raise StepError(step, f"{what}: the uplink was returned (check whether its switch disables a port with a bridge)")
    write_kept(context, {**kept, step.name: replace(note, phase=MOVED)})


def _answering(namespaces: Namespaces, dev: str, held: LinkConfiguration, timeout_s: float) -> list[str]:
    """The first of the host's IPv4 routers that answers on the link; a host must not lose its default route."""
    for router in held.routers if held.first_ipv4 else ():
        with contextlib.suppress(OSError):
            if namespaces.run(HOST, partial(answers, dev, held.first_ipv4, router, timeout_s)):
                return [router]
    return []


def _release(namespaces: Namespaces, step: UplinkRelease) -> None:
    """Return the uplink's configuration; nothing if the uplink does not exist any more."""
    context, route_socket = namespaces.context, namespaces.socket(HOST)
    links = {link.name: link for link in read_links(route_socket).values()}
    uplink, bridge = links.get(step.name), links.get(step.bridge)
    kept = read_kept(context)
    known = kept.get(step.name)
    if uplink is not None:
        stands = bridge is not None and (bool(step.leaves) or uplink.master == bridge.index)
        here = read_link_configuration(route_socket, uplink.index)
        # The bridge's own addresses are those that were never on the uplink.
        there = read_link_configuration(route_socket, bridge.index) if bridge and (stands or known) else LinkConfiguration()
        lost = _lost(known, bridge, here, there)
        accept_dad = known.accept_dad if known else _setting(namespaces, 6, step.name, "accept_dad")
        if known:
            write_kept(context, {**kept, step.name: replace(known, phase=RETURNING)})
        # Addresses that were in use a moment ago need no new DAD, which would take a second.
        _set(namespaces, 6, step.name, "accept_dad", "0" if accept_dad else "")
        first = [encode(LinkSet(HOST, step.name, master="-"), _Numbers(links))] if stands and not step.leaves else []
        source = (bridge.index, step.bridge) if bridge else (0, "")
        goods = Goods(there, lost, labels=known.before.labels if known else ())
        refusals = _refusals(route_socket.request([*first, *encode_move(goods, source, (uplink.index, step.name))]))
        _set(namespaces, 6, step.name, "accept_dad", accept_dad)
        _set(namespaces, 6, step.name, "accept_ra", known.accept_ra if known else "")
        _run_switch_steps(namespaces, step.leaves)
        _run_switch_steps(namespaces, [OffloadSet(HOST, step.name, name, on=True) for name in (known.offloads if known else ())])
        if refusals:
            raise StepError(step, f"the kernel refused to return {step.name} back: {refusals[0]}")
    write_kept(context, {name: one for name, one in read_kept(context).items() if name != step.name})


def _run_switch_steps(namespaces: Namespaces, steps: Iterable[Step]) -> None:
    """The additional steps for Open vSwitch."""
    for backend, run in groupby(steps, key=lambda step: step.backend):
        if backend == OVSDB:
            run_ovsdb_steps(namespaces.context.openvswitch, list(run))
        elif backend == ETHTOOL:
            run_offload_steps(namespaces, list(run))
        else:
            raise TypeError(f"cannot add an uplink to a bridge by a step of {backend}")


def _note(namespaces: Namespaces, step: UplinkEnslave, here: LinkConfiguration) -> UplinkNote:
    """The entry of an uplink before its first move."""
    remembered = read_remembered(namespaces.context)
    own_accept_ra = partial(value_without_netctl, remembered, _key(6, step.name, "accept_ra"))
    quiet = [(one.dev, one.feature) for one in step.joins if isinstance(one, OffloadSet)]
    return UplinkNote(
        step.bridge,
        namespaces.context.topology,
        MOVING,
        here,
        _setting(namespaces, 6, step.name, "accept_dad"),
        _now_s(),
        offloads=tuple(info.feature for info in read_offloads(namespaces, HOST, quiet) if info.on),
        accept_ra=namespaces.run(HOST, own_accept_ra) or "" if step.joins else "",
    )


def _link(step: Step, links: Mapping[str, LinkInfo], name: str) -> LinkInfo:
    if name not in links:
        raise StepError(step, f"there is no link called {name} on the host")
    return links[name]


def _lost(known: UplinkNote | None, bridge: LinkInfo | None, *held: LinkConfiguration) -> LinkConfiguration:
    """The previous items that are on neither link, with lifetimes shortened by the elapsed time.

    None, as long as the bridge of the move exists: items that were deleted since then were deleted on purpose.
    """
    if known is None or (bridge and known.phase == MOVED and known.bridge_index == bridge.index):
        return LinkConfiguration()
    return known.before.without(*held).aged(_now_s() - known.noted_s)


def _refusals(refusals: Sequence[Refusal]) -> list[Refusal]:
    return [refusal for refusal in refusals if refusal.number not in HARMLESS]


class _Numbers:
    """The `Surroundings` of messages that name links of the host."""

    def __init__(self, links: Mapping[str, LinkInfo]) -> None:
        self._links = links

    def index(self, name: str) -> int:
        return self._links[name].index

    def descriptor(self, netns: str) -> int:
        raise ValueError(f"a descriptor of {netns} is not needed here")


# --- settings ---------------------------------------------------------------------------------------------------------


def _setting(namespaces: Namespaces, family: int, link: str, name: str) -> str:
    """A setting of a link; "" if the kernel has none."""
    return namespaces.run(HOST, lambda: read_sysctl(_key(family, link, name))) or ""


def _set(namespaces: Namespaces, family: int, link: str, name: str, value: str) -> None:
    if value:
        namespaces.run(HOST, lambda: write_sysctl(_key(family, link, name), value))


def _key(family: int, link: str, name: str) -> str:
    return f"net.ipv{family}.conf.{link.replace('.', '/')}.{name}"


def _copy_settings(context: KernelContext, uplink: str, bridge: str) -> None:
    """Copy the uplink's settings to the bridge (ARP, redirects, IPv6 on or off …); equal ones are not written.

    A value that netctl wrote on the uplink goes with the uplink's role: the bridge gets the one before.
    """
    remembered = read_remembered(context)
    for family in (4, 6):
        base = Path(f"/proc/sys/net/ipv{family}/conf")
        try:
            names = sorted(entry.name for entry in (base / uplink).iterdir())
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for name in names:
            if name in OWN_KEYS:
                continue
            with contextlib.suppress(OSError):  # some cannot be written, and some cannot be read before they are set
                wanted = value_without_netctl(remembered, _key(family, uplink, name))
                if wanted is not None and wanted != read_sysctl(_key(family, bridge, name)):
                    write_sysctl(_key(family, bridge, name), wanted)


# --- the host's file --------------------------------------------------------------------------------------------------


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _path(context: KernelContext) -> Path:
    return context.host_directory / "uplink.json"


def read_kept(context: KernelContext) -> dict[str, UplinkNote]:
    """The host's file. HostError if it is malformed: an empty one could lose the host's addresses."""
    path = _path(context)
    try:
        data = parse_json(path.read_bytes())
        return {
            # A key that is missing is a TypeError.
            name: UplinkNote(**{**one, "before": LinkConfiguration.from_json(one["before"]), "offloads": tuple(one["offloads"])})
            for name, one in data.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        help_text = "repair or delete the file; it has the configuration of a network interface before netctl"
        raise HostError(f"cannot parse {path}", help_text) from error


def write_kept(context: KernelContext, kept: Mapping[str, UplinkNote]) -> None:
    """Replace the file as a whole, on disk before anything relies on it; without entries, delete it."""
    path = _path(context)
    if not kept:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it contains the lock, or another program's file
            path.parent.rmdir()
        return
    entries = {name: {**asdict(one), "before": one.before.to_json()} for name, one in sorted(kept.items())}
    write_private(path, json.dumps(entries, indent=1))
