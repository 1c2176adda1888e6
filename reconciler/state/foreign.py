"""Foreign resources of a host: routes, sockets, ports, links, containers and firewalls that do not belong to the topology.

`kernel` finds them, `HostFacts` carries them, and `compile` compares them with the needs of a topology. Each class
describes its resource, and how a user resolves the conflict. Only `PacketDrop` takes commands in this text from the
host.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from shlex import quote
from typing import ClassVar, Literal

TransportProtocol = Literal["tcp", "udp", "sctp"]
IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network
PortRange = tuple[int, int]
"""The first and the last port."""
BRIDGE = "BRIDGE"
"""The placeholder for a bridge's name in a command of a `PacketDrop`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """A port of the host, on one of its addresses or on all (0.0.0.0 or ::)."""

    protocol: TransportProtocol
    address: IpAddress
    port: int

    def __str__(self) -> str:
        return f"{self.protocol} {self.address} {self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPortRange:
    """Consecutive ports of the host, both ends included, on one of its addresses or on all."""

    protocol: TransportProtocol
    address: IpAddress
    first: int
    last: int

    def __contains__(self, port: HostPort) -> bool:
        """Whether the port is one of them."""
        return port.protocol == self.protocol and port.address == self.address and self.first <= port.port <= self.last


# --- interceptors ------------------------------------------------------------------------------------------------------


class Interceptor(ABC):
    """A foreign resource that may receive or drop packets of the topology; `kind` is its word in documents."""

    __slots__ = ()
    kind: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str:
        """The resource's name."""

    @property
    @abstractmethod
    def detail(self) -> str:
        """The resource's content."""

    @property
    def help_text(self) -> str:
        """What the user can do; "" without general advice."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress(Interceptor):
    """An address of the host."""

    kind: ClassVar[str] = "address"
    cidr: str

    @property
    def name(self) -> str:
        """The address with its prefix length."""
        return self.cidr

    @property
    def detail(self) -> str:
        """A text that says that the address belongs to the host."""
        return "an address of the host"

    def __str__(self) -> str:
        return f"the address {self.cidr}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRoute(Interceptor):
    """A route to `destination` over `link`. Without a link, `form` is its type (`blackhole` …)."""

    kind: ClassVar[str] = "route"
    destination: IpNetwork
    link: str = ""
    form: str = ""
    metric: int = 0
    """The metric of a route without a link."""
    by_netctl: bool = False
    """Whether it belongs to another topology."""

    @property
    def name(self) -> str:
        """The link, or the type of the route."""
        return self.link or self.form

    @property
    def detail(self) -> str:
        """The destination."""
        return str(self.destination)

    @property
    def help_text(self) -> str:
        """The command that deletes it."""
        if self.by_netctl:
            return ""
        metric = f" metric {self.metric}" if self.metric else ""
        words = f"{self.destination} dev {quote(self.link)}" if self.link else f"{self.form} {self.destination}{metric}"
        return f"choose another CIDR, or remove it: ip -{self.destination.version} route delete {words}"

    def __str__(self) -> str:
        return f"the route to {self.destination} ({self.name})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignListener(Interceptor):
    """A socket that receives what arrives at a port; `holder` is the program and its pid, "" if unknown."""

    kind: ClassVar[str] = "listener"
    port: HostPort
    holder: str = ""

    @property
    def name(self) -> str:
        """The program."""
        return self.holder or "a process"

    @property
    def detail(self) -> str:
        """The port."""
        return str(self.port)

    @property
    def help_text(self) -> str:
        """The command that shows the program."""
        return f"find it: ss -Hln{self.port.protocol[0]}p sport = :{self.port.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignPort(Interceptor):
    """A port that another topology publishes; if `topology` is empty, Docker does."""

    kind: ClassVar[str] = "port"
    port: HostPort
    topology: str = ""

    @property
    def name(self) -> str:
        """The publisher."""
        return f"topology {self.topology}" if self.topology else "a container of Docker's"

    @property
    def detail(self) -> str:
        """The port."""
        return str(self.port)

    @property
    def help_text(self) -> str:
        """The command that shows the container."""
        return "" if self.topology else f"find it: docker ps --filter publish={self.port.port}"


# --- packet drops -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain of nftables; those of iptables are in the table `filter`."""

    family: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketDrop(Interceptor):
    """A chain of `program` that drops packets."""

    program: str
    chain: Chain
    commands: tuple[str, ...] = ()
    """Commands that let the packets pass; BRIDGE stands for each of the topology's bridges."""

    @property
    @abstractmethod
    def effect(self) -> str:
        """What the chain does; the text follows its name."""

    @property
    def name(self) -> str:
        """The program."""
        return self.program

    @property
    def detail(self) -> str:
        """The chain."""
        return str(self.chain)

    def help_for(self, bridges: Iterable[str]) -> str:
        """The commands that let the packets of these bridges pass."""
        names = sorted(bridges)
        return "; ".join(
            command.replace(BRIDGE, name) for command in self.commands for name in (names if BRIDGE in command else [""])
        )


class ForwardDrop(PacketDrop):
    """A chain that drops packets to or from containers."""

    __slots__ = ()
    kind: ClassVar[str] = "drop"

    @property
    def effect(self) -> str:
        """It knows no addresses of a topology."""
        return "drops unknown packets"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelDrop(PacketDrop):
    """A chain that drops the packets of a kind of tunnel on their way in; `tunnel` is what people call the kind."""

    kind: ClassVar[str] = "tunnel drop"
    tunnel: str

    @property
    def effect(self) -> str:
        """It names the kind of tunnel."""
        return f"drops {self.tunnel} packets"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMatch:
    """A condition on protocol and destination port, and on nothing else."""

    protocol: TransportProtocol
    ranges: tuple[PortRange, ...]

    def meets(self, protocol: str, first: int, last: int) -> bool:
        """Whether the condition is true for one of these ports."""
        return self.protocol == protocol and any(low <= last and first <= high for low, high in self.ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleDrop(PacketDrop):
    """A rule that drops packets, some of which may be the topology's. `rule` is its text, as nft(8) writes it."""

    kind: ClassVar[str] = "may drop"
    rule: str
    ports: PortMatch | None = None
    """The packets that it drops, if it matches protocol and port alone."""

    @property
    def effect(self) -> str:
        """A policy or a published port allows it."""
        return "drops packets that the file allows"

    @property
    def detail(self) -> str:
        """The chain and the rule."""
        return f"{self.chain} {self.rule}"

    def may_meet(self, protocol: str, port: int) -> bool:
        """Whether it can drop a packet to this port."""
        return self.ports is None or self.ports.meets(protocol, port, port)


# --- conflicting resources -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignLink:
    """A link of the host, by its name or by one of its altnames."""

    name: str
    altname_of: str = ""
    """The link, if `name` is an altname."""

    @property
    def help_text(self) -> str:
        """The command that frees an altname."""
        words = f"dev {quote(self.altname_of)} altname {quote(self.name)}"
        return f"delete it: ip link property delete {words}" if self.altname_of else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignTunnel:
    """A link of a kind that tunnels have, which may have what the kernel gives to one link only: see the kind's options."""

    name: str
    link_kind: str
    options: tuple[tuple[str, str], ...]
    """By iproute2's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignInterface:
    """An interface in an existing container, by the container's name in the file and in its engine."""

    container: str
    name: str
    runtime: str = ""
    engine_name: str = ""
    networks: tuple[str, ...] = ()
    """The engine's networks that the container is in."""
    topology: str = ""
    """The other topology of netctl's that connects the container by it; "" if none does."""

    @property
    def help_text(self) -> str:
        """The commands that disconnect the container from the engine's networks."""
        commands = [f"{self.runtime} network disconnect {quote(network)} {quote(self.engine_name)}" for network in self.networks]
        return f"{'; '.join(commands)}, or re-create it with `--network none`" if commands else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedNamespace:
    """A container that shares a network namespace with `other`, or with the host if `other` is None."""

    container: str
    other: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignContainer:
    """A container of an engine, by its name there; `state` is the engine's word (`running`, `exited` …)."""

    name: str
    runtime: str
    state: str


Drop = ForwardDrop | TunnelDrop | PossibleDrop
ForeignResource = (
    ForeignRoute
    | ForeignListener
    | ForeignPort
    | Drop
    | ForeignLink
    | ForeignTunnel
    | ForeignInterface
    | SharedNamespace
    | ForeignContainer
)
