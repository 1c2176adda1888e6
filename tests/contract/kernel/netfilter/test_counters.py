"""Counters of elements: they can be read, and are no part of what is compared or parsed again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.kernel.netfilter.nft import read_tables, read_traffic
from reconciler.kernel.netfilter.table_dump import TableReader
from reconciler.kernel.netfilter.table_memo import TableMemo
from reconciler.kinds.firewall.elements import FirewallTable
from reconciler.kinds.firewall.program import table_name
from reconciler.kinds.firewall.traffic_elements import AllowedTraffic
from reconciler.state.snapshot import TableInfo
from reconciler.state.steps.firewall import NftCommand
from reconciler.state.traffic import TrafficCount
from tests.harness.worlds.firewall import FirewallWorld

pytestmark = pytest.mark.kernel

ALLOWED = (
    AllowedTraffic(source="10.0.0.0/24", target="10.0.1.0/24"),
    AllowedTraffic(source="10.0.0.1", target="10.0.1.1", protocol="tcp", ports="80-90"),
    AllowedTraffic(source="fd00::/64", target="fd01::1"),
    AllowedTraffic(source="10.0.2.0/24"),
    AllowedTraffic(source="10.0.2.1", protocol="udp", ports="53"),
)


def read(world: FirewallWorld, memo: TableMemo) -> TableInfo:
    """The live table, by a reader that remembers."""

    def body() -> TableInfo:
        reader = TableReader(memo)
        try:
            (table,) = read_tables(reader, world.topology)
            return table
        finally:
            reader.close()

    return world.inside("host", body)


def test_packets_change_counters_and_nothing_else(bare_world: FirewallWorld) -> None:
    """The table is the one that was loaded, whatever its elements have counted, and a reader that remembers returns the same."""
    topology, memo = bare_world.topology, TableMemo()
    elements = [bare_world.element((each.set, " . ".join(each.key), "")) for each in ALLOWED]
    table = FirewallTable(netns="", family="inet", topology=topology)
    bare_world.nft([step for record in (table, *elements) for step in record.lower_create()])
    before = read(bare_world, memo)
    assert (before.intact, set(before.elements)) == (True, {(one.set, one.key, "") for one in elements})
    assert bare_world.inside("host", lambda: read_traffic(topology)) == ()
    for number, element in enumerate(elements, start=1):  # no packet is here: nft(8) restores counters
        name, key = f"inet {table_name(topology)} {element.set}", element.key
        again = f"delete element {name} {{ {key} }}\nadd element {name} {{ {key} counter packets {number} bytes 60 }}\n"
        bare_world.nft([NftCommand("", again)])
    found = bare_world.inside("host", lambda: read_traffic(topology))
    assert set(found) == {TrafficCount(one.set, one.key, number, 60) for number, one in enumerate(elements, start=1)}
    assert read(bare_world, memo) is before
    assert read(bare_world, TableMemo()) == before
    bare_world.nft(elements[0].lower_delete())
    assert read(bare_world, memo) == replace(before, elements=tuple(one for one in before.elements if one[1] != elements[0].key))


def test_a_host_without_the_table_has_counted_nothing(bare_world: FirewallWorld) -> None:
    """It is no error: the next cycle creates the table."""
    assert bare_world.inside("host", lambda: read_traffic(bare_world.topology)) == ()
