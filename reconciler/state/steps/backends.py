"""The backends: who carries a step out. Steps of one backend that follow each other go out as one batch (see the package)."""

from __future__ import annotations

NETLINK = "netlink"
NFT = "nft"
NETNS = "netns"
SYSCTL = "sysctl"
RUNTIME = "runtime"
PROCESS = "process"
IPTABLES = "iptables"
CONNTRACK = "conntrack"
OVSDB = "ovsdb"
OPENFLOW = "openflow"
ETHTOOL = "ethtool"
UPLINK = "uplink"
DHCP = "dhcp"
ANNOUNCE = "announce"
