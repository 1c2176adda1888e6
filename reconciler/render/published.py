"""The addresses at which the published ports of a topology answer: what a user can try after an apply. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_interface
from shlex import quote

from reconciler.compile.model import Resolved, ResolvedPort
from reconciler.state.host import HostFacts
from reconciler.topology import DEFAULT_FILE
from reconciler.topology.parsed_file import STANDARD_INPUT_NAME
from reconciler.topology.types import Topology

SHOWN = 4
"""The most ports that are named."""


def render_published(topology: Topology, resolved: Resolved, facts: Mapping[str, HostFacts]) -> str:
    """`try: 192.0.2.11:8080 (web, tcp)` for the first ports, a line for each; "" if none is published.

    In a lab, the line is the command that tries the port from the world outside, if the port is TCP's.
    """
    lines = list(dict.fromkeys(line for port in resolved.ports if (line := _line(topology, port, facts))))
    shown = [f"try: {line}" for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        shown.append(f"and {len(lines) - SHOWN:,} more published ports: `netctl ls` lists them")
    return "\n".join(shown)


def _line(topology: Topology, port: ResolvedPort, facts: Mapping[str, HostFacts]) -> str:
    address = port.listen or next(_addresses(topology, port, facts), "")
    if not address:
        return ""
    place = f"[{address}]:{port.port}" if ":" in address else f"{address}:{port.port}"
    whose = f"({port.container}, {port.protocol})"
    is_lab = topology.hosts[port.host].connect.scheme == "lab"
    if is_lab and port.protocol == "tcp" and not address.startswith("127.") and topology.path != STANDARD_INPUT_NAME:
        file = "" if topology.path == DEFAULT_FILE else f"-f {quote(topology.path)} "
        return f"netctl exec {file}--host outside curl http://{place}  {whose}"
    return f"{place}  {whose}"


def _addresses(topology: Topology, port: ResolvedPort, facts: Mapping[str, HostFacts]) -> Iterator[str]:
    """The addresses of the port's host in its family, those of the file first."""
    declared = (address for address in topology.hosts[port.host].addresses if address.version == port.family)
    yield from map(str, declared)
    known = facts.get(port.host)
    for cidr in known.addresses if known else ():
        own = ip_interface(cidr).ip
        if own.version == port.family and not (own.is_loopback or own.is_link_local):
            yield str(own)
