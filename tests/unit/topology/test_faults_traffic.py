"""Each rule of published ports and policies: the fault that breaks it, its place, and what is said of it."""

from __future__ import annotations

import pytest

from tests.harness.topologies.faulty import BASE, DUAL, HEAD, HOST, check_fault, container, expose, policy

CASES = {
    # published ports
    "port nonsense": (expose("§http"), "is not a port"),
    "port zero": (expose("§'0:80'"), "a port that does not exist: 0"),
    "port large": (expose("§'65536:80'"), "a port that does not exist"),
    "port number large": (expose("§65536"), "a port that does not exist"),
    "port true": (expose("§true"), "must be a port, or two such as 8080:80"),
    "port backwards": (expose("§'90-80'"), "ends before it starts"),
    "ranges differ": (expose("§'80-90:80-89'"), "publishes 11 ports of the host to 10"),
    "range to one": (expose("§'80-90:80'"), "publishes 11 ports of the host to 1"),
    "range overflow": (expose("§'65530-65540:1-11'"), "a port that does not exist"),
    "protocol": (expose("§'53:53/icmp'"), "no protocol that can be published"),
    "two slashes": (expose("§'53/tcp:53/tcp'"), "has the protocol before the container's port"),
    "two protocols": (expose("§{listen: 53, to: 53/udp, protocol: tcp}"), "says two protocols"),
    "listen missing": (expose("§{to: 80}"), "`listen` is missing in container `web`"),
    "listen name": (expose("§'localhost:80:80'"), "has a name in place of an address"),
    "listen IPv6 bare": (expose("§'2001:db8::11:80:80'"), "IPv6 address in brackets"),
    "listen IPv6 loopback": (
        DUAL + "containers:\n  web: {networks: {front: auto}, ports: [§'[::1]:80:80']}\n",
        "there is no route_localnet for IPv6",
    ),
    "listen elsewhere": (expose("§'192.0.2.99:80:80'"), "192.0.2.99 is not an address of the host `alpha`"),
    "listen family": (expose("§'[2001:db8::11]:80:80'"), "the container has no IPv6 address"),
    "from bits": (expose("{listen: 80, from: [§192.0.2.1/24]}"), "has host bits set"),
    "from nobody": (expose("{listen: 80, §from: []}"), "is empty, so no network could connect"),
    "from family": (expose("{listen: 80, from: [§'fd00::/8']}"), "nothing can come from fd00::/8"),
    "network not its": (expose("{listen: 80, network: §back}"), "`web` has no network `back`"),
    "network none": (container("{ports: [§80]}"), "it is in no network"),
    "on unknown": (expose("{listen: 80, on: [§gamma]}"), "there is no host `gamma`"),
    "published twice": (
        expose("'8080:80'", "§'8080:81'"),
        "port 8080/tcp of `alpha` is published twice: `web` has it on all its addresses",
    ),
    "published on all and one": (expose("'0.0.0.0:8080:80'", "§'192.0.2.11:8080:81'"), "published twice"),
    "published on one and all": (expose("'192.0.2.11:8080:80'", "§'8080:81'"), "`web` has it on 192.0.2.11"),
    "ranges overlap": (expose("'8000-8010:8000-8010'", "§'8010-8020:9010-9020'"), "port 8010/tcp"),
    "range within": (expose("'8000-8100:8000-8100'", "9000", "§'8050:80'"), "port 8050/tcp"),
    "published by another": (
        BASE + "containers:\n  a: {networks: {front: auto}, ports: ['8080:80']}\n"
        "  b: {networks: {front: auto}, ports: [§'8080:80']}\n",
        "`a` has it",
    ),
    "isolated publishes": (
        HEAD + HOST + "subnets: {front: {cidr: 10.44.0.0/24, mode: isolated}}\n"
        "containers: {web: {networks: {front: auto}, ports: [§'8080:80']}}\n",
        "the subnet is isolated",
    ),
    "unknown expose key": (expose("{listen: 80, §too: 81}"), "unknown key `too`"),
    # policies
    "policy unknown": (policy("{allow: web, to: §bakc}"), "there is no container or subnet `bakc`"),
    "policy to missing": (policy("§{allow: web}"), "`to` is missing in a policy"),
    "policy replica": (
        policy("{allow: §web-1, to: front}", "{web: {replicas: 2, networks: {front: auto}}}"),
        "there is no container or subnet `web-1`",
    ),
    "policy ambiguous": (
        policy("{allow: §front, to: web}", "{web: {networks: {front: auto}}, front: {}}"),
        "is a container and a subnet",
    ),
    "policy outside to nat": (policy("{allow: outside, to: §front}"), "no route leads from there into a NATed subnet"),
    "policy outside to container": (policy("{allow: outside, to: §web}"), "no route leads from there"),
    "policy outside to isolated": (
        HEAD + HOST + "subnets: {front: {cidr: 10.44.0.0/24, mode: isolated}}\npolicies:\n- {allow: outside, to: §front}\n",
        "its subnet is isolated",
    ),
    "policy host to outside": (policy("{allow: host, to: §outside}"), "netctl filters the traffic of containers only"),
    "policy ports empty": (policy("§{allow: web, to: front, ports: []}"), "an empty list of `ports`"),
    "policy ports null": (policy("{allow: web, to: front, §ports: }"), "`ports` has no value"),
    "policy ports text": (policy("{allow: web, to: front, ports: §80/tcp}"), "`ports` must be a list"),
    "policy protocol": (policy("{allow: web, to: front, ports: [§80/tcpp]}"), "no protocol"),
    "policies mapping": (BASE + "§policies: {allow: web}\n", "`policies` must be a list"),
    "published twice on a host": (expose("§{listen: 80, on: [alpha, alpha]}"), "names no host in `on`, or one twice"),
    "published on no host": (expose("§{listen: 80, on: []}"), "names no host in `on`, or one twice"),
    "policy unknown key": (policy("{allow: web, to: front, §port: [80]}"), "unknown key `port` in a policy"),
}


@pytest.mark.parametrize(("text", "fragment"), CASES.values(), ids=CASES.keys())
def test_fault(text: str, fragment: str) -> None:
    """Exactly this fault is found, exactly there, and its help says what to write."""
    check_fault(text, fragment)
