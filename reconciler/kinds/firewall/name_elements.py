"""What the elements of the firewall's sets for name servers say (see `kinds.names.resolver`)."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.kinds.firewall.set_elements import SetElement


@dataclass(frozen=True, slots=True)
class ResolverPort(SetElement):
    """A port of a name server that answers redirected queries only."""

    stem = "dns_ports"
    key_fields = ("port",)

    port: str

    def describe(self) -> str:
        return f"port {self.port} answers redirected queries only"


@dataclass(frozen=True, slots=True)
class ResolverAddress(SetElement):
    """An address of the host at which a name server answers."""

    stem, by_family = "resolvers", "address"
    key_fields = ("address",)

    address: str

    def describe(self) -> str:
        return f"queries for names at {self.address}"


@dataclass(frozen=True, slots=True)
class ResolverView(SetElement):
    """A container's address, and the port of the name server that knows the names that it may know."""

    stem, by_family = "dns_views", "address"
    key_fields, data_fields = ("address",), ("port",)

    address: str
    port: str

    def describe(self) -> str:
        return f"queries for names from {self.address} go to port {self.port}"
