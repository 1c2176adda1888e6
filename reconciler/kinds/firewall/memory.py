"""What packets write into netctl's table: sets with a timeout, and for how long connection tracking remembers.

Part of the program in `kinds.firewall.chains`. Nothing here is an element of a topology, so nothing of it is ever compared.
"""

from __future__ import annotations

_SETS = """\
\tset known4 {
\t\ttype ipv4_addr
\t\tflags dynamic,timeout
\t\ttimeout 5s
\t}
\tset known6 {
\t\ttype ipv6_addr
\t\tflags dynamic,timeout
\t\ttimeout 5s
\t}
\tset askers {
\t\ttype ifname . ether_addr
\t\tflags dynamic,timeout
\t\ttimeout 1m
\t}
\tset openers {
\t\ttype ifname . ether_addr
\t\tflags dynamic,timeout
\t\ttimeout 1m
\t}
"""
"""Addresses that answered, next hops that lead to them or were asked for; containers that make the host ask for more; and
containers that open TCP connections.

A next hop stays for 5 s, and a use does not prolong that: else a container could collect thousands, and ask for all of them at
once. The kernel asks for 3 s (mcast_solicit); an entry without an answer then gives way to others (neigh_forced_gc). So 200 at
first and 50 a second come to 600 that wait, whatever containers do. The table has room for 1,024 (gc_thresh3).
"""
ANSWERS = "200/second burst 1000 packets"
"""So many answers are remembered. A set holds 65,535 elements, and one container with a helper outside gets more within a minute:
a refused connection costs it no share. Then no router could become known again, and all containers would be asking.
"""
_BRIEF = """\
\tct timeout brief {
\t\tprotocol tcp
\t\tpolicy = { time_wait : 1, close : 1 }
\t}
"""
"""For how many seconds a closed connection stays in the table of a container that opens many: 120 and 10 by default.

A share (`@connections`) counts no closed ones (already_closed in net/netfilter/nf_conncount.c). The other timeouts are the
host's (net.netfilter.nf_conntrack_tcp_timeout_*), as they are when the table is made.
"""
OPENED = "50/second burst 500 packets"
"""So many TCP connections of a container stay for the host's own time when they are closed: 6,500 entries at the most, less than
a share.
"""
MEMORY = _SETS + _BRIEF
