"""A hint that gives a value is right: the file with that value instead of the wrong one is valid."""

from __future__ import annotations

import re

import pytest

from reconciler.errors import TopologyError
from reconciler.topology.load import parse_topology
from tests.harness.topologies.faulty import BASE, HEAD, HOST, container, host, subnet

KEY = re.compile(r"[a-z_]+:(?= )")
WRITTEN = re.compile(
    r"(?:.*put it in quotes: |write it without quotes: |write )"
    r"(?P<value>`[^`]+`|\"[^\"]+\"|\[.*\]|\{[^}]*\}|\S+?)(?:[;,:]? .*|[;,:]|$)"
)

EXPOSE = container("{networks: {front: auto}, ports: §}")
PORT = container("{networks: {front: auto}, ports: [§]}")
LISTEN = container("{networks: {front: auto}, ports: [{listen: §, to: 80}]}")
FROM = container("{networks: {front: auto}, ports: [{listen: 80, from: §}]}")
ADDRESS = container("{networks: {front: §}}")
NETWORK = container("{networks: {front: {§}}}")
CIDR = subnet("{cidr: §}")
SUBNET = subnet("{cidr: 10.44.0.0/24, §}")
CONNECT = host("{connect: §}")
POLICY = BASE + "containers: {web: {networks: {front: auto}}}\npolicies: [{allow: web, to: §}]\n"
CASES = [
    *((PORT, value) for value in (
        '"127.0.0.1::5000"', '"192.0.2.11:80"', '":443:443"', '":80"', '"8080:"', '"*:8080:80"', '"*:80"', '"localhost:8080:80"',
        '"8080->80"', '"8080 80"', '"8080 : 80"', "8080:80/TCP", "80/udp:80", '"8080/80"', '"192.0.2.11:80:/udp"', "8080: 80",
        "192.0.2.11:8080: 80", '"127.0.0.1::5000/udp"', '"80=>80"',
    )),
    *((EXPOSE, value) for value in ("80", "8080:80", '"8080:80/udp"', "{8080: 80}")),
    *((LISTEN, value) for value in ("192.0.2.11", '":8080"')),
    *((FROM, value) for value in (
        "any", "all", "10.0.*.*", "10.0.0.x", "10.1/16", "192.0.2.1/24", "192.0.2.0/255.255.255.0", '"192.0.2.0 /24"', "0/0",
        "010.1.0.0/16", '"*"',
    )),
    *((ADDRESS, value) for value in (
        "10.44.0.010", "10.44.0.10/24", "010.044.000.010", "10.44.0.10:80", '"[10.44.0.10]"', "Auto", "yes", "true",
        "'::ffff:10.44.0.10'",
    )),
    *((CIDR, value) for value in (
        "10.44/16", "10.44.0/24", "10.44.0.0", "10.44.0.1/24", "10.44.0.0/255.255.255.0", "10.44.00.0/24", "10.44.*.*",
        "'fd00:44::1/64'", "'fd00:44::'", "10.44.0.0 / 24",
    )),
    *((CONNECT, value) for value in ("localhost", "root@alpha", "alpha.example.com", "192.0.2.11", "ssh:alpha", "127.0.0.1")),
    *((NETWORK, value) for value in (
        "rate: 40", "rate: 40.5", "rate: 10M", "rate: 10Mbps", "rate: 10 MB/s", "rate: {egress: 5}", "mac: 02-00-00-00-00-10",
        "mac: 0200.0000.0010", "mac: 01:00:00:00:00:10", "default: yes", "default: on", "isolated: 'true'", "mtu: '1400'",
        "mtu: 1400.0",
    )),
    *((SUBNET, value) for value in (
        "hairpin: yes", "hosts: alpha", "mode: internal", "mode: bridge", "mode: NAT", "bridge: ovs", "gateway: 10.44.0.1/24",
        "mode: routd", "overlay: gre", "vni: '7'",
    )),
    *((POLICY, value) for value in ("internet", "localhost", "any.")),
    (container("{existing: §}"), "yes"),
    (container("{existing: §}"), "no"),
    (container("{replicas: §}"), "'3'"),
    (container("{replicas: §}"), "3.0"),
    (container("{image: §}"), "7"),
    (container("{image: a, restart: §}"), "false"),
    (container("{image: a, §}"), "restart: true"),
    (container("{image: a, §}"), "restart: on_failure"),
    (container("{command: [sleep, §]}"), "5"),
    (container("{§}"), "networks: [front]"),
    (container("{§}"), "networks: front"),
    (container("{§}"), "networks: [{front: auto}]"),
    (container("{networks: {§}}"), "front:auto"),
    (container("{§, networks: {front: auto}}"), "replicas:2"),
    ("version: 1\nname: §\n" + HOST, "12"),
    ("version: 1\nname: §\n" + HOST, "My_Shop"),
    ("§\nname: shop\n" + HOST, "version: '1'"),
    ("§\nname: shop\n" + HOST, "version: 3.8"),
    ("§\nname: shop\n" + HOST, "version:1"),
    ("§\nname: shop\n" + HOST, "version 1"),
    (HEAD + "hosts:\n  §\n", "alpha: connect: local"),
    (HEAD + "hosts: {alpha: {connect: local, docker: §}}\n", "/var/run/docker.sock"),
    (HEAD + "hosts: {alpha: {connect: local, docker: §}}\n", "tcp://192.0.2.1:2375"),
    (BASE + "containers: {§: {}}\n", "12"),
    (BASE + "containers: {§: {}}\n", "Web_1"),
    (subnet("{cidr: [10.44.0.0/24, §]}"), "fd00:44::1/64"),
    (subnet("{cidr: [10.44.0.0/24, §]}"), "fd00:44::/64/64"),
]  # fmt: skip


def fault_of(text: str) -> str:
    with pytest.raises(TopologyError) as raised:
        parse_topology(text.encode())
    (fault,) = raised.value.faults
    return fault.help_text


@pytest.mark.parametrize(("template", "wrong"), CASES, ids=[f"{number}-{wrong}" for number, (_, wrong) in enumerate(CASES)])
def test_what_a_hint_says_is_accepted(template: str, wrong: str) -> None:
    """One fault, whose hint names a value; with it instead of the wrong one, the file is valid."""
    help_text = fault_of(template.replace("§", wrong))
    value = suggested(help_text)
    if value is None:
        assert re.search(r"such as|of its own|write a |write one ", help_text), help_text
        return
    own, hinted = KEY.match(wrong), KEY.match(value) if f"`{value}`" in help_text else None
    if hinted and not own:
        template, wrong = re.sub(rf"{hinted[0]} §", "§", template), ""
    if own and not hinted:
        value = f"{own[0]} {value}"
    parse_topology(template.replace("§", value).encode())


def suggested(help_text: str) -> str | None:
    """The value that a hint says to write; None for one that explains."""
    if guess := re.fullmatch("did you mean `(.*)`\\?", help_text):
        return guess[1]
    found = WRITTEN.fullmatch(help_text)
    if found is None or re.match("write (a|an|one|each|the) ", help_text):
        return None
    return found["value"].strip("`")
