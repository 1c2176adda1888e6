"""From the file and the live state to the desired state of every host: pure, and the same for the same input.

The modules:

    members     the containers that the file names by labels
    resolve     the location, addresses and names of all            (addresses, overlay_paths, underlay, model)
    conflicts   foreign resources that conflict: refused before anything is created
    view        all that is known of one host
    host        the records of one host                             (bridges, overlay, firewall, disjoint)
    lab         the records of the world around lab hosts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.compile.conflicts import Conflict, Intruder, find_conflicts, find_intruders, refuse
from reconciler.compile.host import compile_host
from reconciler.compile.lab import compile_lab
from reconciler.compile.members import expand_members
from reconciler.compile.model import Resolved
from reconciler.compile.resolve import resolve
from reconciler.compile.view import HostView
from reconciler.errors import TopologyError
from reconciler.state.host import HostFacts, HostState
from reconciler.state.ref import LAB
from reconciler.topology.types import Topology


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired state of each host by name, including the pseudo-host `lab` if there is one; and its inputs."""

    hosts: Mapping[str, HostState]
    resolved: Resolved
    topology: Topology
    """The file, with the members that the hosts have (`compile.members`)."""
    intruders: Mapping[str, tuple[Intruder, ...]] = field(default_factory=dict)
    """By host, foreign resources that now conflict with existing ones of the topology; they prevent no plan."""
    conflicts: tuple[Conflict, ...] = ()
    """The conflicts that prevent an apply, only for a caller that applies nothing; and containers that other programs run."""


def check_alone(topology: Topology) -> None:
    """Raise the errors that need no host: TopologyError if no overlay can connect the hosts, or if one has no room left.

    Before several machines are read, it is unknown which are neighbours, and how large their packets may be. Of a lab
    it is known.
    """
    if len(topology.hosts) > 1 and any(host.connect.scheme != "lab" for host in topology.hosts.values()):
        return
    _, faults = resolve(topology, {})
    if faults:
        raise TopologyError(topology.path, topology.source, faults)


def compile_topology(topology: Topology, facts: Mapping[str, HostFacts], only: str = "", *, to_apply: bool = True) -> Desired:
    """The desired state of every host of the file, or of `only` one. A host without facts counts as absent.

    TopologyError if the file asks for more than fits (a subnet that is full). HostError if a foreign resource
    conflicts, or a host lacks something. With `to_apply` false, foreign resources are only noted. A container that another
    program is to run, and that does not run, is noted in any case.
    """
    topology, about_members = expand_members(topology, facts)
    resolved, faults = resolve(topology, facts)
    if faults:
        raise TopologyError(topology.path, topology.source, faults)
    read = {name: HostView(topology, resolved, name, facts) for name in topology.hosts if name in facts}
    conflicts = (*about_members, *find_conflicts(read))
    if to_apply or any(conflict.is_lack for conflict in conflicts):
        refuse(tuple(conflict for conflict in conflicts if not conflict.awaited))
    known = {name: facts.get(name, HostFacts(exists=False)) for name in topology.hosts}
    views = {name: HostView(topology, resolved, name, known) for name in topology.hosts}
    hosts = {name: HostState.of(compile_host(view)) for name, view in views.items() if only in ("", name)}
    lab = HostState.of(compile_lab(topology, views))
    if lab.records:
        hosts[LAB] = lab
    return Desired(hosts, resolved, topology, find_intruders(read), conflicts)
