"""The identity of a thing on a host: `Ref`, and the names of namespaces in a Ref.

A namespace is named by its owner, never by a pid or a path. The name is resolved when a step runs, so netctl still
finds a container that was restarted in between.
"""

from __future__ import annotations

from typing import NamedTuple

HOST = ""
"""The host's own network namespace."""
LAB = "lab"
"""The name, among hosts, of the lab: its router, `outside`, and the lab hosts as namespaces."""
LAB_UPLINK = "eth0"
"""A lab host's interface to the other hosts, unless the file names it."""


class Ref(NamedTuple):
    """The identity of one thing on one host: its kind, the namespace that it is in, and its name there."""

    kind: str
    netns: str
    name: str

    def __str__(self) -> str:
        """For people: `address eth0 10.44.0.10/24 in container:web`."""
        return f"{self.kind} {self.name}" + (f" in {self.netns}" if self.netns else "")


_CONTAINER, _LAB = "container:", "lab:"


def container_netns(container: str) -> str:
    """The namespace of a container, whatever its runtime."""
    return f"{_CONTAINER}{container}"


def lab_netns(member: str) -> str:
    """The namespace of a lab member: a lab host, `router`, or `outside`."""
    return f"{_LAB}{member}"


def is_container_netns(netns: str) -> bool:
    """Whether it is the namespace of a container."""
    return netns.startswith(_CONTAINER)


def is_lab_netns(netns: str) -> bool:
    """Whether it is the namespace of a lab member."""
    return netns.startswith(_LAB)


def container_of(netns: str) -> str:
    """The container that has the namespace; "" for other namespaces."""
    return netns.removeprefix(_CONTAINER) if is_container_netns(netns) else ""


def lab_member_of(netns: str) -> str:
    """The lab member that has the namespace; "" for other namespaces."""
    return netns.removeprefix(_LAB) if is_lab_netns(netns) else ""


def netns_path_name(topology: str, netns: str) -> str:
    """The file name under /run/netns: `shop.web` for container:web, `shop.lab.alpha` for lab:alpha."""
    return f"{topology}.lab.{lab_member_of(netns)}" if is_lab_netns(netns) else f"{topology}.{container_of(netns)}"


def parse_path_name(topology: str, file_name: str) -> str:
    """The inverse of `netns_path_name`: "" if the file is not of this topology."""
    prefix, _, rest = file_name.partition(".")
    if prefix != topology or not rest:
        return ""
    if rest.startswith("lab."):
        return lab_netns(rest.removeprefix("lab."))
    return "" if "." in rest else container_netns(rest)


def netns_path(topology: str, netns: str) -> str:
    """The file of a namespace that netctl created: `/run/netns/shop.web` (ip-netns(8))."""
    return f"/run/netns/{netns_path_name(topology, netns)}"


def parse_netns_path(topology: str, path: str) -> str:
    """The inverse of `netns_path`: "" if the path is not a namespace of this topology."""
    netns = parse_path_name(topology, path.rpartition("/")[2])
    return netns if netns and path == netns_path(topology, netns) else ""


def hosts_path(topology: str, host_key: str, container: str) -> str:
    """The file that a container has as /etc/hosts, if its engine lets it join a path."""
    return f"/run/netctl/{host_key}/{topology}.hosts/{container}"


def resolv_path(topology: str, host_key: str, container: str) -> str:
    """The file that a container has as /etc/resolv.conf, or of which it has a copy."""
    return f"/run/netctl/{host_key}/{topology}.resolv/{container}"


def names_path(topology: str, host_key: str, subnet: str, view: str) -> str:
    """The file that a resolver answers from: outside of /run/netctl, which only root can enter."""
    return f"/run/netctl-dns/{host_key}/{'.'.join(filter(None, (topology, subnet, view)))}"
