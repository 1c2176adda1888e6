"""Programs on a host that hold a port of its name servers. Pure.

A program that listens on all addresses (`0.0.0.0:53`) gets the queries for the addresses of bridges, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.names import name_views
from reconciler.compile.view import HostView
from reconciler.state.foreign import ForeignListener, ForeignPort, HostPort

HELP = "let it listen on addresses of its own only, stop it, or remove `dns` from the file"


def find_name_holders(view: HostView) -> Iterator[tuple[str, str]]:
    """A sentence and advice for each program that holds a port of a name server."""
    held: dict[int, list[ForeignListener | ForeignPort]] = {}
    for source in view.facts.foreign:
        if isinstance(source, ForeignListener | ForeignPort) and source.port.protocol in ("tcp", "udp"):
            held.setdefault(source.port.port, []).append(source)
    seen = set()
    for each in name_views(view):
        own = {address.address for address in each.host_subnet.addresses}
        for source in held.get(each.port, ()):
            if source.name not in seen and _takes(source.port, own):
                seen.add(source.name)
                message = (
                    f"port {each.port}/{source.port.protocol} of the name server of subnet {each.host_subnet.subnet} is held by "
                    f"{source.name} on host {view.name}"
                )
                yield message, f"{HELP}; {source.help_text}" if source.help_text else HELP


def _takes(port: HostPort, own: set[str]) -> bool:
    return port.address.is_unspecified or str(port.address) in own
