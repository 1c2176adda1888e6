"""The chains of netctl's tables, as text: constant programs over the sets of `kinds.firewall.program`.

The `inet` table decides what is routed and translated; the `bridge` table decides what a port may send. The `arp` table
and the chain `door` of `inet` protect the host's own stack from packets that arrive at a port. Frames to link-local
groups arrive there past the bridge and its hooks. The `netdev` table is the fast path of a subnet over several hosts.
All traffic within a subnet is allowed, so it needs neither the host's firewalls nor its connection tracking. The table
forwards such packets at ingress, from interface to interface. It checks the sender; unknown packets take the slow path.
See docs/how-it-works.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.kinds.firewall.memory import ANSWERS, MEMORY, OPENED
from reconciler.kinds.firewall.port_blocks import SOURCE_PORT_BLOCKS, WHOLE_RANGE, PortBlock
from reconciler.kinds.firewall.port_chains import ARP, BRIDGE, NETDEV
from reconciler.kinds.links import PORTS, TUNNELS

FORWARD_MARK = 0x00001000
"""The bit that netctl's forward chain sets on packets it allows. The rule in DOCKER-USER accepts it.

That rule is `kinds.firewall.docker_user`. No other program's marks use this bit in a host's forward path:
docs/decisions/0007 lists the bits of other programs.
"""

SOURCE_PORT_CHAINS = tuple(block.chain for block in SOURCE_PORT_BLOCKS)

_INET = """\
MEMORY\tchain door {
\t\ttype filter hook prerouting priority -450; policy accept;
\t\tmeta iifgroup & 0x7fffffff == GROUP meta iifkind != "bridge" meta iifkind PORT_LINKS drop
\t}
\tchain guard {
\t\ttype filter hook prerouting priority -300; policy accept;
TUNNEL_ALIKE\t\tiif "lo" return
\t\tip daddr 127.0.0.0/8 drop
\t\tip saddr 127.0.0.0/8 drop
\t\tiifname @bridges return
\t\tiifname @switched drop
\t\tiifname . ether saddr . ip saddr @neighbours4 return
\t\tiifname . ether saddr . ip6 saddr @neighbours6 return
\t\tip saddr @local4 drop
\t\tip6 saddr @local6 drop
\t\tip daddr @guarded4 drop
\t\tip6 daddr @guarded6 drop
\t}
\tchain underlay {
TUNNEL_RECEIVED\t\tfib daddr type { local, broadcast, anycast, multicast } drop
\t\tip saddr @peers4 fib saddr . iif oif exists return
\t\tip6 saddr @peers6 fib saddr . iif oif exists return
\t\tip daddr @peers4 drop
\t\tip6 daddr @peers6 drop
\t}
\tchain sending {
\t\ttype filter hook output priority -300; policy accept;
TUNNEL_SENT\t\tmeta l4proto icmp oifname @bridges jump redirects
\t\tmeta l4proto icmpv6 oifname @bridges jump redirects
\t}
\tchain redirects {
\t\ticmp type redirect drop
\t\ticmpv6 type nd-redirect drop
\t}
\tchain sent {
\t\ttype filter hook output priority 0; policy accept;
\t\tmeta skuid != 0 jump users
\t}
\tchain users {
\t\toifname @bridges meta mark set meta mark | FORWARD_MARK
\t\tct status dnat meta mark set meta mark | FORWARD_MARK
TUNNEL_FORGED\t}
\tchain arriving {
\t\ttype nat hook prerouting priority -100; policy accept;
\t\tiifname . ether saddr @connections drop
\t\tiifname @bridges meta l4proto tcp update @openers { iifname . ether saddr limit rate over OPENED } ct timeout set "brief"
\t\tiifname @bridges meta l4proto { tcp, udp } th dport 53 ip daddr @resolvers4 goto names
\t\tiifname @bridges meta l4proto { tcp, udp } th dport 53 ip6 daddr @resolvers6 goto names
\t\tfib daddr type local jump publish
\t}
\tchain names {
\t\tmeta l4proto { tcp, udp } redirect to :ip saddr map @dns_views4
\t\tmeta l4proto { tcp, udp } redirect to :ip6 saddr map @dns_views6
\t}
\tchain leaving_host {
\t\ttype nat hook output priority -100; policy accept;
\t\tip6 daddr ::1 return
\t\tfib daddr type local jump publish
\t}
\tchain publish {
\t\tmeta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . ip daddr . th dport map @published_at4
\t\tmeta l4proto { tcp, udp, sctp } dnat ip6 to meta l4proto . ip6 daddr . th dport map @published_at6
\t\tmeta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . ip daddr . th dport . ip saddr map @published_from4
\t\tmeta l4proto { tcp, udp, sctp } dnat ip6 to meta l4proto . ip6 daddr . th dport . ip6 saddr map @published_from6
\t\tmeta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . th dport map @published4
\t\tmeta l4proto { tcp, udp, sctp } dnat ip6 to meta l4proto . th dport map @published6
\t}
\tchain input {
\t\ttype filter hook input priority -10; policy accept;
\t\tmeta l4proto icmp iifname @bridges jump messages
\t\tmeta l4proto icmpv6 iifname @bridges jump messages
\t\tiifname @bridges meta l4proto { tcp, udp } th dport @dns_ports ct status & REDIRECTED == 0 drop
\t}
\tchain messages {
\t\ticmp type ERRORS4 goto errors
\t\ticmpv6 type ERRORS6 goto errors
\t}
\tchain errors {
\t\tct state related goto related
\t\tdrop
\t}
\tchain forward {
\t\ttype filter hook forward priority -10; policy accept;
\t\tiifname . oifname @same_bridge goto marked
\t\tiifname @bridges goto ours
\t\toifname @bridges goto ours
\t\tct status dnat ip daddr @own4 goto ours
\t\tct status dnat ip saddr @own4 goto ours
\t\tct status dnat ip6 daddr @own6 goto ours
\t\tct status dnat ip6 saddr @own6 goto ours
\t}
\tchain ours {
\t\tct state != established iifname @bridges oifname != @bridges jump asking
\t\tct state related goto related
\t\tiifname @bridges ct state invalid icmp type ERRORS4 drop
\t\tiifname @bridges ct state invalid icmpv6 type ERRORS6 drop
\t\tct direction reply ct state established goto reply
\t\tct direction original ct status dnat oifname @bridges goto pass
\t\tct direction original ct status dnat ip daddr @own4 goto pass
\t\tct direction original ct status dnat ip6 daddr @own6 goto pass
\t\tip saddr . ip daddr @allowed4 goto pass
\t\tip6 saddr . ip6 daddr @allowed6 goto pass
\t\tip saddr . ip daddr . meta l4proto . th dport @allowed_ports4 goto pass
\t\tip6 saddr . ip6 daddr . meta l4proto . th dport @allowed_ports6 goto pass
\t\tip saddr @own4 ip daddr @own4 goto refuse
\t\tip6 saddr @own6 ip6 daddr @own6 goto refuse
\t\tiifname @bridges oifname @bridges goto refuse
\t\tip saddr @guarded4 ip saddr != @natted4 goto refuse
\t\tip6 saddr @guarded6 ip6 saddr != @natted6 goto refuse
\t\tip saddr @natted4 ct state { invalid, untracked } drop
\t\tip6 saddr @natted6 ct state { invalid, untracked } drop
\t\tct status & TRANSLATED == UNTRANSLATED jump bridged
\t\tiifname @nat_bridges goto pass
\t\tiifname @routed_bridges goto pass
\t\toifname @routed_bridges goto pass
\t\tiifname @bridges goto outbound
\t\tgoto refuse
\t}
\tchain bridged {
\t\tip saddr @natted4 drop
\t\tip6 saddr @natted6 drop
\t}
\tchain asking {
\t\tmeta oiftype != RESOLVING return
\t\trt ip nexthop @known4 return
\t\trt ip6 nexthop @known6 return
\t\tip daddr @known4 add @known4 { rt ip nexthop timeout 1m } return
\t\tip6 daddr @known6 add @known6 { rt ip6 nexthop timeout 1m } return
\t\tupdate @askers { iifname . ether saddr limit rate over 20/second burst 50 packets } drop
\t\tlimit rate over 50/second burst 200 packets drop
\t\tadd @known4 { rt ip nexthop }
\t\tadd @known6 { rt ip6 nexthop }
\t}
\tchain reply {
\t\tct status assured goto pass
\t\tiifname @bridges goto pass
\t\tlimit rate over ANSWERS goto pass
\t\tupdate @known4 { ip saddr timeout 1m }
\t\tupdate @known6 { ip6 saddr timeout 1m }
\t\tgoto pass
\t}
\tchain related {
\t\tiifname != @bridges goto pass
\t\tip saddr @gateways4 goto pass
\t\tip6 saddr @gateways6 goto pass
\t\tip saddr . ct original ip saddr @endpoints4 goto pass
\t\tip saddr . ct reply ip saddr @endpoints4 goto pass
\t\tip6 saddr . ct original ip6 saddr @endpoints6 goto pass
\t\tip6 saddr . ct reply ip6 saddr @endpoints6 goto pass
\t\tdrop
\t}
\tchain outbound {
\t\tip saddr @outbound4 goto pass
\t\tip6 saddr @outbound6 goto pass
\t\tip saddr . meta l4proto . th dport @outbound_ports4 goto pass
\t\tip6 saddr . meta l4proto . th dport @outbound_ports6 goto pass
\t\tgoto refuse
\t}
\tchain pass {
\t\toifname != @bridges oifname != @uplinks meta oifkind OTHERS_KINDS accept
\t\tiifname != @bridges iifname != @uplinks meta iifkind OTHERS_KINDS accept
\t\tgoto marked
\t}
\tchain marked {
\t\tmeta mark set meta mark | FORWARD_MARK accept
\t}
\tchain refuse {
\t\tupdate @refused { iifname . oifname }
\t\tmeta l4proto tcp ct state established drop
\t\tmeta l4proto tcp reject with tcp reset
\t\treject with icmpx admin-prohibited
\t}
\tchain leaving {
\t\ttype nat hook postrouting priority 100; policy accept;
\t\tPORTED ct status dnat snat ip to ip daddr map @returns4 : WHOLE_RANGE
\t\tPORTED ct status dnat snat ip6 to ip6 daddr map @returns6 : WHOLE_RANGE
\t\tip saddr 127.0.0.0/8 oifname @bridges goto hide
\t\tip saddr @own4 oifname @bridges ct status dnat goto hide
\t\tip6 saddr @own6 oifname @bridges ct status dnat goto hide
\t\tct status dnat ip daddr . ip saddr @lan_clients4 goto hide
\t\tct status dnat ip6 daddr . ip6 saddr @lan_clients6 goto hide
\t\toifname @bridges return
\t\tip saddr @natted4 ip daddr != @own4 goto hide
\t\tip6 saddr @natted6 ip6 daddr != @own6 goto hide
\t\tip saddr @local4 ip daddr @peers4 goto hide
\t\tip6 saddr @local6 ip6 daddr @peers6 goto hide
\t}
\tchain hide {
\t\tPORTED th sport vmap @source_ports
\t\tmasquerade
\t}
SOURCE_PORT_CHAINS"""

TRANSLATED, UNTRANSLATED = "0x18", "0x8"
"""Bits of a connection's status: `confirmed` and `snat` (IPS_CONFIRMED, IPS_SRC_NAT), and `confirmed` alone.

br_netfilter shows bridged packets to connection tracking. A connection that began between two ports of a bridge is
confirmed then, and stays without masquerading.
"""
REDIRECTED = "0x20"
"""The bit of a connection with a translated destination (IPS_DST_NAT)."""
RESOLVING = "{ 1, 32 }"
"""Hardware types of links on which a next hop is resolved: Ethernet and InfiniBand (ARPHRD_, linux/if_arp.h)."""
PORTED = "meta l4proto { tcp, udp, sctp }"
"""Protocols with ports that NAT can translate."""
OTHERS_KINDS = '{ "bridge", "openvswitch", "veth" }'
"""Kinds of links that lead to containers of other programs."""
ERRORS4 = "{ destination-unreachable, source-quench, time-exceeded, parameter-problem }"
ERRORS6 = "{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }"
"""Messages about other packets (RFC 792, RFC 4443): the kernel accepts them also without a matching connection."""
PORT_LINKS = "{ " + ", ".join(f'"{kind.kind}"' for kind in PORTS) + " }"
"""Kinds of the topology's links that are ports of its bridges."""


def render_chains(family: str, group: int) -> str:
    """The chains of a family's table; `group` is the mark of the topology's links."""
    values = {
        "TUNNEL_ALIKE": _lines(f"{alike} jump underlay" for each in _ENCAPSULATIONS for alike in each.alike),
        "TUNNEL_RECEIVED": _lines(
            f"{known} fib saddr . iif oif exists notrack accept" for each in _ENCAPSULATIONS for known in each.received
        ),
        "TUNNEL_SENT": _lines(f"{known} notrack accept" for each in _ENCAPSULATIONS for known in each.sent),
        "TUNNEL_FORGED": _lines(f"meta mark & FORWARD_MARK == 0 {known} drop" for each in _ENCAPSULATIONS for known in each.sent),
        "FORWARD_MARK": f"{FORWARD_MARK:#010x}",
        "SOURCE_PORT_CHAINS": "".join(_render_block(block) for block in SOURCE_PORT_BLOCKS),
        "WHOLE_RANGE": f"{WHOLE_RANGE.first}-{WHOLE_RANGE.last}",
        "MEMORY": MEMORY,
        "ANSWERS": ANSWERS,
        "OPENED": OPENED,
        "RESOLVING": RESOLVING,
        "OTHERS_KINDS": OTHERS_KINDS,
        "PORT_LINKS": PORT_LINKS,
        "PORTED": PORTED,
        "REDIRECTED": REDIRECTED,
        "UNTRANSLATED": UNTRANSLATED,
        "TRANSLATED": TRANSLATED,
        "ERRORS4": ERRORS4,
        "ERRORS6": ERRORS6,
        "GROUP": str(group),
    }
    text = {"inet": _INET, "bridge": BRIDGE, "arp": ARP, "netdev": NETDEV}[family]
    for word, value in values.items():
        text = text.replace(word, value)
    return text


_ENCAPSULATIONS = tuple(kind.encapsulation for kind in TUNNELS)


def _lines(rules: Iterable[str]) -> str:
    return "".join(f"\t\t{rule}\n" for rule in rules)


def _render_block(block: PortBlock) -> str:
    return f"\tchain {block.chain} {{\n\t\t{PORTED} masquerade to :{block.first}-{block.last}\n\t}}\n"
