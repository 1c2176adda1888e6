"""The members of a topology: what the hosts have of the containers that its file names by labels. Pure.

A pattern of the file becomes one container for each member. An address, a hardware address or a published port that the file
gives is the first member's. Another member waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.compile.addresses import Pool
from reconciler.compile.conflicts import Conflict
from reconciler.state.host import HostFacts
from reconciler.state.members import Member, settle
from reconciler.state.naming import interface_name
from reconciler.state.uapi import BRIDGE_PORTS_MAX
from reconciler.topology.host_subnets import host_subnets_of
from reconciler.topology.types import Attachment, Container, Pattern, Topology


def expand_members(topology: Topology, facts: Mapping[str, HostFacts]) -> tuple[Topology, tuple[Conflict, ...]]:
    """The topology with the members that the hosts have, and the conflicts about them."""
    if not topology.patterns:
        return topology, ()
    containers = dict(topology.containers)
    conflicts: list[Conflict] = []
    room = Room(topology)
    for host, known in facts.items():
        patterns = {name: pattern for name, pattern in topology.patterns.items() if pattern.container.host == host}
        members = [one for one in known.members if _is_of(one, patterns)]
        engine_names = {
            (each.spec.runtime, each.engine_name): each.name for each in topology.containers.values() if each.host == host
        }
        kept, left = settle(members, containers, engine_names)
        conflicts += (_refusal(topology, host, member, kept, engine_names) for member in left)
        for name, pattern in patterns.items():
            own = tuple(member for member in kept if member.origin == name)
            found, waiting = _expand(topology, pattern, own)
            conflicts += waiting
            for container in found:
                if clash := _find_clash(topology.name, container, containers):
                    conflicts.append(_name_clash(topology, container, clash))
                elif full := room.take(container):
                    conflicts.append(_no_room(topology, container, full))
                else:
                    containers[container.name] = container
    return replace(topology, containers=containers), tuple(conflicts)


class Room:
    """How many more members each subnet and each bridge has room for."""

    def __init__(self, topology: Topology) -> None:
        """All of the file counts, without its members."""
        self._addresses: dict[tuple[str, int], int] = {}
        self._ports: dict[tuple[str, str], int] = {}
        for name, hosts in host_subnets_of(topology).items():
            subnet = topology.subnets[name]
            for cidr in subnet.cidrs if not subnet.is_lan else ():
                pool = Pool(cidr)
                self._addresses[name, cidr.version] = pool.last - pool.first + 1 - len(hosts)
        for container in topology.containers.values():
            self._use(container)

    def _use(self, container: Container) -> None:
        for attachment in container.attachments:
            for key in self._keys(attachment):
                self._addresses[key] -= 1
            port = container.host, attachment.subnet
            self._ports[port] = self._ports.get(port, BRIDGE_PORTS_MAX) - 1

    def _keys(self, attachment: Attachment) -> Iterator[tuple[str, int]]:
        families = {*attachment.auto, *(address.version for address in attachment.addresses)}
        return (key for family in families if (key := (attachment.subnet, family)) in self._addresses)

    def take(self, container: Container) -> str:
        """Count one more, and return ""; or return the subnet that is full."""
        for attachment in container.attachments:
            is_full = any(self._addresses[key] <= 0 for key in self._keys(attachment))
            if is_full or self._ports.get((container.host, attachment.subnet), BRIDGE_PORTS_MAX) <= 0:
                return attachment.subnet
        self._use(container)
        return ""


def _no_room(topology: Topology, container: Container, subnet: str) -> Conflict:
    at = topology.place(("containers", container.origin, "networks", subnet))
    message = f"{at}subnet {subnet} has no room for {container.name} ({container.engine_name})"
    help_text = f"give {subnet} a shorter prefix, or run fewer containers in it"
    return Conflict(
        container.host, message, help_text, awaited=container.name, is_member=True, reason=f"subnet {subnet} has no room for it"
    )


def _is_of(member: Member, patterns: Mapping[str, Pattern]) -> bool:
    """Whether the file has the pattern on this host, and for this engine: a host must not give members to another one."""
    pattern = patterns.get(member.origin)
    return pattern is not None and pattern.container.spec.runtime == member.runtime


def _expand(topology: Topology, pattern: Pattern, members: tuple[Member, ...]) -> tuple[list[Container], list[Conflict]]:
    """The containers of a pattern, and what waits: the pattern itself without a member, and what cannot share with the first."""
    at = topology.place(("containers", pattern.container.origin))
    host = pattern.container.host
    if not members:
        text = f"no container with {pattern.selector.text}"
        message = f"{at}host {host} has {text}"
        return [], [Conflict(host, message, "start one", awaited=pattern.container.origin, is_member=True, reason=text)]
    found = [
        replace(pattern.container, name=member.name, engine_name=member.engine_name, number=member.number) for member in members
    ]
    given = next(_given(pattern.container), None)
    if given is None:
        return found, []
    what, help_text = given
    waiting = [
        Conflict(
            host,
            f"{at}container {member.name} ({member.engine_name}) cannot have {what}, because {members[0].name} has it",
            help_text,
            awaited=member.name,
            is_member=True,
            reason=f"{member.engine_name} cannot have {what}: {members[0].name} has it",
        )
        for member in members[1:]
    ]
    return found[:1], waiting


def _given(container: Container) -> Iterator[tuple[str, str]]:
    """What the file gives once, so that only one member can have it; and what to write for several."""
    for attachment in container.attachments:
        if attachment.addresses:
            address = f"the address {attachment.addresses[0]} in {attachment.subnet}"
            yield address, f"write `{attachment.subnet}: auto`, or run one container"
        if attachment.mac:
            yield f"the hardware address {attachment.mac}", "leave `mac` out, or run one container"
    for publication in container.publications:
        yield f"the published port {publication.port}", "publish the port of another container, or run one"


def _refusal(
    topology: Topology, host: str, member: Member, kept: tuple[Member, ...], engine_names: Mapping[tuple[str, str], str]
) -> Conflict:
    """Why a member is none: another container of the file is this one, or has its name."""
    at = topology.place(("containers", member.origin))
    names = {**engine_names, **{(one.runtime, one.engine_name): one.origin for one in kept}}
    if other := names.get((member.runtime, member.engine_name)):
        message = f"{at}the {member.runtime} container {member.engine_name} would be one of `{member.origin}` and of `{other}`"
        return Conflict(host, message, "change the labels, or remove one of the two from the file")
    rival = next((one.engine_name for one in kept if (one.origin, one.name) == (member.origin, member.name)), "")
    if rival:
        message = f"{at}the {member.runtime} container {member.engine_name} would be {member.name}, and so is {rival}"
        return Conflict(host, message, "remove one of the two", awaited=member.name, is_member=True, reason=f"so is {rival}")
    message = f"{at}the {member.runtime} container {member.engine_name} would be called {member.name}, as another container is"
    return Conflict(host, message, "rename the other one in the file")


def _find_clash(topology: str, container: Container, containers: Mapping[str, Container]) -> str:
    """A container on the host with a link of the same name; "" if there is none."""
    own = set(_link_names(topology, container))
    others = (each for each in containers.values() if each.host == container.host)
    return next((each.name for each in others if not own.isdisjoint(_link_names(topology, each))), "")


def _link_names(topology: str, container: Container) -> Iterator[str]:
    for attachment in container.attachments:
        yield interface_name("v-", topology, container.name, attachment.subnet)
        yield f"{topology}-{container.name}-{attachment.subnet}"


def _name_clash(topology: Topology, container: Container, other: str) -> Conflict:
    at = topology.place(("containers", container.origin))
    message = f"{at}a link of {container.name} ({container.engine_name}) would be called as one of {other}"
    return Conflict(container.host, message, "rename one of the two")
