"""Moving a host's uplink into a bridge, and back: the one thing that netctl does which can cut a host off.

All of it goes out in one send to the kernel, which works through it without a pause: enslave, addresses to the bridge,
addresses off the uplink, routes to the bridge. What the kernel tells of an address or a route is sent back to it with another
interface number, so lifetimes, metrics, protocols and flags stay what they are, and no open connection notices.

/run/netctl/<host key>/uplink.json is written ahead of the move and says what was before: `{uplink: {bridge, topology, phase,
before, accept_dad}}`. A worker that is killed leaves `moving` or `returning` in it, and whoever comes next puts what is nowhere
any more where it belongs. While the phase is `moved`, the kernel alone knows: an address whose lease was renewed on the bridge
goes back renewed.
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
from reconciler.kernel.settings.sysctl import read_sysctl, write_sysctl
from reconciler.kernel.uplink.arp import answers
from reconciler.kernel.uplink.link_configuration import Belongings, Goods, encode_move, read_belongings
from reconciler.state.jsontext import parse_json
from reconciler.state.ref import HOST
from reconciler.state.snapshot import LinkInfo, UplinkInfo
from reconciler.state.steps.lanes import ETHTOOL, OVSDB
from reconciler.state.steps.links import LinkSet, OffloadSet
from reconciler.state.steps.openvswitch import OvsPortDelete
from reconciler.state.steps.step import Step, StepError
from reconciler.state.steps.uplinks import UplinkEnslave, UplinkRelease

ROUTER_BEFORE_S, ROUTER_AFTER_S = 0.5, 5.0
"""How long the host's router may take to answer, before and after a move."""
MOVING, MOVED, RETURNING = "moving", "moved", "returning"
HARMLESS = frozenset((errno.EEXIST, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENOENT))
"""A thing to be made that is there, or to be removed that is gone: with its address, or in an earlier attempt."""
OWN_KEYS = frozenset(("accept_dad", "addr_gen_mode", "rp_filter", "stable_secret"))
"""Settings of the bridge that are not the uplink's: records of their own, or tied to the interface."""


@dataclass(frozen=True, slots=True)
class UplinkNote:
    """What the host's file holds of one uplink."""

    bridge: str
    topology: str
    phase: str
    before: Belongings
    accept_dad: str
    noted_s: float
    """When `before` was read, on the clock that starts with the machine (CLOCK_BOOTTIME): lifetimes go on meanwhile."""
    bridge_index: int = 0
    """The bridge's interface number: one that was made anew has another, and nothing of what was on it."""
    offloads: tuple[str, ...] = ()
    """Those that were on, and are off while it is a port of Open vSwitch."""
    accept_ra: str = ""
    """Whether it heeded routers before it was a port of Open vSwitch, beside which the kernel listens; "" on a Linux bridge."""


def read_uplinks(context: KernelContext, links: Mapping[int, LinkInfo]) -> tuple[UplinkInfo, ...]:
    """The uplinks that the topology has in its file on this host, whose links are `links`."""
    return tuple(
        UplinkInfo(name, one.bridge, one.phase == MOVED and one.bridge_index in links)
        for name, one in read_kept(context).items()
        if one.topology == context.topology
    )


def run_uplink_steps(namespaces: Namespaces, steps: Iterable[Step]) -> None:
    """Carry out UplinkEnslave and UplinkRelease in order. StepError at the first that is refused; its move is taken back."""
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
    here, there = read_belongings(route_socket, uplink.index), read_belongings(route_socket, bridge.index)
    lost = _lost(known, bridge, here, there)
    note = replace(known or _note(namespaces, step, here), bridge=step.bridge, phase=MOVING, bridge_index=bridge.index)
    write_kept(context, {**kept, step.name: note})
    if known is None or known.bridge_index != bridge.index:
        namespaces.run(HOST, partial(_copy_settings, step.name, step.bridge))
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
        raise StepError(step, f"{what}: the uplink was given back (does its switch shut a port that has a bridge?)")
    write_kept(context, {**kept, step.name: replace(note, phase=MOVED)})


def _answering(namespaces: Namespaces, dev: str, held: Belongings, timeout_s: float) -> list[str]:
    """The first of the host's IPv4 routers that answers on the link; the way out is what a host must not lose."""
    for router in held.routers if held.first_ipv4 else ():
        with contextlib.suppress(OSError):
            if namespaces.run(HOST, partial(answers, dev, held.first_ipv4, router, timeout_s)):
                return [router]
    return []


def _release(namespaces: Namespaces, step: UplinkRelease) -> None:
    """Give the uplink back; nothing where it is gone, for then nobody has anything to give to."""
    context, route_socket = namespaces.context, namespaces.socket(HOST)
    links = {link.name: link for link in read_links(route_socket).values()}
    uplink, bridge = links.get(step.name), links.get(step.bridge)
    kept = read_kept(context)
    known = kept.get(step.name)
    if uplink is not None:
        stands = bridge is not None and (bool(step.leaves) or uplink.master == bridge.index)
        here = read_belongings(route_socket, uplink.index)
        # What a bridge holds that the uplink was never in is the bridge's own.
        there = read_belongings(route_socket, bridge.index) if bridge and (stands or known) else Belongings()
        lost = _lost(known, bridge, here, there)
        accept_dad = known.accept_dad if known else _setting(namespaces, 6, step.name, "accept_dad")
        if known:
            write_kept(context, {**kept, step.name: replace(known, phase=RETURNING)})
        # Addresses that were in use a moment ago are not tested for duplicates again: that would take a second.
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
            raise StepError(step, f"the kernel refused to give {step.name} back: {refusals[0]}")
    write_kept(context, {name: one for name, one in read_kept(context).items() if name != step.name})


def _run_switch_steps(namespaces: Namespaces, steps: Iterable[Step]) -> None:
    """What Open vSwitch has to do besides."""
    for lane, run in groupby(steps, key=lambda step: step.lane):
        if lane == OVSDB:
            run_ovsdb_steps(namespaces.context.openvswitch, list(run))
        elif lane == ETHTOOL:
            run_offload_steps(namespaces, list(run))
        else:
            raise TypeError(f"an uplink joins no bridge by a step of {lane}")


def _note(namespaces: Namespaces, step: UplinkEnslave, here: Belongings) -> UplinkNote:
    """What is to be remembered of an uplink that is about to be moved for the first time."""
    quiet = [(one.dev, one.feature) for one in step.joins if isinstance(one, OffloadSet)]
    return UplinkNote(
        step.bridge,
        namespaces.context.topology,
        MOVING,
        here,
        _setting(namespaces, 6, step.name, "accept_dad"),
        _now_s(),
        offloads=tuple(info.feature for info in read_offloads(namespaces, HOST, quiet) if info.on),
        accept_ra=_setting(namespaces, 6, step.name, "accept_ra") if step.joins else "",
    )


def _link(step: Step, links: Mapping[str, LinkInfo], name: str) -> LinkInfo:
    if name not in links:
        raise StepError(step, f"there is no link called {name} on the host")
    return links[name]


def _lost(known: UplinkNote | None, bridge: LinkInfo | None, *held: Belongings) -> Belongings:
    """What was before and is nowhere now, lifetimes shortened by the time that has passed.

    Nothing, as long as the bridge is there that all was moved to: what is gone since then was taken away by somebody.
    """
    if known is None or (bridge and known.phase == MOVED and known.bridge_index == bridge.index):
        return Belongings()
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
    """A setting of a link; "" where the kernel has none."""
    return namespaces.run(HOST, lambda: read_sysctl(_key(family, link, name))) or ""


def _set(namespaces: Namespaces, family: int, link: str, name: str, value: str) -> None:
    if value:
        namespaces.run(HOST, lambda: write_sysctl(_key(family, link, name), value))


def _key(family: int, link: str, name: str) -> str:
    return f"net.ipv{family}.conf.{link.replace('.', '/')}.{name}"


def _copy_settings(uplink: str, bridge: str) -> None:
    """The bridge is to behave as the uplink did (ARP, redirects, IPv6 on or off …); what it does already is not written."""
    for family in (4, 6):
        base = Path(f"/proc/sys/net/ipv{family}/conf")
        try:
            names = sorted(entry.name for entry in (base / uplink).iterdir())
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for name in names:
            if name in OWN_KEYS:
                continue
            with contextlib.suppress(OSError):  # some cannot be written, and some not be read before they are set
                wanted = read_sysctl(_key(family, uplink, name))
                if wanted is not None and wanted != read_sysctl(_key(family, bridge, name)):
                    write_sysctl(_key(family, bridge, name), wanted)


# --- the host's file --------------------------------------------------------------------------------------------------


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _path(context: KernelContext) -> Path:
    return context.host_directory / "uplink.json"


def read_kept(context: KernelContext) -> dict[str, UplinkNote]:
    """The host's file. HostError where it cannot be understood: to take it for empty could lose the host its addresses."""
    path = _path(context)
    try:
        data = parse_json(path.read_bytes())
        return {
            # A key that is missing is a TypeError.
            name: UplinkNote(**{**one, "before": Belongings.from_json(one["before"]), "offloads": tuple(one["offloads"])})
            for name, one in data.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        help_text = "it says what a network interface of the host was before netctl; mend it or remove it"
        raise HostError(f"{path} cannot be understood", help_text) from error


def write_kept(context: KernelContext, kept: Mapping[str, UplinkNote]) -> None:
    """Replace the file as a whole, on disk before anything relies on it; no file where no uplink is in a bridge."""
    path = _path(context)
    if not kept:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the lock is still in it, or another's file
            path.parent.rmdir()
        return
    told = {name: {**asdict(one), "before": one.before.to_json()} for name, one in sorted(kept.items())}
    write_private(path, json.dumps(told, indent=1))
