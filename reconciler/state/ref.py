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


def container_netns(container: str) -> str:
    """The namespace of a container, whatever its runtime."""
    return f"container:{container}"


def lab_netns(member: str) -> str:
    """The namespace of a lab member: a lab host, `router`, or `outside`."""
    return f"lab:{member}"


def netns_path_name(topology: str, netns: str) -> str:
    """The file name under /run/netns: `shop.web` for container:web, `shop.lab.alpha` for lab:alpha."""
    scope, _, member = netns.partition(":")
    return f"{topology}.lab.{member}" if scope == "lab" else f"{topology}.{member}"


def netns_path(topology: str, netns: str) -> str:
    """The file of a namespace that netctl created: `/run/netns/shop.web` (ip-netns(8))."""
    return f"/run/netns/{netns_path_name(topology, netns)}"


def hosts_path(topology: str, host_key: str, container: str) -> str:
    """The file that a container has as /etc/hosts, if its engine lets it join a path."""
    return f"/run/netctl/{host_key}/{topology}.hosts/{container}"
