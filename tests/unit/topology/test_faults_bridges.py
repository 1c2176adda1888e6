"""Each rule of bridges, runtimes, options of a port and overlays: the fault that breaks it, its place, and what is said of it."""

from __future__ import annotations

import pytest

from reconciler.state.naming import vni_of
from tests.harness.topologies.faulty import BASE, HEAD, HOST, HOSTS, check_fault, container, lan, subnet

CASES = {
    # bridges, runtimes, and options of a port
    "lab's LAN": (subnet("{cidr: §10.44.0.0/24, mode: direct, hosts: [alpha]}"), "is not the LAN of the lab host `alpha`"),
    "uplink of nat": (subnet("{cidr: 10.44.0.0/24, §uplink: eth1}"), "`uplink` has no effect on `front`"),
    "existing of nat": (subnet("{cidr: 10.44.0.0/24, §bridge: {existing: br0}}"), "cannot use an existing bridge for `front`"),
    "existing and uplink": (
        subnet("{cidr: 10.44.0.0/24, mode: direct, §uplink: eth1, bridge: {existing: br0}}"),
        "its bridge br0 is used as it is",
    ),
    "bridge word": (subnet("{cidr: 10.44.0.0/24, bridge: §vmware}"), "must be one of linux, openvswitch"),
    "type of nat": (subnet("{cidr: 10.44.0.0/24, §type: vepa}"), "`type` has no effect on `front`"),
    "auto in a LAN": (lan("web: {networks: {front: §auto}}"), "cannot choose an address in `front`"),
    "host's address in a LAN": (lan("web: {networks: {front: §192.0.2.11}}"), "192.0.2.11 is the address of the host `alpha`"),
    "port in a LAN": (lan("web: {networks: {front: 192.0.2.50}, ports: [§80]}"), "cannot publish a port in `front`"),
    "dhcp without a LAN": (container("{networks: {front: §dhcp}}"), "cannot use `dhcp` in `front`"),
    "policy to a LAN": (
        lan("web: {networks: {front: 192.0.2.50}}\npolicies:\n  - {allow: outside, to: §web}"),
        "cannot apply a policy to `web`",
    ),
    "two LANs on an uplink": (
        HEAD
        + "hosts: {alpha: {connect: local}}\nsubnets:\n  front: {cidr: 192.0.2.0/24, mode: direct, hosts: [alpha]}\n"
        + "  §back: {cidr: 10.9.0.0/24, mode: macvlan, hosts: [alpha]}\n",
        "the uplink of `alpha` serves `front` already",
    ),
    "openvswitch for macvlan": (
        subnet("{cidr: 192.0.2.0/24, mode: macvlan, bridge: §openvswitch}"),
        "`front` of mode macvlan has no bridge: a macvlan is a switch of its own, in the uplink itself",
    ),
    "connections of a macvlan": (
        subnet("{cidr: 192.0.2.0/24, mode: macvlan}")
        + "containers:\n  web: {replicas: 2, §connections: 50, networks: {front: dhcp}}\n",
        "`connections` has no effect on `web`: a macvlan bypasses the host's connection tracking",
    ),
    "openvswitch on the lab's LAN": (
        subnet("{cidr: 192.0.2.0/24, mode: direct, bridge: §openvswitch, hosts: [alpha]}"),
        "cannot put the uplink of the lab host `alpha` on Open vSwitch",
    ),
    "openvswitch elsewhere": (
        "version: 1\nname: shop\nhosts: {a: {connect: local, openvswitch: §tcp:127.0.0.1}}\n",
        "must be a Unix socket on the host",
    ),
    "datapath of linux": (subnet("{cidr: 10.44.0.0/24, §datapath: netdev}"), "`datapath` has no effect on `front`"),
    "hairpin of openvswitch": (
        subnet("{cidr: 10.44.0.0/24, bridge: openvswitch, §hairpin: true}"),
        "`hairpin` has no effect on `front`",
    ),
    "lxc image": (container("{runtime: lxc, image: §'a:b:c'}"), "neither a path nor a template of LXC's"),
    "lxc volume": (container("{runtime: lxc, image: /srv/a, volumes: [§'data:/data']}"), "LXC has no named volumes"),
    "lxc restart": (container("{runtime: lxc, image: /srv/a, restart: §on-failure}"), "only starts containers with the machine"),
    "lxc line break": (
        BASE + 'containers:\n  §a: {runtime: lxc, image: /srv/a, command: [sh, "a\\nb"]}\n',
        "cannot hold the line break",
    ),
    "lxc directory": (BASE.replace("connect: lab", "connect: lab, lxc: §var/lib/lxc", 1), "must be a directory"),
    "path as image": (container("{runtime: podman, image: §/srv/a}"), "runtime podman has images by name"),
    "dns": (container("{§dns: [192.0.2.53]}"), "`dns` must be true, false or a mapping"),
    "rate": (container("{networks: {front: {rate: §10mb}}}"), "is not a rate: `10mb`"),
    "rate's directions": (container("{networks: {front: {§rate: {up: 10mbit}}}}"), "must be {ingress: RATE, egress: RATE}"),
    "setting of all interfaces": (
        container("{networks: {front: {sysctls: {net.ipv4.conf.all.rp_filter: §0}}}}"),
        "a key that is not a setting of an interface",
    ),
    "setting of IPv6 below its MTU": (
        container("{networks: {front: {mtu: 1200, sysctls: {§net.ipv6.conf.IFNAME.hop_limit: 3}}}}"),
        "has no IPv6 settings below an MTU of 1280, and this one has 1200",
    ),
    "mtu beyond the subnet's": (
        HEAD + HOST + "subnets: {front: {cidr: 10.44.0.0/24, mtu: 1400}}\ncontainers: {web: {networks: {front: {mtu: §1500}}}}\n",
        "`front` carries 1400 bytes",
    ),
    "route of two families": (
        container("{networks: {front: {routes: [§{to: 10.9.0.0/16, via: 'fd00::1'}]}}}"),
        "has an IPv4 address in `to` and none in `via`",
    ),
    "route unknown key": (
        container("{networks: {front: {routes: [{to: 10.9.0.0/16, via: 10.44.0.9, §dev: eth0}]}}}"),
        "unknown key `dev`",
    ),
    "next hop elsewhere": (
        container("{networks: {front: {routes: [{to: 10.9.0.0/16, via: §10.8.0.1}]}}}"),
        "the next hop 10.8.0.1 is not in `front`",
    ),
    "static default route": (
        container("{networks: {front: {routes: [{to: §0.0.0.0/0, via: 10.44.0.9}]}}}"),
        "a static route cannot be a default route",
    ),
    # subnets over several hosts
    "no overlay": (
        HEAD + HOSTS + "subnets: {front: {cidr: 10.44.0.0/24, overlay: §none}}\n"
        "containers: {a: {host: alpha, networks: {front: auto}}, b: {host: beta, networks: {front: auto}}}\n",
        "cannot join the hosts of `front` (alpha, beta) without an overlay",
    ),
    "no overlay, by a port": (
        HEAD + HOSTS + "subnets: {front: {cidr: 10.44.0.0/24, overlay: §none}}\n"
        "containers: {a: {host: alpha, networks: {front: auto}, ports: [{listen: 80, on: [beta]}]}}\n",
        "cannot join the hosts of `front` (alpha, beta)",
    ),
    "no overlay, by a policy": (
        HEAD + HOSTS + "subnets:\n  a: {cidr: 10.1.0.0/24}\n  b: {cidr: 10.2.0.0/24, overlay: §none}\n"
        "containers: {c: {host: alpha, networks: {a: auto}}, d: {host: beta, networks: {b: auto}}}\n"
        "policies: [{allow: c, to: d}]\n",
        "cannot join the hosts of `b`",
    ),
    "no underlay address": (
        HEAD + "hosts:\n  alpha: {connect: lab, address: 192.0.2.11}\n  §beta: {connect: local}\n"
        "subnets: {front: {cidr: 10.44.0.0/24, hosts: [alpha, beta]}}\n",
        "the host `beta` has no `address`, but the other hosts of `front` must reach it",
    ),
    "vni clash with a computed one": (
        HEAD + HOSTS + "subnets:\n  a: {cidr: 10.1.0.0/24, hosts: [alpha, beta]}\n"
        f"  §b: {{cidr: 10.2.0.0/24, hosts: [alpha, beta], vni: {vni_of('shop', 'a')}}}\n",
        f"the VNI {vni_of('shop', 'a')} of `b` is that of `a` already, line 5",
    ),
    "port of the VXLAN": (
        HEAD + HOSTS + "subnets: {front: {cidr: 10.44.0.0/24, hosts: [alpha, beta]}}\n"
        "containers: {a: {host: alpha, networks: {front: auto}, ports: [§'4780-4790:80-90/udp']}}\n",
        "port 4789/udp of `alpha` is that of the VXLAN of `front`",
    ),
}


@pytest.mark.parametrize(("text", "fragment"), CASES.values(), ids=CASES.keys())
def test_fault(text: str, fragment: str) -> None:
    """Exactly this fault is found, exactly there, and its help says what to write."""
    check_fault(text, fragment)
