"""The command line of a resolver, and its mark: what both the worker and a printed script run."""

from __future__ import annotations

import json
import re
from dataclasses import astuple, dataclass
from typing import Self

from reconciler.state.jsontext import parse_json

RESOLVER_MARK = "NETCTL_DNS"
"""The variable with the owner: `<topology>/<host>/<subnet>/<view>`, which its dnsmasq inherits."""
CONFIG_MARK = "NETCTL_DNS_CONFIG"
"""The variable that only the shell has: the configuration, as JSON."""
CONFIG_MAX_BYTES = 1 << 17
VIEW = r"(?:[0-9a-f]{8})?"
DNS_PORT = 53
LOOP = f'unset {CONFIG_MARK}; log=$1; shift; while :; do (: >"$log") 2>/dev/null || log=/dev/null; "$@" 2>"$log"; sleep 0.2; done'
"""The shell: it starts dnsmasq again when that has ended, and keeps what the last one wrote."""
CACHE_SIZE = 1000
"""How many answers of other servers it remembers; dnsmasq's default is 150 for a household."""


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """What the command line of a resolver says (see `kinds.names.resolver`)."""

    bridge: str
    port: int
    domain: str
    zones: tuple[str, ...]
    upstream: tuple[str, ...]
    ttl_s: int

    def words(self, names_path: str) -> tuple[str, ...]:
        """The words of its command line. Nothing of the host's files decides, and nothing but DNS is served."""
        upstream = (
            ("--resolv-file=/etc/resolv.conf",)
            if self.upstream == ("host",)
            else ("--no-resolv", *(f"--server={server}" for server in self.upstream))
        )
        return (
            "dnsmasq",
            "--keep-in-foreground",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--no-hosts",
            "--bind-dynamic",
            f"--interface={self.bridge}",
            "--except-interface=lo",
            f"--port={self.port}",
            f"--cache-size={CACHE_SIZE}",
            *(f"--local=/{zone}/" for zone in (self.domain, *self.zones)),
            f"--local-ttl={self.ttl_s}",
            f"--addn-hosts={names_path}",
            "--domain-needed",
            "--dns-loop-detect",
            *upstream,
        )

    def to_text(self) -> str:
        """The value of CONFIG_MARK."""
        return json.dumps(astuple(self), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The inverse of `to_text`; None if it is not netctl's."""
        try:
            bridge, port, domain, zones, upstream, ttl_s = parse_json(text, CONFIG_MAX_BYTES)
            return cls(str(bridge), int(port), str(domain), tuple(map(str, zones)), tuple(map(str, upstream)), int(ttl_s))
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class ResolverInfo:
    """A live resolver of the host. Its config has the port 0 if its shell has ended."""

    subnet: str
    view: str
    config: ResolverConfig
    pids: tuple[int, ...] = ()
    """Its processes."""


def mark_of(topology: str, host_key: str, subnet: str, view: str) -> str:
    """The value of RESOLVER_MARK."""
    return f"{topology}/{host_key}/{subnet}/{view}"


def parse_mark(text: str) -> tuple[str, str, str, str] | None:
    """Topology, host key, subnet and view of a RESOLVER_MARK; None if netctl did not write it."""
    parts = text.split("/")
    if len(parts) != 4 or not re.fullmatch(VIEW, parts[3]):
        return None
    topology, host_key, subnet, view = parts
    return topology, host_key, subnet, view
