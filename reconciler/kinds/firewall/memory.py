"""The sets that packets write to in netctl's table, with their timeouts, and the timeouts of connection tracking.

They are part of the program in `kinds.firewall.chains`. They hold no elements of a topology, so netctl does not compare
their contents.
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
\tset refused {
\t\ttype ifname . ifname
\t\tsize 4096
\t\tflags dynamic,timeout
\t\ttimeout 1d
\t\tcounter
\t}
"""
"""Addresses that answered, next hops that the host resolved, and containers that cause resolutions or open connections.

The next hops include those that lead to such addresses. A next hop stays for 5 s, and a use does not prolong that. Else
a container could collect thousands, and have all of them resolved at once. The kernel waits 3 s for an answer
(mcast_solicit). After that an entry without one may be evicted (neigh_forced_gc). So 200 at first and 50 a second
amount to 600 pending ones, whatever containers do. The kernel's table has room for 1,024 (gc_thresh3).
"""
REFUSED = "refused"
"""The set that counts what no policy allows, by the links from which and to which the packets go."""
ANSWERS = "200/second burst 1000 packets"
"""The rate at which answers are remembered.

A set holds 65,535 elements. One container with a helper outside gets more within a minute: a refused connection does
not count in its share. Then netctl could not remember a router again, and all containers would have to resolve.
"""
_BRIEF = """\
\tct timeout brief {
\t\tprotocol tcp
\t\tpolicy = { time_wait : 1, close : 1 }
\t}
"""
"""The seconds that a closed connection stays in connection tracking for a container that opens many: default 120 and 10.

A share (`@connections`) does not count closed ones (already_closed in net/netfilter/nf_conncount.c). The other timeouts
are the host's (net.netfilter.nf_conntrack_tcp_timeout_*) at the time when the table is created.
"""
OPENED = "50/second burst 500 packets"
"""The rate of a container's TCP connections that keep the host's own timeouts after they are closed.

They amount to at most 6,500 entries, less than a share.
"""
MEMORY = _SETS + _BRIEF
