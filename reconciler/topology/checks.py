"""The rules that concern several parts of a topology file: everything that one value alone cannot show.

`check_topology` gets the model, or the valid part of it. Each check adds its faults to the list and returns; none stops
the others, so that one run finds all. Addresses and ports have files of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from reconciler.state.container_spec import BARE_KEYS, SPEC_KEYS
from reconciler.state.lxc_config import LXC_KEYS, NUMERIC_USER
from reconciler.state.naming import interface_name
from reconciler.state.uapi import BRIDGE_PORTS_MAX
from reconciler.topology.check_addresses import check_addresses
from reconciler.topology.check_dns import check_dns
from reconciler.topology.check_members import check_members
from reconciler.topology.check_options import check_routes
from reconciler.topology.check_ports import check_ports
from reconciler.topology.check_share import check_share
from reconciler.topology.check_twice import check_twice
from reconciler.topology.expand import engine_name_of, host_of, interfaces_of, names_of, party_of, runtime_of
from reconciler.topology.faults import FaultList
from reconciler.topology.foreign import find_value
from reconciler.topology.model.containers import ContainerModel
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.scalars import shorten, suggest
from reconciler.topology.types import Path

_HOSTS_KEYS = ("aliases", "extra_hosts")
_ENGINE_KEYS = (*(key for key in SPEC_KEYS if key not in BARE_KEYS), *_HOSTS_KEYS)
_MADE_BY_US_KEYS = (*SPEC_KEYS, *_HOSTS_KEYS, "env_file", "replicas", "share")


def check_topology(model: TopologyModel, faults: FaultList) -> None:
    """Add every fault that shows only when the parts of the file are seen together."""
    check_references(model, faults)
    check_runtimes(model, faults)
    check_members(model, faults)
    check_networks(model, faults)
    check_names(model, faults)
    check_addresses(model, faults)
    check_ports(model, faults)
    check_policies(model, faults)
    check_twice(model, faults)
    check_routes(model, faults)
    check_dns(model, faults)


# --- references -------------------------------------------------------------------------------------------------------


def check_references(model: TopologyModel, faults: FaultList) -> None:
    """Every host, subnet and network that is named exists; a container names its host if there are several."""
    if not model.hosts and not faults.left_out(("hosts",)):
        faults.add_at_key(
            ("hosts",),
            "there is no host: a topology needs at least one",
            "write `hosts: {alpha: {connect: local}}` for this machine",
        )
    for name, subnet in model.subnets.items():
        for number, host in enumerate(subnet.hosts):
            _expect_known("hosts", host, model.hosts, ("subnets", name, "hosts", number), faults)
        for host in subnet.gateway:
            if host:
                _expect_known("hosts", host, model.hosts, ("subnets", name, "gateway", host), faults, at_key=True)
    for name, container in model.containers.items():
        here: Path = ("containers", name)
        if container.host:
            _expect_known("hosts", container.host, model.hosts, (*here, "host"), faults)
        elif len(model.hosts) > 1 and not faults.left_out(("hosts",)) and not faults.left_out((*here, "host")):
            faults.add_at_key(
                here,
                f"the container `{name}` does not say on which host it runs",
                f"write `host: ` and one of {', '.join(model.hosts)}",
            )
        for subnet_name in container.networks:
            _expect_known("subnets", subnet_name, model.subnets, (*here, "networks", subnet_name), faults, at_key=True)
        for number, published in enumerate(container.ports):
            for position, host in enumerate(published.on):
                _expect_known("hosts", host, model.hosts, (*here, "ports", number, "on", position), faults)


def _expect_known(
    section: str, name: str, known: Collection[str], path: Path, faults: FaultList, *, at_key: bool = False
) -> None:
    if name in known or (section,) in faults.broken or faults.left_out((section, name)):
        return
    # A value that is left out because of its own fault exists, too.
    faulty = sorted(str(path[1]) for path in faults.broken if path[:1] == (section,) and len(path) > 1)
    names = list(dict.fromkeys((*known, *faulty)))
    guess = suggest(name, names)
    listed = f"the {section} are {', '.join(names[:10])}" if names else f"define it under `{section}:`"
    help_text = f"{guess} {listed[0].upper()}{listed[1:]}" if guess else listed
    add = faults.add_at_key if at_key else faults.add
    add(path, f"there is no {section[:-1]} `{shorten(name)}`", help_text)


# --- containers -------------------------------------------------------------------------------------------------------


def check_runtimes(model: TopologyModel, faults: FaultList) -> None:
    """The keys of a container fit its runtime, and replicas share nothing that must be unique."""
    for name, container in model.containers.items():
        here: Path = ("containers", name)
        if any(faults.left_out((*here, key)) for key in ("image", "runtime", "existing")):
            continue
        runtime = runtime_of(container)
        if container.existing:
            _check_existing(name, container, faults)
        elif runtime == "netns":
            _check_bare_namespace(name, container, faults)
        elif runtime == "lxc" and container.image:
            _check_lxc(name, container, faults)
        elif container.image.startswith("/"):
            message = f"the image of `{name}` is a path, and runtime {runtime} has images by name"
            faults.add((*here, "image"), message, "write one such as busybox:latest, or `runtime: lxc`")
        elif not container.image:
            faults.add_at_key(
                here,
                f"the container `{name}` has runtime {runtime} but no image to run",
                "write `image: busybox:latest`, or `existing: true` for one that runs already",
            )
        if (container.replicas or 0) > 1:
            _check_replicas(name, container, faults)
        if container.share:
            check_share(model, name, container, faults)


def _check_existing(name: str, container: ContainerModel, faults: FaultList) -> None:
    """An existing container: netctl connects it, and changes nothing else of it."""
    here: Path = ("containers", name)
    for key in _MADE_BY_US_KEYS:
        if key in container.model_fields_set:
            message = f"`{key}` has no effect on the existing container `{name}`: netctl only wires it"
            faults.add_at_key((*here, key), message, f"remove `{key}`, or `existing`")
    if runtime_of(container) == "netns":
        message = "an existing container is an engine's, so its runtime cannot be netns"
        faults.add((*here, "runtime"), message, "write `runtime: docker`, or leave it out")


def _check_lxc(name: str, container: ContainerModel, faults: FaultList) -> None:
    """LXC has no layered images and no named volumes, and does not restart a command that has ended."""
    here: Path = ("containers", name)
    if container.image.count(":") > 1 or (":" in container.image and container.image.startswith("/")):
        message = f"the image of `{name}` is neither a path nor a template of LXC's"
        faults.add((*here, "image"), message, "write /srv/rootfs/web, busybox, or download:debian/bookworm/amd64")
    if container.restart == "on-failure":
        message = f"`{name}` cannot be restarted on failure: LXC only starts containers with the machine"
        faults.add((*here, "restart"), message, "write `restart: always`, or leave it out")
    for place, volume in enumerate(container.volumes):
        if not volume.startswith("/"):
            message = f"cannot mount the volume of `{name}`: LXC has no named volumes: `{volume}`"
            faults.add((*here, "volumes", place), message, "write the host's path, as in /srv/data:/data")
    for key in SPEC_KEYS:
        if key in container.model_fields_set and key not in LXC_KEYS:
            message = f"`{key}` has no meaning for `{name}`: LXC has nothing like it"
            faults.add_at_key((*here, key), message, f"remove `{key}`, or write `runtime: docker`")
    if not re.fullmatch(NUMERIC_USER, container.user or "0"):
        message = f"the user of `{name}` must be a number: LXC reads no names of the image"
        faults.add((*here, "user"), message, "write `uid`, or `uid:gid`")
    words = (*container.entrypoint, *container.command, *(word for pair in container.env for word in pair), *container.volumes)
    broken = [word for word in words if "\n" in word or "\r" in word]
    if broken:
        faults.add_at_key(here, f"a line of LXC's config cannot hold the line break in `{name}`", "put it in a file of the image")


def _check_bare_namespace(name: str, container: ContainerModel, faults: FaultList) -> None:
    """A bare namespace has no engine, so only `command` and `env` of the engine's keys apply."""
    here: Path = ("containers", name)
    for key in _ENGINE_KEYS:
        if key in container.model_fields_set:
            message = f"`{key}` has no meaning for `{name}`: a container of runtime netns is a bare namespace"
            faults.add_at_key((*here, key), message, f"remove `{key}`, or write `runtime: docker`")
    for key in ("env", "env_file", "share"):
        if getattr(container, key) and not container.command and not faults.left_out((*here, "command")):
            message = f"`{key}` has no effect on `{name}`: no command runs in it"
            faults.add_at_key((*here, key), message, f"give a `command`, or remove `{key}`")


def _check_replicas(name: str, container: ContainerModel, faults: FaultList) -> None:
    here: Path = ("containers", name)
    for subnet, network in container.networks.items():
        place = (*here, "networks", subnet)
        if network.address:
            faults.add(
                (*place, "address"),
                f"the {container.replicas} replicas of `{name}` cannot share the address {network.address[0]}",
                "write `auto`",
            )
        if network.mac:
            faults.add(
                (*place, "mac"),
                f"the {container.replicas} replicas of `{name}` cannot share the MAC address {network.mac}",
                "leave `mac` out",
            )
    if container.ports:
        faults.add_at_key(
            (*here, "ports"),
            f"the {container.replicas} replicas of `{name}` cannot share a published port",
            "publish the port of a container without replicas",
        )


def check_networks(model: TopologyModel, faults: FaultList) -> None:
    """Within a container: interface names differ, and one network has the default route."""
    for name, container in model.containers.items():
        place: Path = ("containers", name, "networks")
        interfaces = interfaces_of(tuple(container.networks.values()))
        for (subnet, network), count in zip(container.networks.items(), _counts_so_far(interfaces), strict=True):
            if network.interface and count > 1:
                faults.add(
                    (*place, subnet, "interface"),
                    f"`{name}` has two interfaces called {network.interface}",
                    "give each network another `interface`, or leave it out",
                )
        defaults = [subnet for subnet, network in container.networks.items() if network.default]
        for subnet in defaults[1:]:
            faults.add(
                (*place, subnet, "default"),
                f"`{name}` has its default route in `{defaults[0]}` already",
                "write `default: true` for one network only",
            )


def _counts_so_far(words: list[str]) -> list[int]:
    seen: Counter[str] = Counter()
    counts = []
    for word in words:
        seen[word] += 1
        counts.append(seen[word])
    return counts


# --- names ------------------------------------------------------------------------------------------------------------


def check_names(model: TopologyModel, faults: FaultList) -> None:
    """Names that netctl gives are unique: replicas, engine containers, interfaces. A bridge has enough ports."""
    taken_by: dict[str, str] = {}
    engine_names: dict[tuple[str, str, str], str] = {}
    ports: Counter[tuple[str, str]] = Counter()
    for origin, container in model.containers.items():
        for name in names_of(origin, container):
            _check_container_name(name, origin, taken_by, faults)
            runtime = runtime_of(container)
            if runtime != "netns" and not (container.existing and container.replicas is not None):
                key = (host_of(model, container), runtime, engine_name_of(model.name, name, container))
                other = engine_names.setdefault(key, name)
                if other != name and key[0] and key[2]:
                    faults.add_at_key(
                        ("containers", origin),
                        f"`{name}` and `{other}` would both be the engine's container `{key[2]}`",
                        "rename one of them",
                    )
        here = ((host_of(model, container), subnet) for subnet in container.networks)
        ports.update(dict.fromkeys(here, 1 if container.replicas is None else container.replicas))
    for (_, subnet), count in ports.items():
        if count > BRIDGE_PORTS_MAX and subnet in model.subnets:
            help_text = "spread the containers over more subnets"
            faults.add_at_key(
                ("subnets", subnet),
                f"the subnet `{subnet}` has {count} containers on one host, and a bridge takes {BRIDGE_PORTS_MAX}",
                help_text,
            )
    if not faults.left_out(("name",)):
        _check_interface_names(model, faults)


def _check_container_name(name: str, origin: str, taken_by: dict[str, str], faults: FaultList) -> None:
    other = taken_by.setdefault(name, origin)
    if other != origin:
        both = f"a replica of `{other if other != name else origin}`"
        faults.add_at_key(("containers", origin), f"the name `{name}` is taken twice: it is also {both}", "rename one of them")
    if len(name) > 63:
        faults.add_at_key(
            ("containers", origin),
            f"the replica `{name}` has a name of {len(name)} characters, and 63 are allowed",
            "shorten the container's name",
        )


def _check_interface_names(model: TopologyModel, faults: FaultList) -> None:
    """Interface names are joined with `-`, which names may contain: `a-b` with `c` and `a` with `b-c` collide."""
    taken: dict[tuple[str, str], str] = {}
    everywhere = ""

    def take(prefix: str, parts: tuple[str, ...], path: Path, what: str, host: str = everywhere) -> None:
        for name in (interface_name(prefix, model.name, *parts), "-".join((model.name, *parts))):
            other = taken.get((everywhere, name)) or taken.setdefault((host, name), what)
            if other != what:
                faults.add_at_key(path, f"{what} and {other} would both be called `{name}`", "rename one of the two")
                return

    for host in model.hosts.values():
        if host.uplink:
            taken[everywhere, host.uplink] = f"the uplink {host.uplink}"
    for subnet in model.subnets:
        take("b-", (subnet,), ("subnets", subnet), f"the bridge of `{subnet}`")
    for origin, container in model.containers.items():
        for name in names_of(origin, container):
            for subnet in container.networks:
                path: Path = ("containers", origin, "networks", subnet)
                take("v-", (name, subnet), path, f"the link of `{name}` in `{subnet}`", host_of(model, container))


# --- policies ---------------------------------------------------------------------------------------------------------


def check_policies(model: TopologyModel, faults: FaultList) -> None:
    """Both ends of a policy exist, and it is possible."""
    for number, policy in enumerate(model.policies):
        here: Path = ("policies", number)
        known = [_check_party(model, name, (*here, key), faults) for key, name in (("allow", policy.allow), ("to", policy.to))]
        if not all(known):
            continue
        source, target = party_of(model, policy.allow), party_of(model, policy.to)
        if source.kind in ("host", "outside") and target.kind in ("host", "outside"):
            faults.add(
                (*here, "to"),
                f"a policy from `{policy.allow}` to `{policy.to}` is refused: netctl filters the traffic of containers only",
                "name a container or a subnet at one end",
            )
        if source.kind == "outside" and target.kind in ("subnet", "container"):
            _check_opening(model, target.kind, policy.to, (*here, "to"), faults)


def _check_party(model: TopologyModel, name: str, path: Path, faults: FaultList) -> bool:
    """Whether the party is certainly known; a fault if it certainly does not exist."""
    if name in ("host", "outside"):
        return True
    if name in model.containers and name in model.subnets:
        faults.add(path, f"`{name}` is a container and a subnet: the policy could mean either", "rename one of the two")
        return False
    if name in model.containers or name in model.subnets:
        return True
    sections = ("containers", "subnets")
    if not any((section,) in faults.broken or faults.left_out((section, name)) for section in sections):
        origin = next((origin for origin, container in model.containers.items() if name in names_of(origin, container)), "")
        guess = f"write `{origin}`: it stands for all its replicas" if origin else _party_help(model, name)
        faults.add(
            path,
            f"there is no container or subnet `{shorten(name)}`",
            guess or "write a container, a subnet, `host` or `outside`",
        )
    return False


def _party_help(model: TopologyModel, name: str) -> str:
    if name in model.hosts:
        return "write `host`: it stands for every host"
    if re.fullmatch(r"[0-9a-fA-F.:]+[.:][0-9a-fA-F.:]*(/[0-9]+)?", name) and not find_value("policies", "party", name):
        return "write the name of a container or a subnet: a policy has no addresses"
    known = [*model.containers, *model.subnets, "host", "outside"]
    return find_value("policies", "party", name) or suggest(name, known)


def _check_opening(model: TopologyModel, kind: str, name: str, path: Path, faults: FaultList) -> None:
    """A policy can admit `outside` only if a route leads from there, and none leads to a NATed or isolated subnet."""
    subnets = [name] if kind == "subnet" else list(model.containers[name].networks)
    modes = {model.subnets[subnet].mode for subnet in subnets if subnet in model.subnets}
    if modes and modes <= {"nat", "isolated"}:
        if "nat" in modes:
            faults.add(
                path,
                f"`{name}` cannot be opened to the outside: no route leads from there into a NATed subnet",
                "publish a port under `ports`, or write `mode: routed`",
            )
        else:
            faults.add(
                path,
                f"`{name}` cannot be opened to the outside: its subnet is isolated",
                "write `mode: routed`, or `nat` and publish a port under `ports`",
            )
