"""What keeps a container to its own, without a kernel: source ports, shares, isolated ports, and whose errors count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.compile import compile_topology
from reconciler.kernel.facts.host_facts import find_source_ports
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.state.host import HostFacts, SourcePortChoice
from reconciler.state.snapshot import Snapshot, TableInfo
from tests.harness.topologies.full import load

TEXT = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24}
  back: {cidr: 10.45.0.0/24}
containers:
  web: {host: alpha, networks: {front: 10.44.0.10}, ports: [EXPOSE], connections: 100}
  one: {host: alpha, networks: {front: {address: 10.44.0.11, isolated: true}}}
  two: {host: beta, networks: {front: {address: 10.44.0.12, isolated: true}}}
  db: {host: beta, networks: {back: 10.45.0.20}}
policies:
  - {allow: web, to: db}
"""


FACTS = HostFacts(exists=True, uplink="eth0")


def elements(name: str, ports: str = '"8080:80"', facts: HostFacts = FACTS) -> dict[str, str]:
    """Key and value of a set of the first host, as the file and its facts make it."""
    desired = compile_topology(load(TEXT.replace("EXPOSE", ports)), {"alpha": facts})
    records = desired.hosts["alpha"].records.values()
    return {record.key: record.value for record in records if isinstance(record, FirewallElement) and record.set == name}


WHOLE = {"0-1023": "goto ports-914-952", "1024-65535": "goto ports-32768-65535"}


def live(found: dict[str, str]) -> HostFacts:
    """The facts of a host that has these elements."""
    elements = tuple(("source_ports", ports, verdict) for ports, verdict in found.items())
    snapshot = Snapshot("shop", {}, tables=(TableInfo("inet", "netctl-shop", True, elements),))
    return replace(FACTS, source_ports=find_source_ports(snapshot))


def test_source_ports_are_all_that_clients_get() -> None:
    """Nothing published above 32767: one range, and one for privileged ports."""
    assert elements("source_ports") == WHOLE


@pytest.mark.parametrize(("ports", "facts"), [
    ('"40000:80"', FACTS),
    ('"8080:80"', replace(FACTS, reserved_ports=((40000, 40000),))),
    ('"8080:80"', replace(FACTS, listening_ports=(40000,))),
])  # fmt: skip
def test_a_block_with_a_service_is_left_out(ports: str, facts: HostFacts) -> None:
    """A published, reserved or listening port takes its block out, and connections from there get another."""
    found = elements("source_ports", ports, facts)
    assert "goto ports-36864-40959" not in found.values()
    assert found["36864-40959"].startswith("goto ports-")
    assert found["32768-36863"] == "goto ports-32768-36863"


def test_a_privileged_service_moves_the_low_block() -> None:
    """A port published in the first low block: the second one is taken."""
    assert elements("source_ports", '"920:80"')["0-1023"] == "goto ports-954-988"


def test_a_listener_that_comes_later_changes_nothing() -> None:
    """What is chosen stays, though a socket is in it; a published port in it does change it."""
    facts = replace(live(WHOLE), listening_ports=(40000,))
    assert elements("source_ports", facts=facts) == WHOLE
    assert elements("source_ports", '"40000:80"', facts) != WHOLE
    parted = elements("source_ports", '"40000:80"')
    assert elements("source_ports", facts=live(parted)) == parted


def test_sockets_everywhere_leave_the_published_ones_out() -> None:
    """Where each block has a listener, only published ports count; where each has a published one, there is no rule."""
    everywhere = tuple(range(33000, 65536, 4096))
    assert elements("source_ports", facts=replace(FACTS, listening_ports=everywhere)) == WHOLE
    assert elements("source_ports", ", ".join(f'"{port}:80"' for port in everywhere)) == {}


LOW, HIGH = (0, 1023), (1024, 65535)


@pytest.mark.parametrize("damage", [
    (SourcePortChoice(LOW, (914, 952)),),
    (SourcePortChoice(LOW, (1, 5)), SourcePortChoice(HIGH, (6, 9))),
    (SourcePortChoice(LOW, (914, 952)), SourcePortChoice((5, 4), (32768, 65535))),
])  # fmt: skip
def test_damaged_elements_are_recreated(damage: tuple[SourcePortChoice, ...]) -> None:
    """What is live and is not a choice of netctl's counts for nothing."""
    assert elements("source_ports", facts=replace(FACTS, source_ports=damage)) == WHOLE


def test_shares() -> None:
    """As the file says, else the default; by bridge and hardware address, also of containers behind a VXLAN."""
    shares = elements("connections")
    assert sorted(shares.values()) == ["100", "8192", "8192", "8192"]
    assert all(key.startswith(("b-shop-front . 02:", "b-shop-back . 02:")) for key in shares)


def test_whose_errors_count() -> None:
    """A host's containers, those elsewhere in its subnets or in a policy, and the other hosts of its subnets."""
    assert set(elements("endpoints4")) == {f"{own} . {own}" for own in ("10.44.0.10", "10.44.0.11", "10.44.0.12", "10.45.0.20")}
    assert set(elements("gateways4")) == {"10.44.0.2", "10.45.0.2"}


def test_isolated_ports_know_each_other_across_hosts() -> None:
    """The port here with the prefix, the addresses on all hosts, and hardware addresses elsewhere."""
    (port,) = elements("isolated_ports")
    assert set(elements("isolated_ports4")) == {f"{port} . 10.44.0.0/24"}
    assert set(elements("isolated4")) == {"10.44.0.11", "10.44.0.12"}
    assert len(elements("isolated_macs")) == 1
    assert set(elements("uplinks")) == {"eth0"}
