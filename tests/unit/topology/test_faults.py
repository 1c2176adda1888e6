"""Each rule of YAML, of hosts, subnets and containers: the fault that breaks it, its place, and what is said of it."""

from __future__ import annotations

import pytest

from reconciler.errors import TopologyError
from reconciler.topology.load import parse_topology
from tests.harness.topologies.faulty import BASE, DUAL, HEAD, HOST, HOSTS, check_fault, container, host, subnet, web_and

CASES = {
    # YAML itself
    "empty file": ("§", "the file is empty"),
    "only a comment": ("§# nothing\n", "the file is empty"),
    "a scalar": ("§hello\n", "the file must be a mapping"),
    "a list": ("§- a\n", "the file must be a mapping"),
    "duplicate key": (BASE + "§name: again\n", "the key `name` is given twice; it stands in line 2"),
    "duplicate container": (BASE + "containers:\n  web: {}\n  §web: {}\n", "`web` is given twice"),
    "alias": (HEAD + HOST + "subnets: {front: {cidr: §*x}}\n", "the alias `*x` is refused"),
    "anchor": (HEAD + HOST + "subnets: {front: §&a {cidr: 10.44.0.0/24}}\n", "the anchor `&a` is refused"),
    "tag": (HEAD + HOST + "subnets: {front: {cidr: §!!str 10.44.0.0/24}}\n", "the tag `tag:yaml.org,2002:str` is refused"),
    "merge key": (HEAD + HOST + "subnets: {front: {§<<: {}, cidr: 10.44.0.0/24}}\n", "merge keys (`<<`) are refused"),
    "an address of a family that is declined": (
        DUAL + 'containers: {web: {networks: {front: {address: "fd00:44::10", ipv6: §false}}}}\n',
        "`web` must have no IPv6 address here, but has fd00:44::10",
    ),
    "no family left": (
        BASE + "containers: {web: {networks: {§front: {ipv4: false}}, ports: [{listen: 80, from: [10.0.0.0/8]}]}}\n",
        "`web` would have no address in `front`",
    ),
    "a port on a family that is declined": (
        DUAL + 'containers: {web: {networks: {front: {ipv6: false}}, ports: [{listen: §"[2001:db8::1]:80"}]}}\n',
        "the container has no IPv6 address in `front`",
    ),
    "two documents": (BASE + "§---\nversion: 1\n", "more than one document"),
    "number as a key": (BASE + "containers: {§12: {}}\n", "the key `12` is read as a number"),
    "truth as a key": (BASE + "containers: {§true: {}}\n", "the key `true` is read as true or false"),
    "complex key": (BASE + "containers:\n  ? §[a]\n  : {}\n", "a key must be a plain word"),
    "missing key": (BASE + "containers: {§~: {}}\n", "a key is missing"),
    "NUL escape": (container('{networks: {front: auto}, command: [§"a\\0"]}'), "a NUL character"),
    "tab": (HEAD + HOST + "subnets:\n§\tfront: {}\n", "line 5 is indented with a tab"),
    "open bracket": (BASE + "containers: §{web: {}\n", "the `{` in line 5 is not closed"),
    "control character": (BASE + "# §\x07\n", "U+0007"),
    # the top level
    "version 2": ("version: §2\nname: shop\n" + HOST, "`version` must be 1"),
    "version text": ("version: §'1'\nname: shop\n" + HOST, "`version` must be 1"),
    "version true": ("version: §true\nname: shop\n" + HOST, "`version` must be 1"),
    "version float": ("version: §1.0\nname: shop\n" + HOST, "`version` must be 1"),
    "no version": ("§name: shop\n" + HOST, "`version` is missing"),
    "no name": ("§version: 1\n" + HOST, "`name` is missing"),
    "no hosts": ("§version: 1\nname: a\n", "`hosts` is missing"),
    "no host": (HEAD + "§hosts: {}\n", "there is no host"),
    "hosts null": (HEAD + "§hosts:\n", "`hosts` has no value"),
    "hosts list": (HEAD + "§hosts: [alpha]\n", "`hosts` must be a mapping"),
    "name number": ("version: 1\nname: §12\n" + HOST, "must be a name, but is the number 12"),
    "name too long": ("version: 1\nname: §" + "a" * 21 + "\n" + HOST, "`name` is too long: 21 characters, and 20"),
    "name upper case": ("version: 1\nname: §Shop\n" + HOST, "is not a valid name: `Shop`"),
    "name newline": ('version: 1\nname: §"shop\\n"\n' + HOST, "is not a valid name"),
    "name quote": ("version: 1\nname: §'a\" ; flush'\n" + HOST, "is not a valid name"),
    "unknown key": (BASE + "§container: {}\n", "unknown key `container`"),
    # hosts
    "connect missing": (HEAD + "hosts:\n  §alpha: {address: 192.0.2.11}\n", "`connect` is missing in host `alpha`"),
    "connect wrong": (host("{connect: §telnet, address: 192.0.2.11}"), "is not a destination of a host"),
    "connect port": (host("{connect: §'ssh://a:99999'}"), "a port that does not exist"),
    "lab without address": (HEAD + "hosts:\n  §alpha: {connect: lab}\n", "the lab host `alpha` has no address"),
    "lab router": (host("{connect: lab, address: §192.0.2.1}"), "192.0.2.1 is the lab's router"),
    "lab router IPv6": (host("{connect: lab, address: §'2001:db8::1'}"), "2001:db8::1 is the lab's router"),
    "lab network": (host("{connect: lab, address: §192.0.2.0}"), "is the network address"),
    "lab broadcast": (host("{connect: lab, address: §192.0.2.255}"), "is the broadcast address"),
    "lab outside": (host("{connect: lab, address: §203.0.113.7}"), "the lab's world outside"),
    "lab outside IPv6": (host("{connect: lab, address: §'2001:db8:ffff::7'}"), "the lab's world outside"),
    "lab loopback": (host("{connect: lab, address: §127.0.0.5}"), "cannot be a host's address"),
    "host address a number": (host("{connect: lab, address: §7}"), "must be an address, but is the number 7"),
    "host address a CIDR": (host("{connect: lab, address: §192.0.2.11/24}"), "without a prefix length"),
    "two IPv4 addresses": (
        HEAD + "hosts:\n  a:\n    connect: lab\n    address: [192.0.2.11, §192.0.2.12]\n",
        "two IPv4 addresses",
    ),
    "address taken": (
        HEAD + "hosts: {a: {connect: lab, address: 192.0.2.9}, b: {connect: lab, address: §192.0.2.9}}\n",
        "of `a` already",
    ),
    "two local": (HEAD + "hosts: {a: {connect: local}, b: {connect: §local}}\n", "both this machine"),
    "uplink too long": (host("{connect: local, uplink: §abcdefghijklmnop}"), "at most 15 characters"),
    "uplink slash": (host("{connect: local, uplink: §a/b}"), "is not an interface name"),
    "engine over tcp": (host("{connect: local, docker: §'tcp://x:1'}"), "must be a Unix socket"),
    "reserved host": (HEAD + "hosts: {§lab: {connect: local}}\n", "must not be `lab`"),
    "unknown host key": (host("{connect: local, §adress: 192.0.2.11}"), "unknown key `adress` in host `alpha`"),
    # subnets
    "cidr missing": (HEAD + HOST + "subnets:\n  §front: {}\n", "`cidr` is missing in subnet `front`"),
    "cidr host bits": (subnet("{cidr: §10.44.0.1/24}"), "has host bits set"),
    "cidr no prefix": (subnet("{cidr: §10.44.0.0}"), "needs a prefix length"),
    "cidr netmask": (subnet("{cidr: §10.44.0.0/255.255.255.0}"), "prefix length as a number"),
    "cidr nonsense": (subnet("{cidr: §front}"), "is not a CIDR"),
    "cidr multicast": (subnet("{cidr: §224.1.0.0/24}"), "is a multicast range"),
    "cidr loopback": (subnet("{cidr: §127.0.0.0/24}"), "is a loopback range"),
    "cidr link-local": (subnet("{cidr: §169.254.0.0/24}"), "is a link-local range"),
    "cidr everything": (subnet("{cidr: §0.0.0.0/0}"), "cannot be used for hosts"),
    "cidr reserved": (subnet("{cidr: §250.0.0.0/24}"), "cannot be used for hosts"),
    "cidr too small": (subnet("{cidr: §10.44.0.0/31}"), "has no room"),
    "cidr too small IPv6": (subnet("{cidr: §'fd00::/127'}"), "has no room"),
    "cidr twice IPv4": (HEAD + HOST + "subnets:\n  front: {cidr: [10.1.0.0/24, §10.2.0.0/24]}\n", "two IPv4 CIDRs"),
    "cidr empty list": (HEAD + HOST + "subnets:\n  front: {§cidr: []}\n", "but has 0 items"),
    "contains a host": (subnet("{cidr: §192.0.2.0/25}"), "contains 192.0.2.11, the address of the host `alpha`"),
    "contains the segment": (subnet("{cidr: §192.0.2.128/25}"), "overlaps 192.0.2.0/24, the lab segment"),
    "overlaps outside": (subnet("{cidr: §203.0.113.0/25}"), "the lab's world outside"),
    "overlap": (
        HEAD + HOST + "subnets:\n  a: {cidr: 10.44.0.0/16}\n  b: {cidr: §10.44.1.0/24}\n",
        "10.44.1.0/24 overlaps 10.44.0.0/16 of `a`, line 5",
    ),
    "overlap reversed": (
        HEAD + HOST + "subnets:\n  a: {cidr: 10.44.1.0/24}\n  b: {cidr: §10.44.0.0/16}\n",
        "10.44.0.0/16 overlaps 10.44.1.0/24 of `a`",
    ),
    "overlap IPv6": (HEAD + HOST + "subnets:\n  a: {cidr: 'fd00::/48'}\n  b: {cidr: §'fd00:0:0:1::/64'}\n", "overlaps fd00::/48"),
    "mode": (subnet("{cidr: 10.44.0.0/24, mode: §natt}"), "must be one of nat | routed"),
    "overlay": (subnet("{cidr: 10.44.0.0/24, overlay: §gre}"), "must be one of vxlan | routes | auto | none"),
    "mtu small": (subnet("{cidr: 10.44.0.0/24, mtu: §575}"), "576 to 65535"),
    "mtu large": (subnet("{cidr: 10.44.0.0/24, mtu: §65536}"), "576 to 65535"),
    "mtu text": (subnet("{cidr: 10.44.0.0/24, mtu: §'1500'}"), "must be `auto` or a number"),
    "mtu true": (subnet("{cidr: 10.44.0.0/24, mtu: §true}"), "must be `auto` or a number"),
    "mtu for IPv6": (subnet("{cidr: 'fd00:44::/64', mtu: §1279}"), "at least 1280"),
    "subnet host unknown": (subnet("{cidr: 10.44.0.0/24, hosts: [§alfa]}"), "there is no host `alfa`"),
    "subnet hosts a word": (subnet("{cidr: 10.44.0.0/24, hosts: §alpha}"), "`hosts` must be a list"),
    "gateway outside": (subnet("{cidr: 10.44.0.0/24, gateway: §10.45.0.1}"), "the gateway 10.45.0.1 is outside"),
    "gateway network": (subnet("{cidr: 10.44.0.0/24, gateway: §10.44.0.0}"), "is the network address"),
    "gateway family": (subnet("{cidr: 10.44.0.0/24, gateway: §'fd00::1'}"), "has no IPv6 range"),
    "gateway host unknown": (subnet("{cidr: 10.44.0.0/24, gateway: {§gamma: 10.44.0.1}}"), "there is no host `gamma`"),
    "gateway shared": (
        HEAD + HOSTS + "subnets: {front: {cidr: 10.44.0.0/24, gateway: {alpha: 10.44.0.1, beta: §10.44.0.1}}}\n",
        "is the gateway of `alpha` in `front` already",
    ),
    "vni zero": (subnet("{cidr: 10.44.0.0/24, vni: §0}"), "`vni` must be at least 1"),
    "vni null": (subnet("{cidr: 10.44.0.0/24, §vni: }"), "`vni` has no value"),
    "vni taken": (
        HEAD + HOST + "subnets: {a: {cidr: 10.1.0.0/24, vni: 7}, b: {cidr: 10.2.0.0/24, vni: §7}}\n",
        "is that of `a` already",
    ),
    "vxlan port": (subnet("{cidr: 10.44.0.0/24, vxlan_port: §70000}"), "at most 65535"),
    "reserved subnet": (HEAD + HOST + "subnets: {§outside: {cidr: 10.44.0.0/24}}\n", "must not be `outside`"),
    # containers
    "container null": (BASE + "containers:\n  §web:\n", "the container `web` has no value"),
    "container number": (container("§3"), "the container `web` must be a mapping"),
    "container name": (BASE + "containers: {§Web_1: {}}\n", "the name `Web_1` is not a valid name"),
    "reserved container": (BASE + "containers: {§router: {}}\n", "must not be `router`"),
    "host unknown": (container("{host: §beta}"), "there is no host `beta`"),
    "host left open": (HEAD + HOSTS + "containers:\n  §web: {}\n", "does not say on which host"),
    "network unknown": (container("{networks: {§frnt: auto}}"), "there is no subnet `frnt`"),
    "network null": (container("{networks: {§front: }}"), "has no value"),
    "networks a list": (BASE + "containers:\n  web: {§networks: [front]}\n", "`networks` must be a mapping"),
    "address nonsense": (container("{networks: {front: §10.44.0.300}}"), "is not an IP address"),
    "address outside": (container("{networks: {front: §10.45.0.10}}"), "is outside of 10.44.0.0/24"),
    "address network": (container("{networks: {front: §10.44.0.0}}"), "is the network address"),
    "address broadcast": (container("{networks: {front: §10.44.0.255}}"), "is the broadcast address"),
    "address gateway": (container("{networks: {front: §10.44.0.1}}"), "10.44.0.1 is the gateway"),
    "address family": (container("{networks: {front: §'fd00::5'}}"), "has no IPv6 range"),
    "address taken twice": (web_and("{networks: {front: §10.44.0.10}}"), "10.44.0.10 is taken: `web` has it"),
    "address long form": (container("{networks: {front: {address: §10.44.0.255}}}"), "is the broadcast address"),
    "address mapped": (container("{networks: {front: §'::ffff:10.44.0.10'}}"), "must be a plain IPv6 address"),
    "explicit gateway": (
        HEAD
        + HOST
        + "subnets: {front: {cidr: 10.44.0.0/24, gateway: 10.44.0.9}}\ncontainers: {web: {networks: {front: §10.44.0.9}}}\n",
        "10.44.0.9 is the gateway",
    ),
    "mac multicast": (container("{networks: {front: {mac: §'03:00:00:00:00:01'}}}"), "is a multicast address"),
    "mac nonsense": (container("{networks: {front: {mac: §'02:00'}}}"), "is not a MAC address"),
    "mac zero": (container("{networks: {front: {mac: §'00:00:00:00:00:00'}}}"), "must not be all zeros"),
    "mac taken": (
        BASE + "containers:\n  a: {networks: {front: {mac: '02:00:00:00:00:01'}}}\n"
        "  b: {networks: {front: {mac: §'02:00:00:00:00:01'}}}\n",
        "is that of `a` in `front` already",
    ),
    "interface long": (container("{networks: {front: {interface: §abcdefghijklmnop}}}"), "at most 15 characters"),
    "interface lo": (container("{networks: {front: {interface: §lo}}}"), "must not be `lo`"),
    "interface all": (container("{networks: {front: {interface: §all}}}"), "must not be `all`"),
    "interface twice": (
        HEAD + HOST + "subnets: {a: {cidr: 10.1.0.0/24}, b: {cidr: 10.2.0.0/24}}\n"
        "containers:\n  web: {networks: {a: {interface: x0}, b: {interface: §x0}}}\n",
        "two interfaces called x0",
    ),
    "default twice": (
        HEAD + HOST + "subnets: {a: {cidr: 10.1.0.0/24}, b: {cidr: 10.2.0.0/24}}\n"
        "containers:\n  web: {networks: {a: {default: true}, b: {default: §true}}}\n",
        "default route in `a` already",
    ),
    "a port without a default route": (
        container("{networks: {front: {default: false}}, ports: [§80]}"),
        "it has no default route, so its replies do not return",
    ),
    "default yes": (container("{networks: {front: {default: §yes}}}"), "must be true or false, but is the text `yes`"),
    "image number": (container("{image: §7}"), "must be the name of an image, but is the number 7"),
    "image blank": (container("{image: §'a b'}"), "is not an image name"),
    "command mapping": (container("{§command: {run: x}}"), "must be a list of words, but is a mapping"),
    "command empty word": (container("{§command: ['']}"), "its first word is empty"),
    "command number": (container("{command: [sleep, §5]}"), "one item is the number 5"),
    "command quote": (container("{command: §'sleep \"1'}"), "a quote that is opened"),
    "env number": (container("{command: [a], env: {PORT: §80}}"), "must give text for `PORT`"),
    "env list": (container("{command: [a], env: [§PORT]}"), "an item without `=`"),
    "env without command": (container("{§env: {A: b}}"), "no command runs in it"),
    "volume relative": (container("{image: a, volumes: [§'./a:/b']}"), "absolute host path"),
    "volume alone": (container("{image: a, volumes: [§/b]}"), "is not a volume"),
    "volumes text": (container("{image: a, volumes: §'/a:/b'}"), "must be a list"),
    "restart": (container("{image: a, restart: §allways}"), "must be one of no | always"),
    "restart false": (container("{image: a, restart: §false}"), "but is the truth value false"),
    "runtime": (container("{runtime: §dockr}"), "must be one of docker"),
    "runtime null": (container("{§runtime: }"), "`runtime` has no value"),
    "docker without image": (BASE + "containers:\n  §web: {runtime: docker}\n", "no image to run"),
    "netns with image": (container("{runtime: netns, §image: a}"), "`image` has no meaning"),
    "netns with volumes": (container("{§volumes: ['/a:/b']}"), "`volumes` has no meaning"),
    "existing with image": (container("{existing: true, §image: a}"), "`image` has no effect on the existing container"),
    "existing with command": (container("{existing: true, §command: [a]}"), "`command` has no effect"),
    "existing with replicas": (container("{existing: other, §replicas: 2}"), "`replicas` has no effect"),
    "existing netns": (container("{existing: true, runtime: §netns}"), "runtime cannot be netns"),
    "existing number": (container("{existing: §1}"), "must be true, or the name of a container"),
    "existing twice": (
        BASE + "containers:\n  a: {existing: x}\n  §b: {existing: x}\n",
        "would both be the engine's container `x`",
    ),
    "existing is ours": (BASE + "containers:\n  a: {image: x}\n  §b: {existing: shop-a}\n", "the engine's container `shop-a`"),
    "replicas negative": (container("{replicas: §-1}"), "must be at least 0"),
    "replicas many": (container("{replicas: §1024}"), "must be at most 1023"),
    "replicas text": (container("{replicas: §'3'}"), "must be a whole number, but is the text `3`"),
    "replicas true": (container("{replicas: §true}"), "must be a whole number"),
    "replicas float": (container("{replicas: §3.0}"), "must be a whole number"),
    "replicas share address": (container("{replicas: 2, networks: {front: §10.44.0.10}}"), "cannot share the address"),
    "replicas share mac": (container("{replicas: 2, networks: {front: {mac: §'02:00:00:00:00:01'}}}"), "cannot share the MAC"),
    "replicas share ports": (container("{replicas: 2, networks: {front: auto}, §ports: [80]}"), "cannot share a published port"),
    "replica name taken": (BASE + "containers:\n  worker: {replicas: 2}\n  §worker-1: {}\n", "it is also a replica of `worker`"),
    "replica name taken before": (BASE + "containers:\n  worker-1: {}\n  §worker: {replicas: 2}\n", "it is also"),
    "replica name long": (BASE + "containers:\n  §" + "a" * 62 + ": {replicas: 1}\n", "has a name of 64 characters"),
    "link names meet": (
        "version: 1\nname: s\n" + HOST + "subnets: {c: {cidr: 10.1.0.0/24}, b-c: {cidr: 10.2.0.0/24}}\n"
        "containers:\n  a-b: {networks: {c: auto}}\n  a: {networks: {§b-c: auto}}\n",
        "would both be called `v-s-a-b-c`",
    ),
    "no room": (
        HEAD + HOST + "subnets: {front: {cidr: §10.44.0.0/29}}\ncontainers: {web: {replicas: 6, networks: {front: auto}}}\n",
        "has room for 5 containers besides the gateway, and 6",
    ),
    "too many ports": (
        HEAD + HOST + "subnets:\n  §front: {cidr: 10.44.0.0/16}\n"
        "containers: {a: {replicas: 1000, networks: {front: auto}}, b: {replicas: 24, networks: {front: auto}}}\n",
        "a bridge takes 1023",
    ),
}


@pytest.mark.parametrize(("text", "fragment"), CASES.values(), ids=CASES.keys())
def test_fault(text: str, fragment: str) -> None:
    """Exactly this fault is found, exactly there, and its help says what to write."""
    check_fault(text, fragment)


def test_all_faults_in_one_run() -> None:
    """Faults of every stage (YAML, shape, across the file) are found together, in the order of the file, and nothing twice."""
    text = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: 192.0.2.1}
  beta: {connect: lax, address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24, mode: natt}
  back: {cidr: 10.45.0.0/24}
  back: {cidr: 10.45.0.0/24}
containers:
  web: {host: beta, networks: {front: 10.44.0.10, back: 10.46.0.1}, ports: [x, '80:80', '80:80', {listen: 1, bogus: 2}]}
  db: {host: gamma, networks: {back: auto}, image: *x}
  sql: {host: alpha, netwroks: {}, networks: {back: 10.45.0.0}}
policies:
  - {allow: web, to: 7}
  - {allow: web, to: nowhere}
"""
    text = text.replace("*x", "7")
    with pytest.raises(TopologyError) as raised:
        parse_topology(text.encode())
    found = [(fault.position.line, fault.message) for fault in raised.value.faults]
    assert [line for line, _ in found] == [4, 5, 7, 9, 11, 11, 11, 12, 12, 13, 13, 15, 16], found
    assert "there is no subnet `front`" not in str(found), "what is faulty in itself is not called missing"
