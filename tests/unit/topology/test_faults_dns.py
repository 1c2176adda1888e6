"""Faults of the key `dns`: each has its place and a help."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from reconciler.errors import TopologyError
from reconciler.topology.load import parse_topology

HEAD = "version: 1\nname: shop\nhosts: {alpha: {connect: lab, address: 192.0.2.11}}\n"
FRONT = "subnets: {front: {cidr: 10.44.0.0/24, gateway: 10.44.0.9}, lan: {cidr: 192.0.2.0/24, mode: macvlan}}\n"
ON = HEAD + "dns: true\n" + FRONT

FAULTS = {
    "domain of multicast DNS": (HEAD + "dns: {domain: §shop.local}\n", "must not be under .local"),
    "no domain": (HEAD + "dns: {domain: §Shop_1}\n", "is not a domain"),
    "domain of addresses": (HEAD + "dns: {domain: §10.in-addr.arpa}\n", "must not be a domain of addresses"),
    "upstream is a resolver of ours": (HEAD + "dns: {upstream: §10.44.0.9}\n" + FRONT, "would be a resolver of this topology"),
    "upstream is an address that a resolver may get": (HEAD + "dns: {upstream: §10.44.0.1}\n" + FRONT, "would be a resolver"),
    "upstream is no address": (HEAD + "dns: {upstream: §nine}\n", "is no address"),
    "dns is a list": (HEAD + "§dns: [192.0.2.53]\n", "must be true, false or a mapping"),
    "alias is a container": (
        ON + "containers: {web: {networks: {front: auto}, dns: {aliases: [§db]}}, db: {networks: {front: auto}}}\n",
        "the alias `db` is the name of the container `db`",
    ),
    "alias is a replica": (
        ON
        + "containers: {web: {networks: {front: auto}, dns: {aliases: [§db-1]}}, db: {replicas: 2, networks: {front: auto}}}\n",
        "the alias `db-1` is the name of the container `db`",
    ),
    "alias twice": (
        ON
        + "containers: {a: {networks: {front: auto}, dns: {aliases: [www]}}, "
        + "b: {networks: {front: auto}, dns: {aliases: [§www]}}}\n",
        "the alias `www` is one of `a` too, line 6",
    ),
    "alias is the host": (
        ON + "containers: {a: {networks: {front: auto}, dns: {aliases: [§host]}}}\n",
        "must not be `host`",
    ),
    "aliases without a name": (
        ON + "containers: {a: {networks: {front: auto}, dns: {named: false, §aliases: [www]}}}\n",
        "cannot have aliases without a name",
    ),
    "aliases without names": (
        HEAD + FRONT + "containers: {a: {networks: {front: auto}, §dns: {aliases: [www]}}}\n",
        "there are no names without `dns` at the top",
    ),
    "aliases on a LAN": (
        ON + "containers: {a: {networks: {lan: 192.0.2.50}, §dns: {aliases: [www]}}}\n",
        "LANs, which have servers of their own",
    ),
    "subnet without names": (
        HEAD + "subnets: {front: {cidr: 10.44.0.0/24, §dns: {upstream: none}}}\n",
        "`dns` has no effect on `front`",
    ),
    "subnet is a LAN": (
        HEAD + "dns: true\nsubnets: {lan: {cidr: 192.0.2.0/24, mode: direct, §dns: {upstream: none}}}\n",
        "a LAN has servers of its own",
    ),
    "isolated subnet asks outside": (
        HEAD + "dns: true\nsubnets: {back: {cidr: 10.45.0.0/24, mode: isolated, dns: {upstream: §192.0.2.53}}}\n",
        "is isolated, so its resolver asks no other server",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_of_dns_is_found_at_its_place(case: str) -> None:
    """The message names what is wrong, the caret stands under it, and a help says what to do."""
    marked, message = FAULTS[case]
    line = marked[: marked.index("§")].count("\n") + 1
    column = len(marked[: marked.index("§")].rpartition("\n")[2]) + 1
    with pytest.raises(TopologyError) as raised:
        parse_topology(marked.replace("§", "").encode())
    (fault,) = raised.value.faults
    assert message in fault.message
    assert (fault.position.line, fault.position.column) == (line, column)
    assert fault.help_text


def test_a_file_without_dns_has_no_names() -> None:
    """Without the key nothing changes."""
    assert parse_topology((HEAD + FRONT).encode()).dns is None


def test_the_domain_follows_the_topologys_name() -> None:
    """`dns: true` means a domain under .internal, the host's servers, and five seconds."""
    dns = parse_topology(ON.encode()).dns
    assert dns is not None
    assert (dns.domain, dns.upstream, dns.ttl_s) == ("shop.internal", ("host",), 5)


def test_a_container_may_be_the_upstream() -> None:
    """A server in a container with a fixed address is no resolver of the topology's."""
    text = HEAD + "dns: {upstream: 10.44.0.53}\n" + FRONT + "containers: {server: {networks: {front: 10.44.0.53}}}\n"
    dns = parse_topology(text.encode()).dns
    assert dns is not None
    assert dns.upstream == (str(ip_address("10.44.0.53")),)
