"""The backends that execute steps. Consecutive steps of one backend are sent as one batch (see the package)."""

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
NAMES = "names"
