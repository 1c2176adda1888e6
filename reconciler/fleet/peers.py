"""The machines that hosts of a topology remember, and those that this machine remembers by itself.

A machine that was removed from the file still has the topology's resources. netctl finds it because the other hosts
remember it (`kernel.run_directory.notes`). But a host on another machine may lie. It could choose the next destination
of ssh, with this user's keys. So this machine also remembers the destinations that it has used: such peers are known. A
peer that only another machine names is shown first, and used after the user agrees.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.errors import HostError, UsageError
from reconciler.fleet.fleet import Fleet
from reconciler.fleet.target import Target, dropped_peers, remote_target
from reconciler.kernel.context import KernelContext
from reconciler.kernel.run_directory import notes
from reconciler.state.grammar import is_label

HOST_KEY = "local"
REPORTED_MAX = 256
"""The most unknown peers that one host may report; if it reports more, all of them are ignored."""


@dataclass(frozen=True, slots=True)
class ReportedPeer:
    """A machine that only another machine reports: `by` is that host."""

    target: Target
    by: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Remembered machines that are not present: those that this machine knows by itself, and reported ones."""

    known: tuple[Target, ...] = ()
    reported: tuple[ReportedPeer, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    """Remembered destinations of an invalid form, and the host that reports each."""

    @property
    def destinations(self) -> dict[str, str]:
        """The destinations of the reported ones, by their names."""
        return {each.target.host: each.target.destination for each in self.reported}


def find_dropped(topology: str, present: Mapping[str, str], fleet: Fleet) -> Dropped:
    """The machines that this machine and the fleet's hosts remember and that are not `present`, by name and destination."""
    refused: list[tuple[str, str]] = []
    own = {**read_own_peers(topology), **fleet.peers}
    known = dropped_peers(present, topology, dict(_well_formed(topology, own, "this machine", refused)))
    there = {*present.values(), *(target.destination for target in known)}
    reported: dict[str, ReportedPeer] = {}
    for host, all_peers in fleet.reported_peers.items():
        peers = {name: destination for name, destination in all_peers.items() if destination not in there}
        if len(peers) > REPORTED_MAX:
            refused.append((f"{len(peers):,} hosts", f"host {host}"))
            continue
        for name, destination in _well_formed(topology, peers, f"host {host}", refused):
            if destination not in there and destination not in reported:
                # Two hosts may report different machines by one name, and a name may be one of the file's.
                taken = name in present or any(name == each.target.host for each in reported.values())
                target = remote_target(destination if taken else name, topology, destination)
                reported[destination] = ReportedPeer(target, host)
    return Dropped(known, tuple(reported.values()), tuple(refused))


def _well_formed(topology: str, peers: Mapping[str, str], by: str, refused: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The peers in the form of a file's hosts, with destinations in one spelling; the others are added to `refused`."""
    for name, destination in peers.items():
        try:
            target = remote_target(name, topology, destination)
        except UsageError:
            refused.append((destination, by))
            continue
        # If the name now belongs to another machine, the destination is the name.
        if target.ssh and target.ssh.scheme == "ssh" and (is_label(name) or name == destination):
            yield name, target.destination
        else:
            refused.append((f"{name}: {destination}", by))


def read_own_peers(topology: str) -> dict[str, str]:
    """The peers that this machine remembers; none if another user could have written the file."""
    context = KernelContext(topology, HOST_KEY)
    try:
        status = (context.host_directory / f"{topology}.peers").stat()
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            return {}
        return notes.read_peers(context)
    except OSError:
        return {}


def write_own_peers(topology: str, peers: Mapping[str, str], fleet: Fleet) -> None:
    """Remember on this machine the destinations of the topology's other machines; without any, delete the file.

    A host of the topology on this machine has done so already. An ordinary user cannot, and is asked instead.
    """
    if any(target.host_key == HOST_KEY and not target.ssh for target in fleet.targets):
        return
    context = KernelContext(topology, HOST_KEY)
    with contextlib.suppress(HostError, OSError):
        notes.write_peers(context, peers)
        if not peers:
            context.host_directory.rmdir()
            context.host_directory.parent.rmdir()
