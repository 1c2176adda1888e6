"""The elements that a file's `ports` and `policies` become (see `kinds.firewall.set_elements`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.firewall.set_elements import SetElement, family_of

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
"""All addresses of a family, as one block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort(SetElement):
    """A port of the host, and the address and port of a container to which it leads."""

    protocol: str
    port: int
    target: str
    target_port: int
    listen: str = ""
    """An address of the host, or all of them as a block; "" means all, if there are no `sources` either."""
    source: str = ""
    """The clients, as a block; "" means all."""

    @property
    def set(self) -> str:
        stem = "published_from" if self.source else "published_at" if self.listen else "published"
        return f"{stem}{self.family}"

    @property
    def key(self) -> tuple[str, ...]:
        if self.source:
            return self.protocol, self.listen, str(self.port), self.source
        return (self.protocol, self.listen, str(self.port)) if self.listen else (self.protocol, str(self.port))

    @property
    def data(self) -> tuple[str, ...]:
        return self.target, str(self.target_port)

    @classmethod
    def from_parts(cls, _set_name: str, key: Sequence[str], data: Sequence[str]) -> Self:
        protocol, *listen, port = key[:3]
        return cls(
            protocol=protocol,
            port=int(port),
            target=data[0],
            target_port=int(data[1]),
            listen=listen[0] if listen else "",
            source=key[3] if len(key) > 3 else "",
        )

    @property
    def family(self) -> int:
        """4 or 6."""
        return family_of(self.target)

    @property
    def address(self) -> str:
        """The address that it listens on; the unspecified one for all."""
        return (self.listen or ANYWHERE[self.family]).removesuffix("/0")

    @property
    def owner(self) -> str:
        return self.target

    @property
    def forwarded_to(self) -> str:
        return self.target

    @property
    def listening(self) -> str:
        """Where it listens, and to whom: `8080`, `192.0.2.11:8443 from 192.0.2.0/24`."""
        is_everywhere = self.listen in ("", *ANYWHERE.values())
        end = str(self.port) if is_everywhere else join_port(self.listen, self.port)
        return f"{end} from {self.source}" if self.source else end

    def describe_listen(self) -> str:
        """The host's side: `port tcp 192.0.2.11:8443 from 192.0.2.0/24`."""
        return f"port {self.protocol} {self.listening}"

    def describe_target(self) -> str:
        """The container's side: `10.44.0.10:80`."""
        return join_port(self.target, self.target_port)

    def describe(self) -> str:
        return f"{self.describe_listen()} to {self.describe_target()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedTraffic(SetElement):
    """What a policy allows, as blocks of addresses and ports."""

    source: str
    target: str = ""
    """"" means the outside."""
    protocol: str = ""
    """"" means everything; `ports` is then empty, too."""
    ports: str = ""
    """A port, or a range."""

    @property
    def set(self) -> str:
        return f"{'allowed' if self.target else 'outbound'}{'_ports' if self.protocol else ''}{family_of(self.source)}"

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(part for part in (self.source, self.target, self.protocol, self.ports) if part)

    @classmethod
    def from_parts(cls, set_name: str, key: Sequence[str], _data: Sequence[str]) -> Self:
        protocol, ports = key[-2:] if "_ports" in set_name else ("", "")
        return cls(source=key[0], target="" if set_name.startswith("outbound") else key[1], protocol=protocol, ports=ports)

    @property
    def ends(self) -> tuple[str, str]:
        """Source and target, as blocks or `outside`."""
        return self.source, self.target or "outside"

    def describe_services(self) -> str:
        """`tcp 5432`, or `everything`."""
        return f"{self.protocol} {self.ports}" if self.protocol else "everything"

    def describe(self) -> str:
        source, target = self.ends
        return f"from {source} to {target} {self.protocol} {self.ports}".rstrip()


def join_port(address: str, port: int) -> str:
    """`10.44.0.10:80`, `[fd00:44::10]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
