"""The lines of a container's /etc/hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.model import Endpoint
from reconciler.compile.view import HostView
from reconciler.kinds.engine.hosts import HostsFile
from reconciler.state.container_spec import HOLDER
from reconciler.state.engines import ENGINES
from reconciler.state.ref import container_netns
from reconciler.topology.types import HOST_GATEWAY, Container

LOCALHOST = ("127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback")


def compile_hosts_file(view: HostView, container: Container) -> HostsFile:
    """The hosts file of a container that netctl creates in an engine."""
    return HostsFile(
        netns=container_netns(container.name),
        container=container.name,
        holder="" if ENGINES[container.spec.runtime].joins_path else container.engine_name + HOLDER,
        lines=(*LOCALHOST, *_own_lines(view, container), *_extra_lines(view, container)),
    )


def _own_lines(view: HostView, container: Container) -> Iterator[str]:
    """Its addresses, those of the default route first, each with all its names."""
    hostname = container.spec.hostname or container.name
    names = dict.fromkeys((hostname, hostname.partition(".")[0], container.name, *container.aliases))
    for endpoint in _by_default(view.resolved.endpoints[container.name]):
        yield from (f"{own.address} {' '.join(names)}" for own in endpoint.addresses)


def _by_default(endpoints: tuple[Endpoint, ...]) -> list[Endpoint]:
    return sorted(endpoints, key=lambda endpoint: not endpoint.defaults)


def _extra_lines(view: HostView, container: Container) -> Iterator[str]:
    for name, address in container.extra_hosts:
        if address != HOST_GATEWAY:
            yield f"{address} {name}"
            continue
        for endpoint in view.resolved.endpoints[container.name]:
            host_subnet = view.host_subnets[endpoint.subnet]
            gateways = (host_subnet.gateway(family) for family in endpoint.defaults)
            yield from (f"{gateway.address} {name}" for gateway in gateways if gateway)
