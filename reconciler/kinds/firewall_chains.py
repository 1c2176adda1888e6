"""The chains of netctl's tables, as text: constant programs over the sets of `kinds.firewall_program`.

`inet` decides what is routed and translated, `bridge` what a port may send. `netdev` is the fast path of a subnet over several
hosts: between containers of the same subnet everything passes, so what goes from one to another needs neither the host's
firewalls nor its connection tracking, and is handed from interface to interface where it comes in. It checks all the same who
sends; what it does not know it leaves to the slow path, which says the rest. See docs/how-it-works.md.
"""

from __future__ import annotations

FORWARD_MARK = 0x00001000
"""The bit that our forward chain sets on what it allows. The rule in DOCKER-USER (kinds.docker_user) accepts it.

A bit that no other program's marks have in a host's forward path: docs/decisions.md says whose bits are where.
"""

_INET = """\
\tchain guard {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tip saddr . ip daddr . udp dport @vteps4 fib saddr . iif oif exists notrack accept
\t\tip6 saddr . ip6 daddr . udp dport @vteps6 fib saddr . iif oif exists notrack accept
\t\tiif "lo" return
\t\tudp dport @vxlan_ports jump underlay
\t\tiifname @bridges goto guard_ours
\t\tiifname @switched drop
\t\tiifname . ether saddr . ip saddr @neighbours4 return
\t\tiifname . ether saddr . ip6 saddr @neighbours6 return
\t\tip saddr @local4 drop
\t\tip6 saddr @local6 drop
\t\tip daddr @guarded4 drop
\t\tip6 daddr @guarded6 drop
\t}
\tchain underlay {
\t\tfib daddr type { local, broadcast, multicast } drop
\t\tip saddr @peers4 fib saddr . iif oif exists return
\t\tip6 saddr @peers6 fib saddr . iif oif exists return
\t\tip daddr @peers4 drop
\t\tip6 daddr @peers6 drop
\t}
\tchain sending {
\t\ttype filter hook output priority -300; policy accept;
\t\tip daddr . ip saddr . udp dport @vteps4 notrack
\t\tip6 daddr . ip6 saddr . udp dport @vteps6 notrack
\t\ticmp type redirect oifname @bridges drop
\t\ticmpv6 type nd-redirect oifname @bridges drop
\t}
\tchain guard_ours {
\t\tip daddr 127.0.0.0/8 drop
\t}
\tchain arriving {
\t\ttype nat hook prerouting priority -100; policy accept;
\t\tfib daddr type local jump publish
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
\tchain forward {
\t\ttype filter hook forward priority -10; policy accept;
\t\tiifname . oifname @same_bridge goto pass
\t\tiifname @bridges goto ours
\t\toifname @bridges goto ours
\t\tct status dnat ip daddr @own4 goto ours
\t\tct status dnat ip saddr @own4 goto ours
\t\tct status dnat ip6 daddr @own6 goto ours
\t\tct status dnat ip6 saddr @own6 goto ours
\t}
\tchain ours {
\t\tct state related goto pass
\t\tct direction reply ct state established goto pass
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
\t\tiifname @nat_bridges ct state invalid drop
\t\tiifname @nat_bridges goto pass
\t\tiifname @routed_bridges goto pass
\t\toifname @routed_bridges goto pass
\t\tiifname @bridges goto outbound
\t\tgoto refuse
\t}
\tchain outbound {
\t\tip saddr @outbound4 goto pass
\t\tip6 saddr @outbound6 goto pass
\t\tip saddr . meta l4proto . th dport @outbound_ports4 goto pass
\t\tip6 saddr . meta l4proto . th dport @outbound_ports6 goto pass
\t\tgoto refuse
\t}
\tchain pass {
\t\tmeta mark set meta mark | FORWARD_MARK accept
\t}
\tchain refuse {
\t\tmeta l4proto tcp reject with tcp reset
\t\treject with icmpx admin-prohibited
\t}
\tchain leaving {
\t\ttype nat hook postrouting priority 100; policy accept;
\t\tct status dnat snat ip to ip daddr map @returns4
\t\tct status dnat snat ip6 to ip6 daddr map @returns6
\t\tip saddr 127.0.0.0/8 oifname @bridges masquerade
\t\tip saddr @own4 oifname @bridges ct status dnat masquerade
\t\tip6 saddr @own6 oifname @bridges ct status dnat masquerade
\t\tip saddr @natted4 ip daddr != @own4 masquerade
\t\tip6 saddr @natted6 ip6 daddr != @own6 masquerade
\t\tip saddr @local4 ip daddr @peers4 masquerade
\t\tip6 saddr @local6 ip6 daddr @peers6 masquerade
\t}
"""

_BRIDGE = """\
\tchain arriving {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tiifname @ports goto port
\t}
\tchain port {
\t\tether type vmap { arp : goto port_arp, ip : goto port_ip, ip6 : goto port_ip6 }
\t\tdrop
\t}
\tchain port_arp {
\t\tiifname . ether saddr != @macs drop
\t\tarp htype != 1 drop
\t\tarp ptype != ip drop
\t\tarp hlen != 6 drop
\t\tarp plen != 4 drop
\t\tiifname . arp saddr ether . arp saddr ip @addresses4 accept
\t\tiifname . arp saddr ether . arp saddr ip @leases4 accept
\t\tarp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs accept
\t\tdrop
\t}
\tchain port_ip {
\t\tudp sport 67 iifname != @dhcp_servers drop
\t\tiifname . ether saddr . ip saddr @addresses4 accept
\t\tiifname . ether saddr . ip saddr @leases4 accept
\t\tip saddr 0.0.0.0 udp sport 68 udp dport 67 iifname @dhcp_clients iifname . ether saddr @macs accept
\t\tdrop
\t}
\tchain port_ip6 {
\t\ticmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } iifname != @lan_ports drop
\t\ticmpv6 type { nd-router-advert, nd-redirect } iifname != @routers drop
\t\tudp sport 547 iifname != @dhcp_servers drop
\t\ticmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @addresses6 drop
\t\tiifname . ether saddr . @nh,64,128 @addresses6 accept
\t\tip6 saddr != :: drop
\t\ticmpv6 type { mld-listener-report, mld2-listener-report } iifname . ether saddr @macs accept
\t\ticmpv6 type nd-neighbor-solicit iifname . ether saddr . @th,64,128 @addresses6 accept
\t\tdrop
\t}
"""

_NETDEV = """\
\tchain leaving {
\t\tiifname . ether saddr . ip saddr @addresses4 goto leaving4
\t\tiifname . ether saddr . ip6 saddr @addresses6 goto leaving6
\t}
\tchain leaving4 {
\t\tudp sport 67 return
\t\tether daddr @behind fwd to meta protocol map @to_tunnel
\t\tip ttl > 1 fwd ip to ip daddr map @hops4 device meta protocol map @to_uplink
\t}
\tchain leaving6 {
\t\tmeta l4proto ipv6-icmp return
\t\tudp sport 547 return
\t\tether daddr @behind fwd to meta protocol map @to_tunnel
\t\tip6 hoplimit > 1 fwd ip6 to ip6 daddr map @hops6 device meta protocol map @to_uplink
\t}
\tchain tunnelled {
\t\tether daddr @members fwd to meta protocol map @to_bridge
\t}
\tchain routed {
\t\tether saddr . ip saddr @neighbours4 ip daddr @members4 ip ttl > 1 fwd ip to ip daddr device meta protocol map @to_bridge
\t\tether saddr . ip6 saddr @neighbours6 ip6 daddr @members6 jump routed6
\t}
\tchain routed6 {
\t\tmeta l4proto ipv6-icmp return
\t\tip6 hoplimit > 1 fwd ip6 to ip6 daddr device meta protocol map @to_bridge
\t}
"""

CHAINS = {"inet": _INET.replace("FORWARD_MARK", f"{FORWARD_MARK:#010x}"), "bridge": _BRIDGE, "netdev": _NETDEV}
"""By the family of the table."""
