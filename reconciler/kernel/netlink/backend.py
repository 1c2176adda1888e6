"""The netlink backend: a batch of steps in one namespace, in as few sends as the kernel allows.

It collects messages until one needs the number of a link that an earlier one creates. Then it sends all, and reads the
number. It deletes links by group, which costs a twentieth. A missing thing that is to be deleted is no error: the
kernel deleted it with another, as desired.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from reconciler.errors import HostError
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink.dump import read_links
from reconciler.kernel.netlink.each_link import find_link
from reconciler.kernel.netlink.encode import encode, encode_group_delete
from reconciler.kernel.netlink.rtnetlink import NetlinkError, Refusal, RouteSocket
from reconciler.state.naming import doomed_group_of, parse_alias
from reconciler.state.snapshot import LinkInfo
from reconciler.state.steps.addresses import (
    AddressDelete,
    FdbDelete,
    NeighborDelete,
    PeerAddressDelete,
    RouteDelete,
    StrayRouteDelete,
)
from reconciler.state.steps.links import AltnameDelete, LinkAdd, LinkDelete, LinkSet, QdiscDelete
from reconciler.state.steps.step import RefusedError, Step, StepError

FLUSH_MESSAGES = 100
"""The most open descriptors of peers' namespaces: they stay open until their messages are sent."""
GROUP_DELETE_MIN = 3
"""From this number of links on, a dump to verify their marks is cheaper than single deletions."""
BUSY_TIMEOUT_S = 5.0
BUSY_PAUSE_S = 0.02
DELETES = (
    LinkDelete,
    AltnameDelete,
    AddressDelete,
    PeerAddressDelete,
    RouteDelete,
    StrayRouteDelete,
    NeighborDelete,
    FdbDelete,
    QdiscDelete,
)
GONE = frozenset((errno.ENODEV, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT))


def run_netlink_steps(namespaces: Namespaces, netns: str, steps: Sequence[Step]) -> None:
    """Execute the steps in order, in namespace `netns`.

    StepError at the first rejected one; later ones may have been executed.
    """
    for are_deletions, group in groupby(steps, key=lambda step: isinstance(step, LinkDelete)):
        run = tuple(group)
        if are_deletions:
            delete_links(namespaces, netns, tuple(step for step in run if isinstance(step, LinkDelete)))
        else:
            _Flight(namespaces, netns).run(run)


class _MissingLinkError(Exception):
    """A link that a step names does not exist."""


class _Flight:
    """A run of steps for one send; it is the `Surroundings` of their encoders."""

    def __init__(self, namespaces: Namespaces, netns: str) -> None:
        self._namespaces = namespaces
        self._netns = netns
        self._socket = namespaces.socket(netns)
        self._pending: list[tuple[Step, bytearray]] = []
        self._made: set[str] = set()
        self._indexes: dict[str, int] = {}
        self._descriptors: dict[str, int] = {}

    def run(self, steps: Iterable[Step]) -> None:
        try:
            for step in steps:
                self._add(step)
            self._flush()
        finally:
            self._close_descriptors()

    def index(self, name: str) -> int:
        if name not in self._indexes:
            if name in self._made:
                self._flush()
            link = find_link(self._socket, name)
            if link is None:
                raise _MissingLinkError(name)
            self._indexes[name] = link.index
        return self._indexes[name]

    def descriptor(self, netns: str) -> int:
        if netns not in self._descriptors:
            self._descriptors[netns] = self._namespaces.open(netns)
        return self._descriptors[netns]

    def _add(self, step: Step) -> None:
        try:
            message = encode(step, self)
        except _MissingLinkError as error:
            if isinstance(step, DELETES):
                return
            raise RefusedError(step, f"there is no link called {error} in {self._netns or 'the host'}") from error
        except ValueError as error:
            raise StepError(step, str(error)) from error
        except NetlinkError as error:
            raise StepError(step, error.message) from error
        except HostError as error:  # the namespace of a container was deleted with its last process
            raise RefusedError(step, error.message) from error
        if isinstance(step, LinkAdd):
            names = (step.name, step.peer.name) if step.peer else (step.name,)
            self._made.update(names)
            for name in names:
                self._indexes.pop(name, None)
        self._pending.append((step, message))
        if max(len(self._pending), len(self._descriptors)) >= FLUSH_MESSAGES:
            self._flush()
            self._close_descriptors()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self._made.clear()
        if not pending:
            return
        try:
            refusals = self._socket.request([message for _, message in pending])
            deadline = time.monotonic() + BUSY_TIMEOUT_S
            while any(_is_busy(pending[refusal.index][0], refusal) for refusal in refusals) and time.monotonic() < deadline:
                time.sleep(BUSY_PAUSE_S)
                # A rejected step did nothing, and the steps that depend on it failed for the same reason.
                pending = [pending[refusal.index] for refusal in refusals]
                refusals = self._socket.request([message for _, message in pending])
        except NetlinkError as error:
            raise StepError(pending[0][0], error.message) from error
        for refusal in refusals:
            self._judge(pending[refusal.index][0], refusal)

    def _judge(self, step: Step, refusal: Refusal) -> None:
        """Raise StepError, unless the desired state exists anyway."""
        if isinstance(step, DELETES) and refusal.number in GONE:
            return
        if refusal.number == errno.EAFNOSUPPORT and isinstance(step, LinkSet) and step.link_local is False:
            # A link with an MTU below 1280 has no IPv6: the kernel creates no link-local address on it.
            again = self._socket.request([encode(replace(step, link_local=None), self)])
            if not again:
                return
            refusal = again[0]
        raise RefusedError(step, f"the kernel refused it: {refusal}")

    def _close_descriptors(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


def _is_busy(step: Step, refusal: Refusal) -> bool:
    """Whether a macvlan cannot be set up because its hardware address is in use.

    The user may be a macvlan in a namespace whose last process has ended: the kernel deletes such a namespace a moment
    later.
    """
    return refusal.number == errno.EADDRINUSE and isinstance(step, LinkSet) and step.up is True


def delete_links(namespaces: Namespaces, netns: str, steps: Sequence[LinkDelete]) -> None:
    """Delete links after a check of their marks: one by one costs 16 ms each, by group 0.6. StepError for a foreign one."""
    route_socket = namespaces.socket(netns)
    links = _find_links(namespaces, netns, steps)
    for step in steps:
        link = links.get(step.name)
        if link and not _is_ours(namespaces.context.topology, step, link):
            raise StepError(step, f"{step.name} does not carry the mark of {namespaces.context.topology}: another has it now")
    going = [step for step in steps if step.name in links]
    if len(going) >= GROUP_DELETE_MIN:
        for group in sorted({step.group for step in going}):
            _delete_group(namespaces, netns, group, [step for step in going if step.group == group])
    else:
        _delete_each(route_socket, going)


def _delete_each(route_socket: RouteSocket, steps: Sequence[LinkDelete]) -> None:
    _raise_first(steps, route_socket.request([encode(step, _NoSurroundings()) for step in steps]))


def _delete_group(namespaces: Namespaces, netns: str, group: int, steps: Sequence[LinkDelete]) -> None:
    """Delete links of one topology; if some of its links stay, the others first get a group of their own.

    A kill in between leaves links in that group: the next reading recognises them by it (`naming.doomed_group_of`).
    """
    route_socket = namespaces.socket(netns)
    names = {step.name for step in steps}
    if _names_in(route_socket, group) != names:
        group = doomed_group_of(namespaces.context.topology)
        apart = [encode(LinkSet(netns, step.name, group=group), _NoSurroundings()) for step in steps]
        _raise_first(steps, route_socket.request(apart))
    if _names_in(route_socket, group) <= names:
        _raise_first(steps[:1], route_socket.request([encode_group_delete(group)]))
    else:  # an earlier netctl was killed at this point, and this plan may not delete all links of that group
        _delete_each(route_socket, steps)


def _names_in(route_socket: RouteSocket, group: int) -> set[str]:
    return {link.name for link in read_links(route_socket).values() if link.group == group}


def _find_links(namespaces: Namespaces, netns: str, steps: Sequence[LinkDelete]) -> dict[str, LinkInfo]:
    """The existing links that the steps name."""
    route_socket = namespaces.socket(netns)
    if len(steps) >= GROUP_DELETE_MIN:
        wanted = {step.name for step in steps}
        return {link.name: link for link in read_links(route_socket).values() if link.name in wanted}
    return {step.name: link for step in steps if (link := find_link(route_socket, step.name))}


def _is_ours(topology: str, step: LinkDelete, link: LinkInfo) -> bool:
    alias = parse_alias(link.alias)
    return alias.topology == topology if alias else link.group == step.group


def _raise_first(steps: Sequence[Step], refusals: Sequence[Refusal]) -> None:
    for refusal in refusals:
        if refusal.number not in GONE:
            raise StepError(steps[refusal.index], f"the kernel refused it: {refusal}")


class _NoSurroundings:
    """Surroundings for messages that name links by name only."""

    def index(self, name: str) -> int:
        raise ValueError(f"the number of {name} is not needed here")

    def descriptor(self, netns: str) -> int:
        raise ValueError(f"a descriptor of {netns} is not needed here")
