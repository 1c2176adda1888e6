"""The chains at ports, as text: what a container may send, and the fast path. `kinds.firewall.chains` has those of the host.

A packet that no rule here concerns must cost little. The first look-up selects the chain of the port. Comparisons of the
protocol follow, which cost less than a look-up. docs/decisions/0084 and 0115 have the measurements.

Of IGMP, only reports pass (0x12, 0x16, 0x17, 0x22: RFC 1112, 2236, 3376). All other types belong to routers: queries,
DVMRP, PIM of version 1, discovery. A switch learns its routers from them (RFC 4541, 2.1.1).
"""

from __future__ import annotations

PORT, PORT_ISOLATED = "port", "port_isolated"
"""The chains for packets that come in by a container's port; the second is for isolated ports."""

BRIDGE = """\
\tchain arriving {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tiifname vmap @ports
\t}
\tchain host {
\t\ttype filter hook input priority -300; policy accept;
\t\tether daddr 01:80:c2:00:00:00-01:80:c2:00:00:0f iifname vmap @ports
\t}
\tchain crossing {
\t\ttype filter hook forward priority -300; policy accept;
\t\tmeta pkttype != other ether saddr @isolated_macs oifname @isolated_ports drop
\t}
\tchain port_isolated {
\t\tiifname @isolated_ports ether daddr @isolated_macs drop
\t\tip daddr @isolated4 iifname . ip daddr @isolated_ports4 drop
\t\tip6 daddr @isolated6 iifname . ip6 daddr @isolated_ports6 drop
\t\tgoto port
\t}
\tchain port {
\t\tmeta pkttype multicast jump port_group
\t\tether type vmap { arp : goto port_arp, ip : goto port_ip, ip6 : goto port_ip6 }
\t\tdrop
\t}
\tchain port_group {
\t\tether daddr 01:80:c2:00:00:00-01:80:c2:00:00:0f drop
\t}
\tchain port_arp {
\t\tiifname . ether saddr != @macs drop
\t\tarp htype != 1 drop
\t\tarp ptype != ip drop
\t\tarp hlen != 6 drop
\t\tarp plen != 4 drop
\t\tiifname . arp saddr ether . arp saddr ip @addresses4 accept
\t\tiifname . arp saddr ether . arp saddr ip @leases4 accept
\t\tarp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether . arp daddr ip @addresses4 accept
\t\tarp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether . arp daddr ip @leases4 accept
\t\tdrop
\t}
\tchain port_ip {
\t\tmeta l4proto icmp jump port_icmp
\t\tmeta l4proto igmp jump port_igmp
\t\tmeta l4proto udp jump port_udp
\t\tmeta l4proto 103 jump port_routing
\t\tiifname . ether saddr . ip saddr @addresses4 accept
\t\tiifname . ether saddr . ip saddr @leases4 accept
\t\tiifname . ether saddr . ip saddr . ip daddr @forwarded4 accept
\t\tip saddr 0.0.0.0 udp sport 68 udp dport 67 iifname @dhcp_clients iifname . ether saddr @macs accept
\t\tdrop
\t}
\tchain port_icmp {
\t\ticmp type { redirect, router-advertisement } iifname != @routers drop
\t}
\tchain port_igmp {
\t\tiifname @routers return
\t\t@th,0,8 0x00-0x11 drop
\t\t@th,0,8 0x13-0x15 drop
\t\t@th,0,8 0x18-0x21 drop
\t\t@th,0,8 0x23-0xff drop
\t}
\tchain port_udp {
\t\tth sport 67 iifname != @dhcp_servers drop
\t\tth dport 68 iifname != @dhcp_servers drop
\t}
\tchain port_routing {
\t\tiifname != @routers drop
\t}
\tchain port_ip6 {
\t\tmeta l4proto icmpv6 jump port_icmpv6
\t\tmeta l4proto udp jump port_udp6
\t\tmeta l4proto 103 jump port_routing
\t\tip6 hoplimit 255 exthdr frag exists drop
\t\tiifname . ether saddr . @nh,64,128 @addresses6 accept
\t\tiifname . ether saddr . ip6 saddr . ip6 daddr @forwarded6 accept
\t\tip6 saddr != :: drop
\t\ticmpv6 type { mld-listener-report, mld2-listener-report } iifname . ether saddr @macs accept
\t\ticmpv6 type nd-neighbor-solicit iifname . ether saddr . @th,64,128 @addresses6 accept
\t\tdrop
\t}
\tchain port_icmpv6 {
\t\tfrag frag-off 0 jump whole
\t\ticmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } iifname != @lan_ports drop
\t\ticmpv6 type { nd-router-advert, nd-redirect, mld-listener-query } iifname != @routers drop
\t\ticmpv6 type { 151, 152, 153 } iifname != @routers drop
\t\ticmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @addresses6 drop
\t}
\tchain port_udp6 {
\t\tfrag frag-off 0 jump whole
\t\tth sport 547 iifname != @dhcp_servers drop
\t\tth dport 546 iifname != @dhcp_servers drop
\t}
\tchain whole {
\t\t@th,0,32 >= 0 return
\t\tdrop
\t}
"""

ARP = """\
\tchain input {
\t\ttype filter hook input priority 0; policy accept;
\t\tmeta iifgroup & 0x7fffffff == GROUP meta iifkind PORT_LINKS drop
\t}
"""

NETDEV = """\
\tchain leaving {
\t\tiifname . ether saddr . ip saddr @addresses4 goto leaving4
\t\tiifname . ether saddr . ip6 saddr @addresses6 goto leaving6
\t}
\tchain leaving4 {
\t\tmeta l4proto icmp jump leaving_icmp
\t\tmeta l4proto igmp accept
\t\tmeta l4proto udp jump leaving_udp
\t\tmeta l4proto 103 accept
\t\tether daddr @behind fwd to meta protocol map @to_tunnel
\t\tether daddr @gateway ip ttl > 1 fwd ip to ip daddr map @hops4 device meta protocol map @to_uplink
\t}
\tchain leaving_icmp {
\t\ticmp type { redirect, router-advertisement } accept
\t}
\tchain leaving_udp {
\t\tth sport 67 accept
\t\tth dport 68 accept
\t}
\tchain leaving6 {
\t\tmeta l4proto icmpv6 accept
\t\tmeta l4proto udp jump leaving_udp6
\t\tmeta l4proto 103 accept
\t\texthdr frag exists accept
\t\tether daddr @behind fwd to meta protocol map @to_tunnel
\t\tether daddr @gateway ip6 hoplimit > 1 fwd ip6 to ip6 daddr map @hops6 device meta protocol map @to_uplink
\t}
\tchain leaving_udp6 {
\t\tth sport 547 accept
\t\tth dport 546 accept
\t}
\tchain tunnelled {
\t\tether daddr @members fwd to meta protocol map @to_bridge
\t}
\tchain routed {
\t\tmeta pkttype != host return
\t\tether saddr . ip saddr @neighbours4 ip daddr @members4 ip ttl > 1 fwd ip to ip daddr device meta protocol map @to_bridge
\t\tether saddr . ip6 saddr @neighbours6 ip6 daddr @members6 jump routed6
\t}
\tchain routed6 {
\t\tmeta l4proto icmpv6 return
\t\tip6 hoplimit > 1 fwd ip6 to ip6 daddr device meta protocol map @to_bridge
\t}
"""
