"""Words of other tools (Compose, Kubernetes, netplan, containerlab), and their equivalents in a topology file. Data only.

`messages` looks up unknown keys and unknown values here, before it guesses by similarity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from reconciler.state.engines import ENGINES


class Word(NamedTuple):
    """The intended key ("" for none), and the advice."""

    meant: str
    help_text: str


def _keys(meant: str, help_text: str, *words: str) -> dict[str, Word]:
    return {word: Word(meant, help_text) for word in words}


def _renamed(meant: str, *words: str) -> dict[str, Word]:
    return _keys(meant, f"write `{meant}:` in its place", *words)


_ENGINES = " or ".join(ENGINES)
_NO_ORDER = "remove it: netctl starts containers in no order"
_NOT_RUN = "remove it, or start the container with its engine and write `existing: true`; netctl only connects it then"
_NEIGHBOURS = "remove it: containers of one subnet reach each other, and a policy connects those of two"
_DRIVER = "remove it, or write `mode:` (nat, routed, isolated, direct, macvlan) and `bridge:` (linux, openvswitch)"
_PUBLISH = 'write `ports: ["8080:80"]`, in the container'
_PLACE = "write `networks: {front: 10.44.0.10}`, or `auto` in place of the address"
_TWO_FAMILIES = 'write both prefixes: `cidr: [10.44.0.0/24, "fd00:44::/64"]`'
_LAN = "write `mode: direct` or `mode: macvlan`, and `uplink: eth1` for an interface that is not the host's `uplink`"
_NO_SECRETS = "remove it; `env` gives a container values, and `volumes` files"

KEYS: Mapping[str, Mapping[str, Word]] = {
    "": {
        **_renamed("containers", "services", "service", "nodes", "pods", "instances"),
        **_renamed("subnets", "networks", "network", "bridges", "vlans", "nets"),
        **_keys("hosts", "write `hosts: {alpha: {connect: local}}`", "machines", "inventory", "servers", "ethernets"),
        **_renamed("policies", "firewall", "acls", "networkpolicies", "rules", "networkpolicy"),
        **_keys("", _PUBLISH, "ports", "expose", "publish"),
        **_keys("", "write `volumes: [/srv/data:/data]`, in the container; an engine makes named volumes itself", "volumes"),
        **_keys("", _NO_SECRETS, "secrets", "configs"),
        **_keys("", "containers of one subnet are linked; write `containers:` with `networks:` in each", "links"),
        **_keys("", "write `hosts:`, `subnets:` and `containers:` at the top, with nothing around them", "topology", "spec"),
        **_keys("version", "write `version: 1`; this is netctl's own format", "apiversion"),
        **_keys("dns", "write `dns: true`, or `dns: {domain: shop.internal}`", "domain", "resolver"),
        **_keys("name", "write `name: shop`", "metadata", "project"),
        **_keys("", "remove it; one file is one topology", "kind", "renderer", "include", "mgmt", "defaults", "x_common"),
    },
    "hosts": {
        **_renamed("address", "ip", "addr", "ipv4", "ipv6", "addresses", "ip_address"),
        **_keys("connect", "write `connect: ssh://[user@]name[:port]`, `local` or `lab`", "host", "hostname", "ssh",
                "url", "user"),
        **_keys("connect", "write `connect: ssh://[user@]name[:port]`", "port", "ssh_user", "ssh_port", "ansible_host", "type"),
        **_renamed("uplink", "interface", "nic", "parent", "dev", "device", "iface"),
        **_keys("docker", "write `docker: unix:///var/run/docker.sock`", "engine", "socket", "docker_host"),
        **_keys("", "remove it; a container says by `host:` where it runs", "containers", "services"),
    },
    "subnets": {
        **_renamed("cidr", "subnet", "prefix", "range", "ip_range", "network", "address", "addresses"),
        **_renamed("cidr", "ipam", "ipv4", "ipv6", "subnets", "net"),
        **_keys("", "write `mode: isolated` (its containers and their host, nothing beyond)", "internal", "isolated"),
        **_keys("", _DRIVER, "driver", "driver_opts", "options", "kind"),
        **_keys("", "write `mode: nat`, which is the default, or `mode: routed`", "nat", "masquerade", "routed"),
        **_keys("", "write `bridge: {existing: br0}` with `mode: direct`, for a bridge that the host has",
                "external", "existing"),
        **_keys("", _TWO_FAMILIES, "enable_ipv6", "ip6"),
        **_renamed("gateway", "gateway4", "gateway6", "gw", "via"),
        **_keys("uplink", _LAN, "parent", "interface", "interfaces", "ports", "dev", "nic"),
        **_keys("", "write `mode: direct`, and `uplink: eth0.5` for an interface of that VLAN", "vlan", "vlan_id"),
        **_keys("vni", "write `vni: 7`", "vxlan_id", "vxlan", "id"),
        **_keys("", "remove it; write `networks: {front: dhcp}` in a container of a LAN", "dhcp", "dhcp4", "dhcp6"),
        **_keys("", "remove it; the entry's key is its name", "name"),
        **_keys("", "remove it; netctl sets its own marks, and any container may join", "labels", "attachable"),
        **_keys("", "write `networks: {front: auto}` in each container that is in it", "containers", "services"),
        **_renamed("hosts", "host", "on"),
    },
    "containers": {
        **_keys("ports", 'write `ports: ["8080:80"]`', "port", "publish", "published", "exposes"),
        **_keys("networks", _PLACE, "network", "subnets", "subnet", "ip", "address", "ipv4_address", "nets", "interfaces"),
        **_keys("networks", "remove it; `networks:` has its subnets, and `share: NAME` is Compose's service:NAME",
                "network_mode"),
        **_keys("", _NO_ORDER, "depends_on", "after", "requires", "wait_for"),
        **_keys("env", "write `env: {NAME: value}`", "environment", "envs", "environ", "vars"),
        **_keys("command", "write `command: [sleep, infinity]`", "cmd", "args", "exec", "run"),
        **_keys("image", "build it with the engine's own tools, and write `image: NAME`", "build", "dockerfile"),
        **_keys("", "remove it; the entry's key is its name, and the engine's name is <topology>-<name>",
                "container_name", "name"),
        **_keys("hostname", "write `hostname: web.example.com`", "domainname"),
        **_renamed("replicas", "scale", "count", "instances"),
        **_keys("replicas", "write `replicas: 3` in its place", "deploy"),
        **_keys("dns", "write `dns: {upstream: [192.0.2.53]}` in the subnet, or `dns: {domain: …}` at the top",
                "dns_search", "dns_opt", "nameserver", "nameservers"),
        **_renamed("restart", "restart_policy", "restartpolicy"),
        **_keys("volumes", "write `volumes: [/srv/data:/data]`", "volume", "mounts", "binds", "volume_mounts"),
        **_keys("", _NEIGHBOURS, "links", "external_links"),
        **_keys("", 'write it in the network: `networks: {front: {mac: "02:00:00:00:00:10"}}`', "mac_address", "mac"),
        **_keys("", "write it in the network: `networks: {front: {sysctls: {net.ipv4.conf.IFNAME.rp_filter: 2}}}`", "sysctls"),
        **_renamed("host", "node", "on", "hosts", "machine", "server"),
        **_keys("runtime", f"write `runtime: netns` (also {_ENGINES})", "kind", "type", "engine", "driver"),
        **_keys("", "write it in the network: `networks: {front: {mtu: 1400}}`", "mtu"),
        **_keys("", "write it in the network: `networks: {front: {rate: 10mbit}}`", "rate", "bandwidth"),
        **_keys("", "write it in the subnet: `gateway: 10.44.0.1`", "gateway", "default_gateway"),
        **_keys("", "write them in the network: `networks: {front: {routes: [{to: 10.9.0.0/16, via: 10.44.0.9}]}}`", "routes"),
        **_renamed("env_file", "env_files", "envfile"),
        **_renamed("memory", "mem_limit", "mem"),
        **_renamed("cpus", "cpu_limit", "cpu"),
        **_renamed("stop_timeout", "stop_grace_period"),
        **_renamed("working_dir", "workdir", "cwd"),
        **_renamed("ulimits", "ulimit", "limits"),
        **_keys("", _NOT_RUN, "resources", "tty", "stdin_open", "profiles", "secrets", "configs", "platform",
                "pull_policy"),
    },
    "networks": {
        **_renamed("address", "ip", "ipv4_address", "ipv6_address", "addresses", "addr", "cidr"),
        **_keys("mac", 'write `mac: "02:00:00:00:00:10"`', "mac_address", "macaddress", "hwaddr"),
        **_renamed("interface", "name", "iface", "ifname", "interface_name", "dev"),
        **_keys("default", "write `default: true` for the network with the default route", "gw_priority", "priority",
                "default_route"),
        **_keys("", "write it in the subnet: `gateway: 10.44.0.1`", "gateway", "gateway4", "gw"),
        **_keys("rate", "write `rate: 10mbit`", "bandwidth", "limit", "ingress", "egress"),
        **_keys("dhcp", "write `front: dhcp`, on a LAN", "dhcp4", "dhcp6"),
        **_keys("", "write `aliases` in the container", "aliases"),
        **_keys("", "write `dns: {upstream: [192.0.2.53]}` in the subnet", "dns"),
        **_keys("", 'write `ports: ["8080:80"]`, in the container', "ports", "expose"),
        **_keys("", "write `ipv6: false` for no IPv6", "link_local_ips", "enable_ipv6"),
    },
    "routes": {
        **_renamed("to", "dst", "destination", "prefix", "network", "subnet", "cidr"),
        **_renamed("via", "gateway", "next_hop", "nexthop", "gw", "hop"),
        **_keys("", "remove it; the route leads over the network in which it stands", "dev", "interface", "metric", "table"),
    },
    "ports": {
        **_keys("listen", "write `listen: 8080`", "published", "host_port", "hostport", "port", "source_port", "external"),
        **_keys("listen", 'write `listen: "192.0.2.11:8080"`', "host_ip", "hostip", "address", "ip", "host"),
        **_renamed("to", "target", "container_port", "containerport", "targetport", "target_port", "internal"),
        **_renamed("protocol", "proto"),
        **_renamed("from", "source", "sources", "allow", "allow_from"),
        **_renamed("on", "hosts"),
        **_renamed("network", "subnet"),
        **_keys("", "remove it", "mode", "name", "app_protocol"),
    },
    "policies": {
        **_renamed("allow", "from", "source", "src", "who", "client", "ingress"),
        **_renamed("to", "dest", "destination", "dst", "target", "server", "egress"),
        **_keys("ports", "write `ports: [80/tcp]`", "port", "dport", "expose", "services"),
        **_keys("ports", "write it with the port: `ports: [53/udp]`", "protocol", "proto"),
        **_keys("allow", "remove the policy: nothing passes between subnets unless a policy allows it", "deny", "drop",
                "block", "reject"),
        **_keys("", "remove it: a policy can only allow", "action", "verdict", "type", "priority"),
        **_keys("", "remove it; a policy has no name", "name", "description", "comment"),
    },
}  # fmt: skip
"""By the section in which the key stands; words are in lower case, with `_` for `-`."""

VALUES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("subnets", "mode"): {
        "bridge": "write `mode: nat`, which is the default: a bridge, masqueraded",
        "bridged": "write `mode: direct`: containers are on the LAN of the host's uplink",
        "internal": "write `mode: isolated`",
        "private": "write `mode: isolated`",
        "none": "write `mode: isolated`",
        "host": "write `mode: direct`; a container never shares its host's network",
        "ipvlan": "write `mode: macvlan`, or `direct`",
        "vlan": "write `mode: direct`, with the VLAN's interface as `uplink`",
        "overlay": "write `overlay: vxlan`, and leave `mode` out",
        "vxlan": "write `overlay: vxlan`, and leave `mode` out",
        "route": "write `mode: routed`",
        "masquerade": "write `mode: nat`",
    },
    ("subnets", "overlay"): {
        "true": "write `overlay: vxlan`",
        "false": "write `overlay: none`",
        "route": "write `overlay: routes`",
        "geneve": "write `overlay: vxlan`",
        "gre": "write `overlay: vxlan`",
    },
    ("subnets", "bridge"): {
        "ovs": "write `bridge: openvswitch`",
        "open_vswitch": "write `bridge: openvswitch`",
        "bridge": "write `bridge: linux`, which is the default",
        "docker0": "remove it; netctl makes a bridge of its own for each subnet",
    },
    ("containers", "restart"): {
        "true": "write `restart: always`",
        "yes": "write `restart: always`",
        "on": "write `restart: always`",
        "false": "write `restart: no`",
        "on_failure": "write `restart: on-failure`",
        "never": "write `restart: no`",
        "unless_stopped": "write `restart: unless-stopped`",
    },
    ("policies", "party"): {
        **dict.fromkeys(("any", "all", "*", "everyone"), "write one policy for each subnet, and `outside` for other networks"),
        **dict.fromkeys(("internet", "world", "external", "wan", "public", "0.0.0.0/0", "::/0"), "write `outside`"),
        **dict.fromkeys(("localhost", "hosts", "127.0.0.1"), "write `host`"),
    },
    ("containers", "runtime"): {
        "containerd": "write `runtime: docker`, or `podman`",
        "runc": "write `runtime: docker`, or `podman`",
        "namespace": "write `runtime: netns`",
        "none": "write `runtime: netns`",
        "linux": "write `runtime: netns`, or `docker` with an `image`",
        "lxd": "write `runtime: lxc`",
    },
}
"""By section and key, the advice for a foreign value; words as above."""


def find_key(section: str, word: str) -> Word | None:
    """The equivalent of an unknown key of the section."""
    return KEYS.get(section, {}).get(_plain(word))


def find_value(section: str, key: str, value: object) -> str:
    """The advice for a value that the key cannot have; "" if the tables do not have it."""
    return VALUES.get((section, key), {}).get(_plain(str(value)), "") if isinstance(value, str | bool) else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")
