"""What a good file becomes: defaults filled in, short forms spelled out, replicas expanded, host subnets known."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest

from reconciler.errors import TopologyError, UsageError
from reconciler.topology.host_subnets import host_subnets_of, hosts_beside
from reconciler.topology.load import load_topology, parse_topology
from reconciler.topology.types import Attachment, Connect, Party, Policy, PortRange, Publication, Topology

ROOT = Path(__file__).parents[3]

TEXT = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"], uplink: up0}
  beta: {connect: lab, address: 198.51.100.7}
subnets:
  front: {cidr: [10.44.0.0/24, "fd00:44::/64"], mtu: 1400, gateway: {alpha: 10.44.0.254}}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  jobs: {cidr: 10.46.0.0/24, hosts: [beta]}
containers:
  web:
    host: alpha
    networks:
      front: 10.44.0.10
      back: {address: auto, interface: eth0, mac: "02:00:00:00:00:AA"}
    ports:
      - 80
      - "8080-8089:9080-9089/udp"
      - "[2001:db8::11]:443:443"
      - {listen: "0.0.0.0:22", to: 2222, from: 192.0.2.7}
  proxy:
    host: alpha
    networks: {back: auto, front: {default: true}}
    command: sleep "10 s"
    env: [A=b=c]
  job: {host: beta, image: "busybox:latest", replicas: 2, networks: {jobs: auto}}
  theirs: {host: beta, existing: true}
  other: {host: beta, existing: Other_1}
  none: {host: beta, replicas: 0, networks: {jobs: auto}}
policies:
  - {allow: web, to: back, ports: [80, 53/udp, 8000-8010/tcp]}
  - {allow: job, to: outside}
"""


@pytest.fixture(scope="module")
def topology() -> Topology:
    return parse_topology(TEXT.encode())


def test_hosts(topology: Topology) -> None:
    """Hosts know how they are reached and where."""
    assert topology.hosts["alpha"].connect == Connect(scheme="lab")
    assert topology.hosts["alpha"].addresses == (IPv4Address("192.0.2.11"), IPv6Address("2001:db8::11"))
    assert (topology.hosts["alpha"].uplink, topology.hosts["beta"].uplink) == ("up0", "")


def test_subnets(topology: Topology) -> None:
    """Subnets have one prefix per family, and what the file leaves open has its default."""
    assert [str(cidr) for cidr in topology.subnets["front"].cidrs] == ["10.44.0.0/24", "fd00:44::/64"]
    assert topology.subnets["front"].gateways == {"alpha": (IPv4Address("10.44.0.254"),)}
    assert (topology.subnets["front"].mode, topology.subnets["front"].mtu, topology.subnets["back"].mtu) == ("nat", 1400, None)


def test_attachments(topology: Topology) -> None:
    """A family without an address is `auto`; the first network has the default route, unless another says so."""
    assert topology.containers["web"].attachments == (
        Attachment(subnet="front", addresses=(IPv4Address("10.44.0.10"),), auto=(6,), interface="eth1", default=True),
        Attachment(subnet="back", addresses=(), auto=(4,), mac="02:00:00:00:00:aa", interface="eth0", default=False),
    )
    assert [(a.subnet, a.default, a.interface) for a in topology.containers["proxy"].attachments] == [
        ("back", False, "eth0"),
        ("front", True, "eth1"),
    ]


def test_a_family_can_be_declined() -> None:
    """`ipv6: false` in a dual-stack subnet: an IPv4 address, given or chosen, and none of IPv6."""
    text = (
        "version: 1\nname: shop\nhosts: {alpha: {connect: lab, address: 192.0.2.11}}\n"
        'subnets: {front: {cidr: [10.44.0.0/24, "fd00:44::/64"]}}\n'
        "containers:\n  a: {networks: {front: {address: 10.44.0.10, ipv6: false}}}\n  b: {networks: {front: {ipv4: false}}}\n"
    )
    containers = parse_topology(text.encode()).containers
    assert containers["a"].attachments[0].addresses == (IPv4Address("10.44.0.10"),)
    assert (containers["a"].attachments[0].auto, containers["b"].attachments[0].auto) == ((), (6,))


def test_publications(topology: Topology) -> None:
    """Short and long forms of published ports become the same thing."""
    here = ("containers", "web", "ports")
    hosts = ("alpha",)
    assert topology.containers["web"].publications == (
        Publication(
            protocol="tcp", address=None, port=80, to_port=80, count=1, sources=(), hosts=hosts, subnet="front", path=(*here, 0)
        ),
        Publication(
            protocol="udp",
            address=None,
            port=8080,
            to_port=9080,
            count=10,
            sources=(),
            hosts=hosts,
            subnet="front",
            path=(*here, 1),
        ),
        Publication(
            protocol="tcp",
            address=IPv6Address("2001:db8::11"),
            port=443,
            to_port=443,
            count=1,
            sources=(),
            hosts=hosts,
            subnet="front",
            path=(*here, 2),
        ),
        Publication(
            protocol="tcp",
            address=IPv4Address("0.0.0.0"),
            port=22,
            to_port=2222,
            count=1,
            sources=(IPv4Network("192.0.2.7/32"),),
            hosts=hosts,
            subnet="front",
            path=(*here, 3),
        ),
    )


def test_containers(topology: Topology) -> None:
    """Replicas are numbered and know their origin; engines know containers by the topology's name, or by their own."""
    names = {
        container.name: (container.origin, container.engine_name, container.spec.runtime)
        for container in topology.containers.values()
    }
    assert names == {
        "web": ("web", "shop-web", "netns"),
        "proxy": ("proxy", "shop-proxy", "netns"),
        "job-1": ("job", "shop-job-1", "docker"),
        "job-2": ("job", "shop-job-2", "docker"),
        "theirs": ("theirs", "theirs", "docker"),
        "other": ("other", "Other_1", "docker"),
    }
    assert [name for name, container in topology.containers.items() if container.existing] == ["theirs", "other"]
    assert topology.containers["proxy"].spec.command == ("sleep", "10 s")
    assert topology.containers["proxy"].spec.env == (("A", "b=c"),)


def test_policies(topology: Topology) -> None:
    """A party is a container with all its replicas, a subnet, the hosts or the outside; ports are tcp where not said."""
    ports = (PortRange("tcp", 80, 80), PortRange("udp", 53, 53), PortRange("tcp", 8000, 8010))
    assert topology.policies == (
        Policy(Party("container", "web"), Party("subnet", "back"), ports),
        Policy(Party("container", "job"), Party("outside")),
    )


def test_host_subnets(topology: Topology) -> None:
    """A subnet is where its containers are, and where `hosts:` names it."""
    assert host_subnets_of(topology) == {"front": ("alpha",), "back": ("alpha",), "jobs": ("beta",)}


def test_positions(topology: Topology) -> None:
    """A topology knows where its parts stand in the file, or what is nearest around them."""
    line = TEXT.splitlines().index("  web:") + 1
    assert topology.position(("containers", "web")).line == line
    assert topology.position(("containers", "web", "ports", 2)).line == line + 8
    assert topology.position(("containers", "web", "ports", 2, "listen")).line == line + 8


def test_one_host_needs_no_naming() -> None:
    """`host:` may be left out where the file has one host."""
    topology = parse_topology(b"version: 1\nname: a\nhosts: {h: {connect: local}}\ncontainers: {c: {}}\n")
    assert topology.containers["c"].host == "h"
    assert topology.containers["c"].attachments == ()


@pytest.mark.parametrize(
    "ports",
    [
        ["80", "{listen: 80, protocol: udp}"],
        ["'192.0.2.11:80:80'", "'127.0.0.1:80:80'"],
        ["'0.0.0.0:80:80'", "'[::]:80:80'"],
        ["'8000-8010:8000-8010'", "8011", "7999"],
    ],
)
def test_ports_that_do_not_meet(ports: list[str]) -> None:
    """Another protocol, another address, another family and the port next door are no conflict."""
    text = "version: 1\nname: a\nhosts: {h: {connect: local}}\nsubnets: {s: {cidr: [10.1.0.0/24, 'fd00::/64']}}\n"
    text += f"containers: {{c: {{networks: {{s: auto}}, ports: [{', '.join(ports)}]}}}}\n"
    assert len(parse_topology(text.encode()).containers["c"].publications) == len(ports)


@pytest.mark.parametrize("file", ["missing.yaml", "", ".", "a\0b", "/proc/self/mem"])
def test_no_such_file(file: str) -> None:
    """A file that cannot be read is a sentence about the file, with exit status 2."""
    with pytest.raises(UsageError) as raised:
        load_topology(file)
    assert raised.value.exit_status == 2
    assert raised.value.help_text


def test_error_carries_the_source(tmp_path: Path) -> None:
    """A caller that shows the faults can show the lines that they stand in."""
    file = tmp_path / "t.yaml"
    file.write_text("version: 1\nnam: x\n")
    with pytest.raises(TopologyError) as raised:
        load_topology(str(file))
    assert raised.value.path == str(file)
    assert raised.value.source == file.read_text()
    assert "did you mean `name`?" in " ".join(fault.help_text for fault in raised.value.faults)


def test_what_is_there_is_listed_with_what_has_faults_of_its_own() -> None:
    """Who looks for the name of a subnet is shown all that the file has, also one whose mode is misspelt."""
    text = b"""
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}}
subnets: {back: {cidr: 10.45.0.0/24}, front: {cidr: 10.44.0.0/24, mode: natt}}
containers: {web: {networks: {else: auto}}}
"""
    with pytest.raises(TopologyError) as raised:
        parse_topology(text)
    assert "the subnets are back, front" in [fault.help_text for fault in raised.value.faults]


def test_faults_between_the_parts_are_found_beside_others() -> None:
    """One run finds a subnet that cannot span its hosts, also if another subnet is full and a third has a key without effect."""
    text = b"""
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 192.0.2.12}}
subnets: {apart: {cidr: 10.44.0.0/24, overlay: none}, full: {cidr: 10.45.0.0/30, mtu: 1400}}
containers:
  web: {host: alpha, networks: {apart: auto}, dns: {aliases: [www]}}
  db: {host: beta, replicas: 3, networks: {full: {mtu: 1500}}}
  job: {host: beta, networks: {apart: auto}}
"""
    with pytest.raises(TopologyError) as raised:
        parse_topology(text)
    said = sorted(fault.message for fault in raised.value.faults)
    parts = (
        "10.45.0.0/30 has room for 1",
        "`dns` has no effect on `web`",
        "`mtu` is 1500, but",
        "cannot join the hosts of `apart`",
    )
    assert len(said) == len(parts), said
    assert all(message.startswith(part) for message, part in zip(said, parts, strict=True)), said


def test_a_place_has_one_fault() -> None:
    """A lab host without an address is named once, although a subnet with several hosts needs that address, too."""
    text = b"""
version: 1
name: shop
hosts: {alpha: {connect: lab}, beta: {connect: lab, address: 192.0.2.12}}
subnets: {front: {cidr: 10.44.0.0/24}}
containers: {web: {host: alpha, networks: {front: auto}}, job: {host: beta, networks: {front: auto}}}
"""
    with pytest.raises(TopologyError) as raised:
        parse_topology(text)
    assert [fault.message for fault in raised.value.faults] == ["the lab host `alpha` has no address"]


def test_loading_is_light() -> None:
    """Reading a file imports no backend: `validate` answers at once."""
    code = "import sys, reconciler.topology.load; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    heavy = {"pyroute2", "docker", "rich", "nftables", "requests", "hypothesis"}
    assert not heavy & set(modules)


BESIDE = """
version: 1
name: shop
hosts:
  a: {connect: lab, address: 192.0.2.11}
  b: {connect: lab, address: 192.0.2.12}
  c: {connect: lab, address: 192.0.2.13}
  d: {connect: lab, address: 192.0.2.14}
subnets: {front: {cidr: 10.44.0.0/24}, back: {cidr: 10.45.0.0/24}, own: {cidr: 10.46.0.0/24}}
containers:
  web: {host: a, networks: {front: auto}}
  api: {host: b, networks: {front: auto}}
  db: {host: c, networks: {back: auto}}
  other: {host: d, networks: {own: auto}}
"""


def test_hosts_that_share_a_subnet() -> None:
    """What one host is to have depends on those with which it shares a subnet, also by a policy, and on no others."""
    topology = parse_topology(BESIDE.encode())
    assert [hosts_beside(topology, host) for host in "abcd"] == [{"b"}, {"a"}, set(), set()]
    topology = parse_topology((BESIDE + "policies: [{allow: web, to: db}]\n").encode())
    assert [hosts_beside(topology, host) for host in "abcd"] == [{"b", "c"}, {"a"}, {"a"}, set()]
