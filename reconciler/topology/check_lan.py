"""Rules about subnets that are a LAN (`mode: direct` and `macvlan`): which keys have an effect there.

They need a topology that is otherwise valid, because the hosts of a subnet follow from the whole file (`host_subnets`).
`compile.lan` checks what depends on the hosts themselves, such as whether the uplink exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

from reconciler.topology.faults import FaultList
from reconciler.topology.host_subnets import host_subnets_of
from reconciler.topology.types import Attachment, Container, Host, Party, Path, Subnet, Topology

HostsOfSubnets = Mapping[str, tuple[str, ...]]


def check_lan(topology: Topology, faults: FaultList) -> None:
    """Every rule about LANs, and about the keys that only they have."""
    host_subnets = host_subnets_of(topology)
    for subnet in topology.subnets.values():
        _check_keys(subnet, faults)
        if subnet.is_lan:
            for host in host_subnets[subnet.name]:
                _check_lab(topology.hosts[host], subnet, faults)
    _check_uplinks(topology, host_subnets, faults)
    for container in topology.containers.values():
        for attachment in container.attachments:
            _check_attachment(topology, container, attachment, faults)
        _check_ports(topology, container, faults)
    _check_policies(topology, faults)


def _check_keys(subnet: Subnet, faults: FaultList) -> None:
    here: Path = ("subnets", subnet.name)
    if subnet.uplink and not subnet.is_lan:
        what = f"`uplink` has no effect on `{subnet.name}`, whose mode is {subnet.mode}"
        faults.add_at_key((*here, "uplink"), what, "remove it, or write `mode: direct` or `macvlan`")
    if subnet.existing_bridge and subnet.mode != "direct":
        what = f"cannot use an existing bridge for `{subnet.name}`: mode {subnet.mode} needs a bridge that netctl creates"
        faults.add_at_key((*here, "bridge"), what, "write `mode: direct`, or leave `bridge` out")
    if subnet.existing_bridge and subnet.uplink:
        what = f"`uplink` has no effect on `{subnet.name}`: its bridge {subnet.existing_bridge} is used as it is"
        faults.add_at_key((*here, "uplink"), what, "remove `uplink`, or `bridge`")
    if subnet.macvlan != "bridge" and subnet.mode != "macvlan":
        what = f"`type` has no effect on `{subnet.name}`, whose mode is {subnet.mode}"
        faults.add_at_key((*here, "type"), what, "remove it, or write `mode: macvlan`")
    if subnet.bridge != "linux" and subnet.mode == "macvlan":
        what = f"`{subnet.name}` of mode macvlan has no bridge: a macvlan is a switch of its own, in the uplink itself"
        faults.add((*here, "bridge"), what, "leave `bridge` out, or write `mode: direct`")
    if subnet.datapath and subnet.bridge != "openvswitch":
        what = f"`datapath` has no effect on `{subnet.name}`, whose bridge is Linux's"
        faults.add_at_key((*here, "datapath"), what, "remove it, or write `bridge: openvswitch`")
    if subnet.hairpin and subnet.bridge == "openvswitch":
        what = f"`hairpin` has no effect on `{subnet.name}`: Open vSwitch sends no frame back by the port that it came from"
        faults.add_at_key((*here, "hairpin"), what, "remove it; a published port is reached by its own container all the same")
    if subnet.hairpin and subnet.mode == "macvlan":
        what = f"`hairpin` has no effect on `{subnet.name}`: a macvlan has no bridge"
        faults.add_at_key((*here, "hairpin"), what, "remove it")


def _check_lab(host: Host, subnet: Subnet, faults: FaultList) -> None:
    """The lab has no LAN but its segments, and a host's uplink is on the one of its addresses."""
    if host.connect.scheme != "lab":
        return
    if subnet.bridge == "openvswitch" and subnet.mode == "direct":
        what = f"cannot put the uplink of the lab host `{host.name}` on Open vSwitch"
        why = f"{what}: the uplink is a veth, and its packets have no checksums"
        faults.add(("subnets", subnet.name, "bridge"), why, "remove `bridge`, or use a host that is not a lab host")
    lengths = {4: 24, 6: 64}
    segments = {a.version: ip_network((a, lengths[a.version]), strict=False) for a in host.addresses}
    for number, cidr in enumerate(subnet.cidrs):
        segment = segments.get(cidr.version)
        if segment != cidr:
            message = f"{cidr} is not the LAN of the lab host `{host.name}`" + (f", which is {segment}" if segment else "")
            faults.add(("subnets", subnet.name, "cidr", number), message, f"write {segment}" if segment else "remove the range")


def _check_uplinks(topology: Topology, host_subnets: HostsOfSubnets, faults: FaultList) -> None:
    """An uplink can be in one bridge, and a link in a bridge can carry no macvlan."""
    taken: dict[tuple[str, str], str] = {}
    for subnet in topology.subnets.values():
        if not subnet.is_lan or subnet.existing_bridge:
            continue
        for host in host_subnets[subnet.name]:
            uplink = subnet.uplink or topology.hosts[host].uplink
            key = (host, uplink)
            other = topology.subnets[taken.setdefault(key, subnet.name)]
            both_macvlans = {other.mode, subnet.mode} == {"macvlan"} and "passthru" not in (other.macvlan, subnet.macvlan)
            if other is subnet or both_macvlans:
                continue
            which = f"the uplink {uplink}" if uplink else "the uplink"
            path: Path = ("subnets", subnet.name)
            message = f"{which} of `{host}` serves `{other.name}` already, line {faults.line(('subnets', other.name))}"
            faults.add_at_key(path, message, "put the containers of both into one subnet, or name another `uplink`")


def _check_attachment(topology: Topology, container: Container, attachment: Attachment, faults: FaultList) -> None:
    subnet = topology.subnets[attachment.subnet]
    path: Path = ("containers", container.origin, "networks", subnet.name)
    if attachment.dhcp and attachment.addresses:
        faults.add((*path, "dhcp"), "cannot use both a fixed address and `dhcp`", "remove one of the two")
    if attachment.dhcp and not subnet.is_lan:
        help_text = "write `auto`: netctl chooses an address and keeps it"
        faults.add(path, f"cannot use `dhcp` in `{subnet.name}`: a subnet of mode {subnet.mode} has no DHCP server", help_text)
    if subnet.is_lan and not attachment.addresses and not attachment.dhcp:
        message = f"cannot choose an address in `{subnet.name}`: netctl does not know which addresses of a LAN are free"
        faults.add(path, message, "write an address that no other machine has, or `dhcp`")
    for number, address in enumerate(attachment.addresses if subnet.is_lan else ()):
        holder = next((host.name for host in topology.hosts.values() if address in host.addresses), "")
        router = any(address in addresses for addresses in subnet.gateways.values())
        if holder or router:
            what = f"the host `{holder}`" if holder else "the gateway"
            help_text = "write an address that no other machine on the LAN has"
            faults.add((*path, "address", number), f"{address} is the address of {what}", help_text)
    if subnet.macvlan == "passthru":
        _check_passthru(topology, container, attachment, path, faults)
    if subnet.mode == "macvlan":
        for key, is_given in (("allow", attachment.allow), ("hairpin", attachment.hairpin), ("isolated", attachment.isolated)):
            if is_given:
                message = f"`{key}` has no effect in `{subnet.name}`: a macvlan bypasses the host's bridges and filters"
                faults.add_at_key((*path, key), message, "remove it, or write `mode: direct`")


def _check_passthru(topology: Topology, container: Container, attachment: Attachment, path: Path, faults: FaultList) -> None:
    """One container has the uplink to itself, hardware address included."""
    if attachment.mac:
        message = f"`mac` has no effect in `{attachment.subnet}`: with type passthru the interface has the uplink's"
        faults.add_at_key((*path, "mac"), message, "remove it, or write another `type`")
    others = (
        each.name
        for each in topology.containers.values()
        if each.host == container.host and any(a.subnet == attachment.subnet for a in each.attachments)
    )
    first = next(others)
    if first != container.name:
        message = f"`{first}` has the uplink of `{container.host}` to itself: `{attachment.subnet}` is of type passthru"
        faults.add(path, message, "write another `type`, or give each its own uplink in a subnet of its own")


def _check_ports(topology: Topology, container: Container, faults: FaultList) -> None:
    for publication in container.publications:
        subnet = topology.subnets[publication.subnet]
        if subnet.is_lan:
            others = [a.subnet for a in container.attachments if topology.subnets[a.subnet].mode in ("nat", "routed")]
            message = f"cannot publish a port in `{subnet.name}`: machines on a LAN reach `{container.name}` at its own address"
            help_text = f"write `network: {others[0]}` in the long form, or remove it" if others else "remove it"
            faults.add(publication.path, message, help_text)


def _check_policies(topology: Topology, faults: FaultList) -> None:
    """Traffic between machines of a LAN is not filtered, so a policy cannot allow it either."""
    subnets_of: dict[Party, set[str]] = {Party("subnet", name): {name} for name in topology.subnets}
    for container in topology.containers.values():
        subnets_of.setdefault(Party("container", container.origin), set()).update(a.subnet for a in container.attachments)
    for number, policy in enumerate(topology.policies):
        for key, party in (("allow", policy.source), ("to", policy.target)):
            subnets = subnets_of.get(party, set())
            if subnets and all(topology.subnets[name].is_lan for name in subnets):
                message = f"cannot apply a policy to `{party.name}`: netctl filters nothing between machines of a LAN"
                faults.add(("policies", number, key), message, "write `outside`: to other subnets it is a machine of the LAN")
