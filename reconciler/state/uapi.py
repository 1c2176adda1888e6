"""Numbers of the kernel's interface and of protocols that several layers need, each with its header or RFC."""

from __future__ import annotations

NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
"""linux/neighbour.h: an entry that was configured. In a bridge's table, a permanent entry is a local address instead."""
LOOPBACK = 1
"""Every namespace's loopback has number 1 (LOOPBACK_IFINDEX, net/flow.h), whatever its name."""
SCOPE_LINK = 253
"""RT_SCOPE_LINK (linux/rtnetlink.h): link-local. The kernel creates such IPv6 addresses again whenever the link goes up."""
BRIDGE_PORTS_MAX = 1023
"""The maximum of a bridge's ports: BR_MAX_PORTS is 1 << 10, and number 0 is never assigned.

Source: find_portno in net/bridge/br_if.c.
"""
IPV6_MTU_MIN = 1280
"""Below this MTU, the kernel has no IPv6 on a link, whatever its settings (RFC 8200, section 5)."""
HOST_LENGTH = {4: 32, 6: 128}
"""The prefix length of a single address, by family."""
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
"""The protocols with ports, and their numbers (IANA)."""
PORT_MAX = 65535
"""The largest number of a port."""
VNI_MAX = (1 << 24) - 1
"""The largest number of a tunnel (RFC 7348, section 5)."""
MTU_MIN, MTU_MAX = 576, 65535
"""The smallest packet that every host must accept (RFC 791, section 3.1), and the largest that IPv4 has."""
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
"""The number of IPv4 and of IPv6 in a frame (IANA), by family."""
