"""What throughput.py compares with: two hosts joined by hand, as plainly as it can be done, and a veth.

The underlay is as in netctl's lab: each host has a cable to a switch, which is a bridge in a namespace of its own. Of these
namespaces, only those of `FILTERED` have a firewall. `FILTERED` is a second VXLAN with one container. Its rules promise for this
container what netctl promises for any number. The container uses no address but its own, and only the other host gets into the
VXLAN. The underlay does not reach the container, and what leaves is masqueraded.
"""

from __future__ import annotations

from benchmarks.places import run_script
from benchmarks.traffic import Way

NAME = "bench-hand"
MTU, VXLAN_MTU = 1500, 1450

FUNCTIONS = f"""\
space() {{  # NAME
    ip netns add {NAME}.$1
    ip -n {NAME}.$1 link set lo up
}}
bridge() {{  # SPACE MTU
    ip -n {NAME}.$1 link add name br type bridge
    ip -n {NAME}.$1 link set dev br mtu $2 up
}}
host() {{  # NAME: a cable to the switch
    space $1
    ip -n {NAME}.$1 link add eth0 type veth peer name $1 netns {NAME}.switch
    ip -n {NAME}.switch link set $1 master br up
    ip -n {NAME}.$1 link set eth0 up
}}
member() {{  # HOST ADDRESS/LENGTH MTU: a container at the bridge of a host
    space $1-in
    ip -n {NAME}.$1-in link add eth0 type veth peer name port netns {NAME}.$1
    ip -n {NAME}.$1-in link set eth0 mtu $3 up
    ip -n {NAME}.$1 link set port mtu $3 master br up
    ip -n {NAME}.$1-in address add $2 dev eth0
}}
"""
SWITCH = f"""\
space switch
bridge switch {MTU}
"""
PLAIN = f"""\
for side in 1 2; do
    host plain$side
    bridge plain$side {MTU}
    ip -n {NAME}.plain$side link set eth0 master br
    member plain$side 192.0.2.11$side/24 {MTU}
done
"""
VXLAN = f"""\
tunnel() {{  # HOST SIDE UNDERLAY SUBNET: both addresses less the side, which is their last digit
    host $1
    bridge $1 {VXLAN_MTU}
    ip -n {NAME}.$1 address add $3$2/24 dev eth0
    ip -n {NAME}.$1 link add name x type vxlan id 42 local $3$2 remote $3$((3 - $2)) dstport 4789
    ip -n {NAME}.$1 link set x mtu {VXLAN_MTU} master br up
    member $1 $4$2/24 {VXLAN_MTU}
}}
for side in 1 2; do
    tunnel vxlan$side $side 192.0.2.12 10.77.1.
    tunnel filtered$side $side 192.0.2.14 10.77.2.
done
"""
FILTERED = f"""\
for side in 1 2; do
    mac=$(ip netns exec {NAME}.filtered$side-in cat /sys/class/net/eth0/address)
    ip netns exec {NAME}.filtered$side nft -f - <<RULES
        table bridge hand {{
            chain arriving {{
                type filter hook prerouting priority -300
                iifname "port" jump port
            }}
            chain port {{
                ether saddr != $mac drop
                ether type arp arp saddr ether != $mac drop
                ether type arp arp saddr ip != 10.77.2.$side drop
                ether type ip ip saddr != 10.77.2.$side drop
                ether type != {{ arp, ip }} drop
                udp sport 67 drop
            }}
        }}
        table inet hand {{
            chain guard {{
                type filter hook prerouting priority -300
                iifname "eth0" udp dport 4789 ip saddr != 192.0.2.14$((3 - side)) drop
                iifname "eth0" ip daddr 10.77.2.0/24 drop
                iifname "eth0" ip saddr 10.77.2.0/24 drop
            }}
            chain forward {{
                type filter hook forward priority 0; policy drop
                ct state established,related accept
                iifname "br" accept
            }}
            chain leaving {{
                type nat hook postrouting priority 100
                ip saddr 10.77.2.0/24 ip daddr != 10.77.2.0/24 masquerade
            }}
        }}
RULES
done
"""
ROUTES = f"""\
for side in 1 2; do
    other=$((3 - side))
    host routes$side
    bridge routes$side {MTU}
    ip netns exec {NAME}.routes$side sysctl -qw net.ipv4.ip_forward=1
    ip -n {NAME}.routes$side address add 192.0.2.13$side/24 dev eth0
    ip -n {NAME}.routes$side address add 10.78.$side.254/24 dev br
    ip -n {NAME}.routes$side route add 10.78.$other.0/24 via 192.0.2.13$other
    member routes$side 10.78.$side.1/24 {MTU}
    ip -n {NAME}.routes$side-in route add default via 10.78.$side.254
done
"""
VETH = f"""\
space veth1
space veth2
ip -n {NAME}.veth1 link add eth0 type veth peer name eth0 netns {NAME}.veth2
for side in 1 2; do
    ip -n {NAME}.veth$side link set eth0 up
    ip -n {NAME}.veth$side address add 10.79.0.$side/24 dev eth0
done
"""
PLAIN_WAY = Way("plain underlay, by hand", f"{NAME}.plain1-in", f"{NAME}.plain2-in", "192.0.2.112")
VXLAN_WAY = Way("VXLAN, by hand", f"{NAME}.vxlan1-in", f"{NAME}.vxlan2-in", "10.77.1.2")
FILTERED_WAY = Way("VXLAN, by hand, filtered", f"{NAME}.filtered1-in", f"{NAME}.filtered2-in", "10.77.2.2")
ROUTES_WAY = Way("routes, by hand", f"{NAME}.routes1-in", f"{NAME}.routes2-in", "10.78.2.1")
VETH_WAY = Way("veth, direct", f"{NAME}.veth1", f"{NAME}.veth2", "10.79.0.2")


def build_hosts() -> list[Way]:
    """Pairs of hosts on one switch, joined in four ways."""
    run_script(FUNCTIONS + SWITCH + PLAIN + VXLAN + FILTERED + ROUTES)
    return [PLAIN_WAY, ROUTES_WAY, VXLAN_WAY, FILTERED_WAY]


def build_veth() -> Way:
    """Two namespaces with a cable between them, and nothing else."""
    run_script(FUNCTIONS + VETH)
    return VETH_WAY
