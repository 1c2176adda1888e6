"""From the file and what is live to the desired state of every host: pure, and the same for the same input.

resolve     who is where, with which addresses and names        (addresses, overlay_paths, underlay, model)
conflicts   what is in the way: refused before anything is made
view        what is known of one host
host        the records of one host                             (bridges, overlay, firewall, disjoint)
lab         the records of the world around lab hosts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.compile.conflicts import Conflict, Intruder, find_conflicts, find_intruders, refuse
from reconciler.compile.host import compile_host
from reconciler.compile.lab import compile_lab
from reconciler.compile.model import Resolved
from reconciler.compile.resolve import resolve
from reconciler.compile.view import HostView
from reconciler.errors import TopologyError
from reconciler.state.host import HostFacts, HostState
from reconciler.state.ref import LAB
from reconciler.topology.types import Topology


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be on each host, by name, the pseudo-host `lab` included where there is one; and what it was made from."""

    hosts: Mapping[str, HostState]
    resolved: Resolved
    intruders: Mapping[str, tuple[Intruder, ...]] = field(default_factory=dict)
    """By host, what others have put into the way of what was made before; it hinders no plan."""
    conflicts: tuple[Conflict, ...] = ()
    """What is in the way of an apply, for a caller that applies nothing; and containers that other programs are to run."""


def check_alone(topology: Topology) -> None:
    """Raise what shows before a host is read: TopologyError for hosts that no overlay can join, or that have no room left.

    Of several machines it is not known yet which are neighbours, and how large their packets may be; of a lab it is.
    """
    if len(topology.hosts) > 1 and any(host.connect.scheme != "lab" for host in topology.hosts.values()):
        return
    _, faults = resolve(topology, {})
    if faults:
        raise TopologyError(topology.path, topology.source, faults)


def compile_topology(topology: Topology, facts: Mapping[str, HostFacts], only: str = "", *, to_apply: bool = True) -> Desired:
    """The desired state of every host of the file, or of `only` one. A host of which there are no facts is taken for not there.

    TopologyError where the file asks for more than fits (a subnet that is full), HostError where something foreign is in the way
    or a host lacks something. With `to_apply` false, what is foreign is only noted; so is in any case a container that another
    program is to run, and that does not run.
    """
    resolved, faults = resolve(topology, facts)
    if faults:
        raise TopologyError(topology.path, topology.source, faults)
    read = {name: HostView(topology, resolved, name, facts) for name in topology.hosts if name in facts}
    conflicts = find_conflicts(read)
    if to_apply or any(conflict.is_lack for conflict in conflicts):
        refuse(tuple(conflict for conflict in conflicts if not conflict.awaited))
    known = {name: facts.get(name, HostFacts(exists=False)) for name in topology.hosts}
    views = {name: HostView(topology, resolved, name, known) for name in topology.hosts}
    hosts = {name: HostState.of(compile_host(view)) for name, view in views.items() if only in ("", name)}
    lab = HostState.of(compile_lab(topology, views))
    if lab.records:
        hosts[LAB] = lab
    return Desired(hosts, resolved, find_intruders(read), conflicts)
