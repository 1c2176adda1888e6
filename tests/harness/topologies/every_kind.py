"""Topologies that together have a thing of every kind, with what their host is: both the fake and the real host get them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.compile import compile_topology
from reconciler.state.host import HostFacts, HostState, LinkFacts
from reconciler.topology.load import parse_topology

MAC = "02:aa:00:00:00:11"
ADDRESS, ROUTER = "192.0.2.11/24", "192.0.2.1"
UPLINK = LinkFacts("eth0", "veth", MAC, 1500, addresses=(ADDRESS,))
FACTS = HostFacts(exists=True, uplink="eth0", uplink_mac=MAC, addresses=(ADDRESS,), links=(UPLINK,))
HEAD = "version: 1\nname: {name}\n"
HERE = "hosts: {{here: {{connect: local}}}}\n"


@dataclass(frozen=True, slots=True)
class Example:
    """A file, the facts of its host `here`, and the capabilities that the real one needs."""

    text: str
    facts: HostFacts = FACTS
    needs: tuple[str, ...] = ()

    def compile(self, topology: str) -> HostState:
        """What the host is to have."""
        text = (HEAD + self.text).format(name=topology)
        return compile_topology(parse_topology(text.encode()), {"here": self.facts}).hosts["here"]


EXAMPLES: Mapping[str, Example] = {
    "a bridge, a rate limit, a command and Docker's chain": Example(
        HERE
        + """\
subnets:
  front: {{cidr: [10.44.0.0/24, "fd44::/64"]}}
  back: {{cidr: 10.45.0.0/24, mode: isolated}}
containers:
  web: {{networks: {{front: {{address: [10.44.0.10, "fd44::10"], rate: 10mbit}}}}, ports: ["8080:80"]}}
  db: {{networks: {{back: 10.45.0.20}}, command: [sleep, infinity]}}
policies: [{{allow: web, to: db, ports: [5432/tcp]}}]
""",
        replace(FACTS, docker_user_chain=("iptables", "ip6tables")),
    ),
    "name servers": Example(
        HERE
        + """\
dns: true
subnets:
  front: {{cidr: [10.44.0.0/24, "fd44::/64"]}}
  back: {{cidr: 10.45.0.0/24, mode: isolated}}
containers:
  web: {{networks: {{front: 10.44.0.10}}, command: [sleep, infinity]}}
  db: {{networks: {{front: 10.44.0.20, back: 10.45.0.20}}, dns: {{aliases: [store]}}}}
""",
        needs=("dnsmasq",),
    ),
    "a VXLAN and a fast path": Example(
        """\
hosts:
  here: {{connect: local, address: 192.0.2.11}}
  there: {{connect: ssh://root@there, address: 192.0.2.12}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  web: {{host: here, networks: {{front: 10.44.0.10}}}}
  db: {{host: there, networks: {{front: 10.44.0.20}}}}
""",
        replace(FACTS, fast_path=True),
    ),
    "macvlans, and a DHCP client": Example(
        HERE
        + """\
subnets: {{lan: {{cidr: 192.0.2.0/24, mode: macvlan, type: bridge}}}}
containers:
  web: {{networks: {{lan: 192.0.2.50}}}}
  app: {{networks: {{lan: dhcp}}}}
""",
        needs=("udhcpc",),
    ),
    "an uplink in a bridge": Example(
        HERE
        + """\
subnets: {{lan: {{cidr: 192.0.2.0/24, mode: direct}}}}
containers: {{web: {{networks: {{lan: 192.0.2.50}}}}}}
"""
    ),
    "a bridge of Open vSwitch": Example(
        HERE
        + """\
subnets:
  front: {{cidr: [10.44.0.0/24, "fd44::/64"], bridge: openvswitch}}
  back: {{cidr: 10.45.0.0/24, mode: isolated, bridge: openvswitch}}
containers:
  web: {{networks: {{front: [10.44.0.10, "fd44::10"]}}}}
  db: {{networks: {{back: {{address: 10.45.0.20, rate: 10mbit}}}}}}
""",
        needs=("openvswitch",),
    ),
    "an uplink in a bridge of Open vSwitch": Example(
        HERE
        + """\
subnets: {{lan: {{cidr: 192.0.2.0/24, mode: direct, bridge: openvswitch}}}}
containers: {{web: {{networks: {{lan: 192.0.2.50}}}}}}
""",
        needs=("openvswitch",),
    ),
    "a container of Docker": Example(
        HERE
        + """\
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  web:
    image: busybox:latest
    command: [sh, -c, "trap 'exit 0' TERM; sleep 1000 & wait"]
    networks: {{front: 10.44.0.10}}
""",
        needs=("dockerd",),
    ),
}
