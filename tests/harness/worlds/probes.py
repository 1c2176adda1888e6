"""A small world of namespaces without netctl's work in it, and probes to ask in it."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.probes.model import FORBIDDEN, IN_SUBNETS, ClaimKind, ClaimProbe, Listener, PacketKind, PacketProbe, Probe, Result
from reconciler.probes.run import Prober
from reconciler.state.foreign import TransportProtocol
from reconciler.verify.view import Origin
from tests.harness.netns import Namespace

Make = Callable[..., Namespace]


class ProbeWorld:
    """A host `h` that forwards, two containers on its bridge, a third on a link of its own, and a neighbour `n` outside."""

    def __init__(self, make: Make) -> None:
        """All links up, all addresses usable at once."""
        self.topology = "t"
        self.namespaces = {name: make(name) for name in ("h", "a", "b", "c", "n")}
        host = self.namespaces["h"]
        for namespace in self.namespaces.values():  # no wait for duplicate addresses
            namespace.run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
        for key in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            host.run("sysctl", "-qw", key)
        host.run("ip", "link", "add", "br0", "type", "bridge")
        self._address("h", "br0", "10.9.0.1/24", "fd09::1/64")
        for number, name in ((2, "a"), (3, "b")):
            self._wire(name, f"p{name}")
            host.run("ip", "link", "set", f"p{name}", "master", "br0")
            self._address(name, "eth0", f"10.9.0.{number}/24", f"fd09::{number}/64")
            self._default(name, "10.9.0.1", "fd09::1")
        for number, name in ((8, "c"), (7, "n")):
            self._wire(name, f"p{name}")
            self._address("h", f"p{name}", f"10.{number}.0.1/24", f"fd0{number}::1/64")
            self._address(name, "eth0", f"10.{number}.0.2/24", f"fd0{number}::2/64")
        self._default("c", "10.8.0.1", "fd08::1")

    def _wire(self, name: str, port: str) -> None:
        far = self.namespaces[name].name
        self.namespaces["h"].run("ip", "link", "add", port, "up", "type", "veth", "peer", "name", "eth0", "netns", far)

    def _address(self, name: str, dev: str, *cidrs: str) -> None:
        namespace = self.namespaces[name]
        namespace.run("ip", "link", "set", dev, "up")
        for cidr in cidrs:
            namespace.run("ip", "address", "add", cidr, "dev", dev, *(["nodad"] if ":" in cidr else []))

    def _default(self, name: str, *gateways: str) -> None:
        for gateway in gateways:
            self.namespaces[name].run("ip", "route", "add", "default", "via", gateway)

    def path(self, netns: str) -> str:
        return str(self.namespaces[netns.removeprefix("container:") or "h"].path)


def ask(
    source: str,
    address: str,
    *,
    kind: PacketKind = "icmp",
    netns: str = "",
    port: int = 0,
    expected: bool = True,
    section: str = IN_SUBNETS,
    size: int = 0,
    via: str = "",
    listener: Listener | None = None,
) -> Probe:
    return PacketProbe(
        **origin(source, netns), target="target", section=section, kind=kind, address=address, expected=expected, why="",
        port=port, size=size, via=via, listener=listener,
    )  # fmt: skip


def origin(source: str, netns: str = "") -> Origin:
    """A namespace of the world; h and n are hosts."""
    return Origin(host="here", netns=netns or (source if source in ("h", "n") else f"container:{source}"), source=source)


def claim_to(address: str, kind: ClaimKind, claim: str, heard_at: str = "", interface: str = "eth0") -> Probe:
    """A claim of a's, to another's address."""
    return ClaimProbe(
        **origin("a"), target="target", section=FORBIDDEN, kind=kind, address=address, expected=False, why="",
        interface=interface, claim=claim, heard_at=heard_at,
    )  # fmt: skip


def run_one(prober: Prober, probe: Probe, *others: Probe) -> Result:
    listeners = [p.listener for p in (probe, *others) if p.listener]
    opened = prober.start_listeners(listeners)
    try:
        return prober.run_clients([probe, *others], opened)[0]
    finally:
        prober.stop()


def serve(netns: str, protocol: TransportProtocol, port: int, family: int = 4) -> Listener:
    return Listener("here", netns, protocol, family, port, f"netctl t {netns}")
