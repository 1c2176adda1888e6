"""Settings of the kernel that are lost with what is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.compile import compile_topology
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.settings.sysctl import Sysctl, interface_of
from reconciler.state.host import HostState
from reconciler.topology.load import load_topology, parse_topology
from tests.harness.topologies.full import FULL

FILES = [*sorted(Path("examples").glob("*.yaml")), Path("topology.yaml")]
OPTIONS = """
version: 1
name: shop
hosts: {one: {connect: local}}
subnets: {a: {cidr: [10.44.0.0/24, "fd44::/64"]}, s: {cidr: 10.45.0.0/24, bridge: openvswitch}}
containers:
  c: {networks: {a: {address: auto, sysctls: {net.ipv4.conf.IFNAME.log_martians: 1}}, s: auto}, image: "x:1"}
"""


def states() -> dict[str, HostState]:
    topologies = {path.name: load_topology(str(path)) for path in FILES}
    topologies |= {"full": parse_topology(FULL.encode()), "options": parse_topology(OPTIONS.encode())}
    return {
        f"{name} {host}": state
        for name, topology in topologies.items()
        for host, state in compile_topology(topology, {}).hosts.items()
    }


@pytest.mark.parametrize(("name", "state"), states().items(), ids=states().keys())
def test_each_setting_belongs_to_something_that_says_so(name: str, state: HostState) -> None:
    """What goes with an owner is a setting of an interface of its, or one that the owner names: so a plan can find it."""
    for record in state.records.values():
        if not isinstance(record, Sysctl) or record.owner is None:
            continue
        owner = state.records[record.owner]
        if isinstance(owner, EngineContainer) and owner.existing:
            continue  # it is never removed, and its settings stay with it
        is_interfaces = (record.netns, interface_of(record.key)) in owner.interfaces
        is_namespaces = record.netns == owner.netns and record.key in owner.namespace_settings
        assert is_interfaces or is_namespaces, f"{name}: {record.ref} is lost with {owner.ref}"
