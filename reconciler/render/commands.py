"""Steps as a shell script of `ip`, `bridge`, `nft`, `sysctl` and `docker` command lines: what `diff --commands` prints.

The same steps that `kernel/` executes, one function per lane here, so a reader can see how container networking works, and
can run it: on a fresh lab the script leaves the same live state as `netctl apply`. Called by `cli.diff`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface

from reconciler.kernel.namespaces import PROMPT, SILENT
from reconciler.kernel.netlink_encode import FREE_NAME, ROUTE_TYPES
from reconciler.render.engine_commands import engine_lines, pid_words, process_lines
from reconciler.render.openvswitch_commands import switch_lines
from reconciler.render.shell import comment, here_document, join, quote
from reconciler.render.sysctl_commands import sysctl_functions, sysctl_lines
from reconciler.render.uplink_commands import dhcp_lines, uplink_lines
from reconciler.state.naming import ROUTE_PROTOCOL, Alias
from reconciler.state.ref import HOST, netns_path_name
from reconciler.state.steps import lanes
from reconciler.state.steps.addresses import (
    AddressAdd,
    AddressDelete,
    Announce,
    FdbAdd,
    FdbDelete,
    NeighborAdd,
    NeighborDelete,
    PeerAddressDelete,
    RouteAdd,
    RouteDelete,
    StrayRouteAdd,
    StrayRouteDelete,
)
from reconciler.state.steps.firewall import ConntrackFlush, IptablesAdd, IptablesDelete, NftCommand
from reconciler.state.steps.links import (
    AltnameAdd,
    AltnameDelete,
    BridgePortSet,
    LinkAdd,
    LinkDelete,
    LinkRename,
    LinkSet,
    QdiscDelete,
    QdiscSet,
)
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class Place:
    """How command lines reach the namespaces of one host.

    `host_key` is what the host is called in labels and under /run/netctl: `local`, or `shop.lab.alpha`. `own` is the file
    name under /run/netns of the host's own namespace, "" where that is the machine's. `engines` maps a container that an
    engine runs to the engine's command and the container's name there, such as (("docker",), "shop-web").
    """

    topology: str
    host_key: str
    own: str = ""
    engines: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    openvswitch: str = ""
    """Where the host's Open vSwitch database listens, where that is not the usual place."""

    def netns_word(self, netns: str) -> str:
        """What `ip netns` and `peer … netns` call the namespace: a name, or an engine container's pid; "" for the machine's."""
        if netns == HOST:
            return self.own
        scope, _, member = netns.partition(":")
        if scope == "container" and member in self.engines:
            command, name = self.engines[member]
            return f"$({join(pid_words(command, name))})"
        return netns_path_name(self.topology, netns)

    def tool(self, netns: str, *words: str) -> str:
        """The command line that runs `words` in the namespace."""
        name = self.netns_word(netns)
        if not name:
            return join(words)
        if name.startswith("$("):
            return f"nsenter -t {name} -n {join(words)}"
        if words[0] in ("ip", "bridge"):  # they can enter it themselves, which is quicker
            return join([words[0], "-n", name, *words[1:]])
        return join(["nsenter", f"--net=/run/netns/{name}", *words])


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the script: steps of one host, in runs. The nft steps of a run are one transaction."""

    title: str
    place: Place
    runs: tuple[tuple[Step, ...], ...]
    through: str = ""
    """The command line of a shell on another machine; "" for this one's."""


def render_script(title: str, sections: Sequence[Section], refusal: str = "") -> str:
    """The whole script, ready for `sh`. With a `refusal` it is to be read only: it says that and ends with 1."""
    needs = "Needs root, iproute2 and nftables. Stops at the first command that fails."
    lines = ["#!/bin/sh", comment(title), comment(needs), "set -eu"]
    lines += [f"{join(['echo', refusal])} >&2", "exit 1"] if refusal else []
    for section in sections:
        if not section.runs:
            continue
        lines += ["", comment(section.title)]
        body = [*sysctl_functions((step for run in section.runs for step in run), section.place)]
        body += [line for run in section.runs for line in render_run(run, section.place)]
        # The shell there reads the steps as they stand here: nothing is quoted twice.
        lines += here_document(section.through, "\n".join(["set -eu", *body]), "THERE") if section.through else body
    return "\n".join(lines) + "\n"


def render_run(steps: Iterable[Step], place: Place) -> Iterator[str]:
    """The command lines of the steps, in order; nft steps that follow each other in one namespace become one `nft -f`."""
    texts: list[str] = []
    netns = HOST
    for step in steps:
        if texts and not (isinstance(step, NftCommand) and step.netns == netns):
            yield from _nft_lines(netns, texts, place)
            texts = []
        if isinstance(step, NftCommand):
            netns = step.netns
            texts.append(step.text)
        else:
            yield from render_step(step, place)
    if texts:
        yield from _nft_lines(netns, texts, place)


def render_step(step: Step, place: Place) -> Iterator[str]:
    """The command lines of one step. Raises TypeError for a class of step that has no command line."""
    match step.lane:
        case lanes.NETNS:
            yield from _netns_lines(step, place)
        case lanes.NETLINK:
            yield from _netlink_lines(step, place)
        case lanes.NFT if isinstance(step, NftCommand):
            yield from _nft_lines(step.netns, [step.text], place)
        case lanes.SYSCTL:
            yield from sysctl_lines(step, place)
        case lanes.RUNTIME:
            yield from engine_lines(step, place.topology, place.host_key, place.engines)
        case lanes.PROCESS:
            yield from process_lines(step, place.topology)
        case lanes.DHCP:
            yield from dhcp_lines(step, place)
        case lanes.UPLINK:
            yield from uplink_lines(step, place)
        case lanes.OVSDB | lanes.OPENFLOW | lanes.ETHTOOL:
            yield from switch_lines(step, place)
        case lanes.ANNOUNCE if isinstance(step, Announce):
            at = step.mac or step.dev
            yield comment(f"apply also announces that {step.address} is at {at} now (gratuitous ARP, or its like of IPv6)")
        case lanes.IPTABLES | lanes.CONNTRACK:
            yield from _filter_lines(step, place)
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")


def _netns_lines(step: Step, place: Place) -> Iterator[str]:
    name = place.netns_word(step.netns)
    match step:
        case NetnsAdd():
            yield join(["ip", "netns", "add", name])
            settings = (f"{key.replace('/', '.')}={value}" for key, value in (PROMPT if step.ipv6 else SILENT))
            yield place.tool(step.netns, "sysctl", "-qw", *settings)
            # Whose it is: the hosts of a lab share /run/netns.
            owner = str(Alias(place.topology, "host", place.host_key))
            yield place.tool(step.netns, "ip", "link", "set", "dev", "lo", "up", "alias", owner)
        case NetnsDelete():
            yield join(["ip", "netns", "delete", name])
            scope, _, container = step.netns.partition(":")
            if scope == "container":
                logs = f"/run/netctl/{place.topology}"
                yield f"rm -f {quote(f'{logs}/{container}.log')}; rmdir {quote(logs)} 2>/dev/null || true"
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")


def _netlink_lines(step: Step, place: Place) -> Iterator[str]:
    match step:
        case LinkAdd():
            yield _link_add(step, place)
        case LinkSet() | LinkRename():
            yield from _link_set(step, place)
        case AltnameAdd() | AltnameDelete():
            verb = "add" if isinstance(step, AltnameAdd) else "delete"
            yield place.tool(step.netns, "ip", "link", "property", verb, "dev", step.name, "altname", step.altname)
        case BridgePortSet():
            # bridge(8) has no word for `group_fwd_mask`.
            yield place.tool(step.netns, "ip", "link", "set", "dev", step.name, "type", "bridge_slave", *_flat(step.options))
        case LinkDelete():
            yield place.tool(step.netns, "ip", "link", "delete", "dev", step.name)
        case AddressAdd() | AddressDelete() | PeerAddressDelete():
            yield _address(step, place)
        case StrayRouteAdd() | StrayRouteDelete():
            yield _stray_route(step, place)
        case RouteAdd() | RouteDelete():
            yield _route(step, place)
        case NeighborAdd() | NeighborDelete():
            yield _neighbor(step, place)
        case QdiscSet() | QdiscDelete():
            yield _qdisc(step, place)
        case FdbAdd() | FdbDelete():
            verb = "append" if isinstance(step, FdbAdd) else "delete"
            sticky = ["sticky"] if isinstance(step, FdbAdd) else []
            where = ["dst", step.remote, "self", "permanent"] if step.remote else ["master", "static", *sticky]
            yield place.tool(step.netns, "bridge", "fdb", verb, step.mac, "dev", step.dev, *where)
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")


def _address(step: AddressAdd | AddressDelete | PeerAddressDelete, place: Place) -> str:
    if isinstance(step, PeerAddressDelete):
        own, _, length = step.cidr.partition("/")
        return place.tool(step.netns, "ip", "address", "delete", own, "peer", f"{step.peer}/{length}", "dev", step.dev)
    if isinstance(step, AddressDelete):
        return place.tool(step.netns, "ip", "address", "delete", step.cidr, "dev", step.dev)
    flags = ["noprefixroute", "nodad"] if ":" in step.cidr else ["noprefixroute"]
    # Without the word, ip sets no broadcast address; /31 and /32 have none.
    broadcast = ["broadcast", "+"] if ":" not in step.cidr and ip_interface(step.cidr).network.prefixlen < 31 else []
    return place.tool(step.netns, "ip", "address", "add", step.cidr, *broadcast, "dev", step.dev, *flags)


def _qdisc(step: QdiscSet | QdiscDelete, place: Place) -> str:
    if isinstance(step, QdiscDelete):
        return place.tool(step.netns, "tc", "qdisc", "delete", "dev", step.dev, "root")
    rate = ("rate", f"{step.rate_bytes * 8}bit", "burst", str(step.burst_bytes), "limit", str(step.limit_bytes))
    return place.tool(step.netns, "tc", "qdisc", "replace", "dev", step.dev, "root", "handle", "4e43:", "tbf", *rate)


def _link_add(step: LinkAdd, place: Place) -> str:
    words = ["ip", "link", "add", "dev", step.name]
    words += ["address", step.mac] if step.mac else []
    words += ["mtu", str(step.mtu)] if step.mtu else []
    words += ["group", str(step.group)] if step.group else []
    words += ["master", step.master] if step.master else []
    words += ["up"] if step.up else []
    # The one option that ip(8) has two words for.
    words += ["type", step.kind, *_flat(step.options)]
    if words[-2:] == ["learning", "off"]:
        words[-2:] = ["nolearning"]
    if step.kind == "macvlan":
        return _macvlan_add(step, place)
    if step.peer is None:
        return place.tool(step.netns, *words)
    peer = ["peer", "name", step.peer.name]
    peer += ["address", step.peer.mac] if step.peer.mac else []
    peer += ["mtu", str(step.peer.mtu)] if step.peer.mtu else []
    line = place.tool(step.netns, *words, *peer)
    if step.peer.netns == step.netns:
        return line
    # The machine's own namespace has no name; pid 1 lives in it.
    far = place.netns_word(step.peer.netns) or "1"
    return f"{line} netns {far if far.startswith('$(') else quote(far)}"


def _macvlan_add(step: LinkAdd, place: Place) -> str:
    """Made beside the link below, and born in the namespace of its container."""
    options = dict(step.options)
    words = ["ip", "link", "add", "link", options.pop("link", ""), "name", step.name]
    words += ["address", step.mac] if step.mac else []
    words += ["mtu", str(step.mtu)] if step.mtu else []
    words += ["group", str(step.group)] if step.group else []
    line = place.tool(step.netns, *words)
    if step.peer:
        far = place.netns_word(step.peer.netns) or "1"
        line += f" netns {far if far.startswith('$(') else quote(far)}"
    return f"{line} type macvlan {join(_flat(options.items()))}"


def _link_set(step: LinkSet | LinkRename, place: Place) -> Iterator[str]:
    head = ["ip", "link", "set", "dev", step.name]
    if isinstance(step, LinkRename):
        yield place.tool(step.netns, *head, "name", FREE_NAME)
        return
    if step.link_local is not None:  # on its own and first: it must hold before the link is up
        yield place.tool(step.netns, *head, "addrgenmode", "eui64" if step.link_local else "none")
    words: list[str] = []
    words += ["address", step.mac] if step.mac else []
    words += ["mtu", str(step.mtu)] if step.mtu is not None else []
    words += ["group", str(step.group)] if step.group is not None else []
    words += ["nomaster"] if step.master == "-" else ["master", step.master] if step.master else []
    words += ["alias", step.alias] if step.alias is not None else []
    words += [] if step.arp is None else ["arp", "on" if step.arp else "off"]
    words += [] if step.up is None else ["up" if step.up else "down"]
    if words:
        yield place.tool(step.netns, *head, *words)


def _route(step: RouteAdd | RouteDelete, place: Place) -> str:
    verb = "add" if isinstance(step, RouteAdd) else "delete"
    words = ["ip", f"-{step.family}", "route", verb, step.dst]
    words += ["via", step.via] if step.via else []
    words += ["dev", step.dev, "proto", str(ROUTE_PROTOCOL)]
    words += ["src", step.src] if step.src else []
    words += ["metric", str(step.metric)] if step.metric else []
    name = place.netns_word(step.netns)
    if not name or name.startswith("$("):
        return place.tool(step.netns, *words)
    return join(["ip", "-n", name, *words[1:]])


def _stray_route(step: StrayRouteAdd | StrayRouteDelete, place: Place) -> str:
    form = step.form if isinstance(step, StrayRouteDelete) else ""
    sort = [form] if form and form in ROUTE_TYPES else []
    words = ["ip", f"-{step.family}", "route", "add" if isinstance(step, StrayRouteAdd) else "delete", *sort, step.dst]
    if isinstance(step, StrayRouteDelete) and step.via and not form:
        words += ["via", step.via]
    words += ["dev", step.dev] if step.dev and not form else []
    words += ["nhid", str(step.nexthop)] if isinstance(step, StrayRouteDelete) and step.nexthop else []
    words += ["proto", str(step.protocol)]
    words += ["metric", str(step.metric)] if step.metric else []
    name = place.netns_word(step.netns)
    if not name or name.startswith("$("):
        return place.tool(step.netns, *words)
    return join(["ip", "-n", name, *words[1:]])


def _neighbor(step: NeighborAdd | NeighborDelete, place: Place) -> str:
    verb = "replace" if isinstance(step, NeighborAdd) else "delete"
    words = ["ip", "neighbor", verb]
    words += ["proxy", step.address] if step.proxy else [step.address]
    if isinstance(step, NeighborAdd) and step.mac:
        words += ["lladdr", step.mac, "nud", "permanent"]
    words += ["dev", step.dev]
    if isinstance(step, NeighborAdd):
        words += ["protocol", str(ROUTE_PROTOCOL)]
    return place.tool(step.netns, *words)


def _nft_lines(netns: str, texts: Sequence[str], place: Place) -> Iterator[str]:
    text = "\n".join(text.rstrip("\n") for text in texts)
    yield from here_document(place.tool(netns, "nft", "-f", "-"), text, "EOF")


def _filter_lines(step: Step, place: Place) -> Iterator[str]:
    match step:
        case IptablesAdd() | IptablesDelete():
            head = (step.command, "-w", "5", "-t", step.table)
            tail = (step.chain, *step.rule)
            if isinstance(step, IptablesDelete):
                yield place.tool(step.netns, *head, "-D", *tail)
                return
            there = place.tool(step.netns, *head, "-C", *tail)
            yield f"{there} 2>/dev/null || {place.tool(step.netns, *head, '-I', *tail)}"
        case ConntrackFlush():
            words = ("conntrack", "-D", "-p", step.protocol, "--orig-port-dst", str(step.port))
            # It fails where there is no such connection, which is as good.
            yield f"{place.tool(step.netns, *words)} 2>/dev/null || true"
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")


def _flat(options: Iterable[tuple[str, str]]) -> list[str]:
    return [word for option in options for word in option]
