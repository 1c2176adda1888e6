"""The machines that hosts of a topology remember, and which of them this machine knows by itself.

A machine that left the file still has what was made there, and is found by what the others remember
(`kernel.run_directory.notes`). But a host on another machine may lie, and then it would choose where ssh goes next, with this
user's keys. So this machine remembers too where it has been: such peers are known. What only another machine names is shown
first, and used after the user agrees.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.errors import HostError, UsageError
from reconciler.fleet.fleet import Fleet
from reconciler.fleet.target import Target, dropped_peers, far_target
from reconciler.kernel.context import KernelContext
from reconciler.kernel.run_directory import notes
from reconciler.state.grammar import is_label

HOST_KEY = "local"
REPORTED_MAX = 256
"""So many peers that are not known may one host tell of; of one that tells of more, none is looked at."""


@dataclass(frozen=True, slots=True)
class ReportedPeer:
    """A machine that only another machine speaks of: `by` is that host."""

    target: Target
    by: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """The machines that are remembered and not present: those that this machine knows by itself, and those it was told of."""

    known: tuple[Target, ...] = ()
    reported: tuple[ReportedPeer, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    """What is remembered and is no way to reach a host, and which host says so."""

    @property
    def destinations(self) -> dict[str, str]:
        """Where those are that were only told of, by their names."""
        return {each.target.host: each.target.destination for each in self.reported}


def find_dropped(topology: str, present: Mapping[str, str], fleet: Fleet) -> Dropped:
    """What is remembered by this machine and by the hosts of the fleet, and is not among `present`, by name and destination."""
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
                # Two hosts may tell of different machines by one name, and a name may be one of the file's.
                taken = name in present or any(name == each.target.host for each in reported.values())
                target = far_target(destination if taken else name, topology, destination)
                reported[destination] = ReportedPeer(target, host)
    return Dropped(known, tuple(reported.values()), tuple(refused))


def _well_formed(topology: str, peers: Mapping[str, str], by: str, refused: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The peers that are written as a file's hosts are, their destinations in one spelling; the others go to `refused`."""
    for name, destination in peers.items():
        try:
            target = far_target(name, topology, destination)
        except UsageError:
            refused.append((destination, by))
            continue
        # A machine whose name another has by now is called by its destination.
        if target.ssh and target.ssh.scheme == "ssh" and (is_label(name) or name == destination):
            yield name, target.destination
        else:
            refused.append((f"{name}: {destination}", by))


def read_own_peers(topology: str) -> dict[str, str]:
    """What this machine remembers by itself; nothing where that could be another user's word."""
    context = KernelContext(topology, HOST_KEY)
    try:
        status = (context.host_directory / f"{topology}.peers").stat()
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            return {}
        return notes.read_peers(context)
    except OSError:
        return {}


def write_own_peers(topology: str, peers: Mapping[str, str], fleet: Fleet) -> None:
    """Remember on this machine how the topology's other machines are reached; nothing is left where there are none.

    A host of the topology that is this machine has done so already. An ordinary user cannot, and is asked instead.
    """
    if any(target.host_key == HOST_KEY and not target.ssh for target in fleet.targets):
        return
    context = KernelContext(topology, HOST_KEY)
    with contextlib.suppress(HostError, OSError):
        notes.write_peers(context, peers)
        if not peers:
            context.host_directory.rmdir()
            context.host_directory.parent.rmdir()
