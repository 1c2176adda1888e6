"""The lab's own members: its router, and the world outside, which has documentation prefixes (RFC 5737, RFC 3849)."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface

from reconciler.state.ref import lab_netns

ROUTER_NETNS = lab_netns("router")
OUTSIDE_NETNS = lab_netns("outside")
OUTSIDE_INTERFACES = (IPv4Interface("203.0.113.10/24"), IPv6Interface("2001:db8:ffff::10/64"))
"""The addresses of the world outside, each with its network."""
