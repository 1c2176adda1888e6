"""What a container asks for and its host does not have is reported before anything is touched, at its place in the file."""

from __future__ import annotations

import pytest

from reconciler.compile import check_alone, compile_topology
from reconciler.errors import TopologyError
from reconciler.state.host import HostFacts
from reconciler.topology.load import parse_topology

HEAD = """\
version: 1
name: shop
hosts: {alpha: {connect: CONNECT, address: 192.0.2.11}}
subnets: {front: {cidr: 10.44.0.0/24, gateway: 10.44.0.9}, int: {cidr: 10.45.0.0/24, mode: isolated}}
containers:
"""


@pytest.mark.parametrize(
    ("container", "column", "said"),
    [
        ("web: {networks: {front: {mtu: 9000}}}", 33, "`front` carries 1500 bytes on host alpha"),
        ("web: {replicas: 3, networks: {front: {mtu: 1501}}}", 46, "`front` carries 1500 bytes"),
        ("web: {networks: {front: auto}, ports: ['10.44.0.77:80:80']}", 42, "10.44.0.77 is not an address of the host `alpha`"),
        ("web: {networks: {front: 10.44.0.5}, ports: ['10.44.0.5:80:80']}", 47, "one of the subnet `front`"),
        ("web: {networks: {front: auto}, ports: ['10.45.0.1:80:80']}", 42, "one of the subnet `int`"),
    ],
)
def test_what_does_not_fit(container: str, column: int, said: str) -> None:
    """A larger MTU than the subnet's, and an address to listen on that no host has: one fault each, found by `validate`."""
    topology = parse_topology((HEAD.replace("CONNECT", "lab") + f"  {container}\n").encode())
    with pytest.raises(TopologyError) as raised:
        check_alone(topology)
    (fault,) = raised.value.faults
    assert (fault.position.line, fault.position.column) == (6, column)
    assert said in fault.message
    assert fault.help_text.startswith(("write 1500", "write 10.44.0.9", "leave"))


@pytest.mark.parametrize(("mtu", "fits"), [(9000, True), (9001, False)])
def test_the_uplink_decides(mtu: int, *, fits: bool) -> None:
    """Of a real host, `validate` does not know how large its packets may be; `diff` does."""
    text = HEAD.replace("CONNECT", "local") + f"  web: {{networks: {{front: {{mtu: {mtu}}}}}}}\n"
    topology = parse_topology(text.encode())
    check_alone(topology)
    facts = {"alpha": HostFacts(exists=True, uplink="eth0", uplink_mtu=9000, addresses=("192.0.2.11/24",))}
    if fits:
        compile_topology(topology, facts)
        return
    with pytest.raises(TopologyError) as raised:
        compile_topology(topology, facts)
    assert "carries 9000 bytes" in raised.value.faults[0].message


def test_a_host_listens_on_its_own_address_in_a_subnet() -> None:
    """The gateway is the host's."""
    check_alone(
        parse_topology(
            (HEAD.replace("CONNECT", "lab") + "  web: {networks: {front: auto}, ports: ['10.44.0.9:80:80']}\n").encode()
        )
    )


@pytest.mark.parametrize(
    ("networks", "default"),
    [
        ("{int: auto, front: auto}", "front"),
        ("{int: {default: true}, front: auto}", "int"),
        ("{int: auto}", "int"),
        ("{front: {default: false}, int: auto}", "int"),
        ("{front: {default: false}}", ""),
        ("{front: {default: false}, int: {default: false}}", ""),
    ],
)
def test_the_default_route_leads_out(networks: str, default: str) -> None:
    """Into the network that says so, else the first that is not isolated, else the first; into none that declines."""
    topology = parse_topology((HEAD.replace("CONNECT", "lab") + f"  web: {{networks: {networks}}}\n").encode())
    endpoints = compile_topology(topology, {}).resolved.endpoints["web"]
    assert [endpoint.subnet for endpoint in endpoints if endpoint.defaults] == [default] * bool(default)
    assert [each.subnet for each in topology.containers["web"].attachments if each.default] == [default] * bool(default)


def test_each_family_has_its_way_out() -> None:
    """IPv6 leads into the first network that has it and does not decline, though IPv4 leads elsewhere."""
    text = HEAD.replace("CONNECT", "lab").replace("10.45.0.0/24", '[10.45.0.0/24, "fd00:45::/64"]')
    endpoints = compile_topology(
        parse_topology((text + "  web: {networks: {front: auto, int: auto}}\n").encode()), {}
    ).resolved.endpoints["web"]
    assert [(endpoint.subnet, endpoint.defaults) for endpoint in endpoints] == [("front", (4,)), ("int", (6,))]
    declined = text + "  web: {networks: {front: auto, int: {default: false}}}\n"
    endpoints = compile_topology(parse_topology(declined.encode()), {}).resolved.endpoints["web"]
    assert [(endpoint.subnet, endpoint.defaults) for endpoint in endpoints] == [("front", (4,)), ("int", ())]
