"""Elements as text: what is written reads back the same, and nothing outside the grammar reaches nft."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.compile import compile_topology
from reconciler.kinds.firewall.element_text import (
    check_element,
    format_element,
    format_range,
    is_element,
    parse_element,
    render_element,
)
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FastPathHook, FastPathLink
from reconciler.kinds.firewall.program import SETS, WAYS, render_table
from reconciler.kinds.firewall.sets import SetSpec
from reconciler.state.host import HostState
from reconciler.state.snapshot import AddressInfo, LinkInfo, NamespaceInfo, Snapshot, TableInfo
from reconciler.state.steps.firewall import ConntrackFlush, NftCommand
from tests.harness.topologies.full import load
from tests.harness.worlds.firewall import FirewallWorld

SINGLE: dict[str, tuple[str, ...]] = {
    "ifname": ("b-shop-front", "ip", "drop", "0xa.b_c-d", "v-fifteen-bytes"),
    "ether_addr": ("02:00:00:00:00:01", "fe:dc:ba:98:76:54"),
    "ether_type": ("ip", "ip6"),
    "iface_index": ("lo",),
    "inet_proto": ("tcp", "udp", "sctp"),
    "inet_service": ("0", "22", "65535"),
    "ipv4_addr": ("10.44.0.10", "0.0.0.0", "255.255.255.255"),
    "count": ("1", "8192", "999999999"),
    "ipv6_addr": ("fd00::1", "::", "::1", "2001:db8:0:1:1:1:1:1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::a00:1"),
}
RANGES: dict[str, tuple[str, ...]] = {
    "inet_service": ("80", "8000-8999", "0-65535"),
    "ipv4_addr": ("10.1.0.0/24", "10.1.1.0/24", "10.2.0.7", "10.3.0.1-10.3.0.9", "10.4.0.0-10.4.2.255", "128.0.0.0/1"),
    "ipv6_addr": ("fd00::/64", "fd00:0:0:1::/64", "fd01::7", "fd02::1-fd02::ff3", "8000::/2", "ff00::/8"),
}


def examples(family: str, name: str) -> list[tuple[str, str]]:
    """Keys and values of a set: every example of every type, and no two keys that overlap."""
    spec = SETS[family][name]
    if spec.key == ("inet_service",) and spec.interval:
        return list(zip(("0-1023", "1024-65535"), verdicts(spec), strict=False))
    ranged = [spec.interval and number not in spec.single for number in range(len(spec.key))]
    choices = [RANGES.get(kind, SINGLE[kind]) if either else SINGLE[kind] for kind, either in zip(spec.key, ranged, strict=True)]
    count = max(len(choice) for choice in choices) if not spec.interval else min(len(c) for c in choices if len(c) > 3)
    keys = [" . ".join(choice[number % len(choice)] for choice in choices) for number in range(count)]
    datas = [verdicts(spec)] if spec.chains else [SINGLE[kind] for kind in spec.data]
    values = [" . ".join(data[number % len(data)] for data in datas) for number in range(count)]
    return list(dict(zip(keys, values, strict=True)).items())


def verdicts(spec: SetSpec) -> tuple[str, ...]:
    """To each of its chains."""
    return tuple(f"goto {chain}" for chain in spec.chains)


def test_whose_an_element_is() -> None:
    """The kernel keeps no word on it: interfaces, addresses and prefixes of the same snapshot say it; else it is the host's."""
    links = {
        1: LinkInfo(1, "b-shop-front", "bridge", "", 1500, 7, up=True, alias="netctl:shop/bridge/front"),
        2: LinkInfo(2, "v-shop-web", "veth", "", 1500, 7, up=True, alias="netctl:shop/veth/web/front"),
        4: LinkInfo(4, "v-worker-2", "veth", "", 1500, 7, up=True, alias="netctl:shop/veth/worker-2/front"),
        3: LinkInfo(3, "v-other", "veth", "", 1500, 7, up=True, alias="netctl:other/veth/web/front"),
    }
    host = NamespaceInfo(links, (AddressInfo(1, "10.44.0.1/24", 0, 0),))
    inet = (
        ("published4", "tcp . 8080", "10.44.0.10 . 80"),
        ("published4", "tcp . 8081", "10.99.0.10 . 80"),
        ("allowed_ports4", "10.44.0.10 . 10.45.0.0/24 . tcp . 80", ""),
        ("outbound4", "10.44.0.0/24", ""),
        ("allowed4", "10.44.0.12-10.44.0.99 . 10.44.0.11", ""),
        ("own4", "10.44.0.0/24", ""),
        ("bridges", "b-shop-front", ""),
    )
    bridge = (
        ("addresses4", "v-shop-web . 02:00:00:00:00:01 . 10.44.0.10", ""),
        ("addresses4", "v-worker-2 . 02:00:00:00:00:01 . 10.44.0.11", ""),
        ("ports", "v-other", "goto port"),
    )
    tables = (TableInfo("inet", "netctl-shop", True, inet), TableInfo("bridge", "netctl-shop", True, bridge))
    found = FirewallElement.recognise(Snapshot("shop", {"": host}, tables=tables))
    assert [str(element.about) for element in found] == [
        "container web",
        "host",
        "policy from web to 10.45.0.0/24",
        "policy from front to outside",
        "policy from front to worker",
        "subnet front",
        "subnet front",
        "container web",
        "container worker-2",
        "host",
    ]


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, sets in SETS.items() for name in sets])
def test_elements_as_values_and_as_text(family: str, name: str) -> None:
    """Of every set: the text that becomes a value comes back from it, the set's name included."""
    for key, value in examples(family, name):
        assert is_element(family, name, key, value)
        element = parse_element(family, name, key, value)
        assert format_element(element) == (name, key, value)
        assert replace(element) == element
        assert element.describe()


@pytest.mark.parametrize("key", ["tcp . 0.0.0.0/0 . 80-90 . 10.0.0.0/8", "tcp . 10.0.0.0/24 . 80 . 10.0.0.0/8"])
def test_a_published_port_is_one_port_on_one_address(key: str) -> None:
    """The set has intervals, for the clients: a range of ports or of addresses in it was put there by another program."""
    assert not is_element("inet", "published_from4", key, "10.44.0.10 . 80")
    assert is_element("inet", "published_from4", "tcp . 0.0.0.0/0 . 80 . 10.0.0.0/8", "10.44.0.10 . 80")


@pytest.mark.kernel
def test_every_set_reads_back_what_was_written(bare_world: FirewallWorld) -> None:
    """Each type in each set and map: the kernel's elements, read raw, are the records that made them; and all can be deleted."""
    topology = bare_world.topology
    subnets = {"inet": "", "bridge": "", "arp": "", "netdev": "front"}
    elements = [
        (FastPathLink if name in WAYS else FirewallElement)(
            netns="", family=family, topology=topology, set=name, key=key, value=value, subnet=subnets[family]
        )
        for family, sets in SETS.items()
        for name in sets
        for key, value in examples(family, name)
    ]
    tables = [FirewallTable(netns="", family=family, topology=topology, subnet=subnet) for family, subnet in subnets.items()]
    hook = FastPathHook(netns="", topology=topology, subnet="front", dev="lo", chain="leaving")
    bare_world.nft([step for record in (*tables, *elements, hook) for step in record.lower_create()])
    found = bare_world.tables()
    assert [(table.family, table.intact) for table in found] == [(family, True) for family in subnets]
    loopback = LinkInfo(1, "lo", "", "", 65536, 0, up=True)
    snapshot = Snapshot(topology, {"": NamespaceInfo({1: loopback})}, tables=found)
    kinds = (FirewallTable, FirewallElement, FastPathHook, FastPathLink)
    live = HostState.of(record for kind in kinds for record in kind.recognise(snapshot))
    assert live == HostState.of([*tables, *elements, hook])
    bare_world.nft([step for record in (*elements, hook) for step in record.lower_delete()])
    assert [(table.elements, table.hooks) for table in bare_world.tables()] == [((), ())] * 4


@pytest.mark.kernel
def test_whole_ranges_read_back(bare_world: FirewallWorld) -> None:
    """All addresses as one interval, which the kernel keeps without an end, and listeners on every address."""
    entries = (
        ("own4", "0.0.0.0/0", ""),
        ("own6", "::/0", ""),
        ("published_from4", "tcp . 0.0.0.0/0 . 80 . 10.0.0.0/8", "10.1.1.1 . 80"),
        ("published_from6", "tcp . ::/0 . 80 . fd00::/8", "fd00::1 . 80"),
    )
    records = (
        FirewallTable(netns="", family="inet", topology=bare_world.topology),
        *(bare_world.element(entry) for entry in entries),
    )
    bare_world.nft([step for record in records for step in record.lower_create()])
    assert set(bare_world.tables()[0].elements) == set(entries)


@pytest.mark.kernel
def test_a_changed_value_is_replaced_in_one_transaction(bare_world: FirewallWorld) -> None:
    """The key stays, the value is new; and UDP flows to the port are forgotten, by the host's port."""
    table = FirewallTable(netns="", family="inet", topology=bare_world.topology)
    before = bare_world.element(("published4", "udp . 5300", "10.1.0.1 . 53"))
    after = bare_world.element(("published4", "udp . 5300", "10.1.0.2 . 53"))
    bare_world.nft([*table.lower_create(), *before.lower_create()])
    steps = after.lower_update(before)
    bare_world.nft(steps)
    assert bare_world.tables()[0].elements == (("published4", "udp . 5300", "10.1.0.2 . 53"),)
    assert steps[-1] == ConntrackFlush("", "udp", 5300)
    assert len(bare_world.element(("published4", "tcp . 53", "10.1.0.1 . 53")).lower_create()) == 1
    flushed = bare_world.element(("published_from4", "udp . 0.0.0.0/0 . 53 . 10.0.0.0/8", "10.1.0.1 . 53")).lower_delete()[1:]
    assert [step.port for step in flushed if isinstance(step, ConntrackFlush)] == [53]


# --- the grammar ------------------------------------------------------------------------------------------------------

INJECTIONS = (
    'x" ; flush ruleset #',
    "tcp . 80 : 10.0.0.1 . 80, tcp . 81",
    "tcp . 80 }; flush ruleset; {",
    "tcp . 80\n",
    "tcp . 80\nflush ruleset",
    "@bridges",
    "$x",
    "tcp . http",
    "tcp . 080",
    "tcp . 65536",
    "tcp . -1",
    "tcp . ٨٠",
    "TCP . 80",
    "tcp .80",
    "tcp",
    "",
)


@pytest.mark.parametrize("key", INJECTIONS)
def test_keys_that_are_not_in_the_grammar_are_refused(key: str) -> None:
    """Quotes, braces, newlines, names for numbers, other digits, other spacing."""
    with pytest.raises(ValueError, match="form of a key"):
        FirewallElement(netns="", family="inet", topology="shop", set="published4", key=key, value="10.0.0.1 . 80").lower_create()


@pytest.mark.parametrize(
    ("set_name", "key"),
    [
        ("own4", "10.0.0.1/24"),
        ("own4", "10.0.0.1/32"),
        ("own4", "10.0.0.0/33"),
        ("own4", "10.0.0.0/024"),
        ("own4", "10.0.0.0-10.0.0.255"),
        ("own4", "10.0.0.9-10.0.0.1"),
        ("own4", "10.0.0.01"),
        ("own4", "localhost"),
        ("own6", "fd00::0/64"),
        ("own6", "FD00::/64"),
        ("own6", "fd00::/0064"),
        ("own6", "fe80::1%eth0"),
        ("allowed_ports4", "10.0.0.1 . 10.0.0.2 . tcp . 9-1"),
        ("allowed_ports4", "10.0.0.1 . 10.0.0.2 . tcp . 9-9"),
        ("bridges", "sixteen-bytes-16"),
        ("bridges", "b*"),
        ("bridges", "a/b"),
        ("bridges", "-x"),
        ("no_such_set", "1"),
    ],
)
def test_what_is_not_canonical_is_refused(set_name: str, key: str) -> None:
    """One thing has one text, or a live element would never equal a desired one."""
    with pytest.raises(ValueError, match=r"form of|no set"):
        check_element("inet", set_name, key, "")


@pytest.mark.parametrize("name", ["", "a b", 'a"', "Shop", "a-", "-a", "a" * 21, "a\n", "a;flush ruleset", "ä"])
def test_names_that_are_not_a_topologys_are_refused(name: str) -> None:
    """In a table's text, in its removal, and in an element's."""
    for render in (
        lambda: render_table("inet", f"netctl-{name}"),
        lambda: FirewallTable(netns="", family="inet", topology=name).lower_delete(),
        lambda: render_element("add", ("inet", f"netctl-{name}"), "bridges", "b-x", ""),
    ):
        with pytest.raises(ValueError, match="not a name of a topology"):
            render()


HOSTILE = st.text(st.sampled_from(" .:-/0123456789abcdfptu{};#\n,*@" + '"'))
LINE = re.compile(r"(add|delete) element (inet|bridge|netdev) netctl-[a-z0-9-]+ [a-z_0-9]+ \{ [A-Za-z0-9:./\" _-]+ \}\n")


@given(
    st.sampled_from([(family, name) for family, sets in SETS.items() for name in sets]),
    st.one_of(st.text(), HOSTILE),
    st.one_of(st.just(""), st.text(), HOSTILE),
)
def test_nothing_outside_the_grammar_passes(place: tuple[str, str], key: str, value: str) -> None:
    """Any text is either refused with ValueError, or becomes one line of one command without a character that could end it."""
    record = FirewallElement(netns="", family=place[0], topology="shop", set=place[1], key=key, value=value)
    for lower in (record.lower_create, record.lower_delete):
        try:
            steps = lower()
        except ValueError:
            continue
        command = steps[0]
        assert isinstance(command, NftCommand)
        assert LINE.fullmatch(command.text)
        assert command.text.count("{") == command.text.count("}") == command.text.count("\n") == 1
        assert command.text.count('"') == 2 * SETS[place[0]][place[1]].key.count("ifname")


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_ranges_have_one_text(one: int, other: int) -> None:
    """The text of a range is in the grammar, and a CIDR exactly where it is an aligned block."""
    first, last = sorted((one, other))
    text = format_range("ipv4_addr", first, last)
    check_element("inet", "own4", text, "")
    if "/" in text:
        network = ip_network(text)
        assert (int(network[0]), int(network[-1])) == (first, last)
    else:
        assert text == (f"{IPv4Address(first)}-{IPv4Address(last)}" if first != last else str(IPv4Address(first)))


@given(st.integers(0, 2**128 - 1), st.integers(0, 128))
def test_ipv6_blocks_have_one_text(address: int, prefix: int) -> None:
    """As for IPv4, by prefix."""
    size = 1 << (128 - prefix)
    first = address // size * size
    text = format_range("ipv6_addr", first, first + size - 1)
    check_element("inet", "own6", text, "")
    assert text == (f"{IPv6Address(first)}/{prefix}" if prefix < 128 else str(IPv6Address(first)))


def test_a_table_that_was_changed_must_be_recreated() -> None:
    """It differs from the desired one, and its elements are deleted with it: they depend on it and are re-created."""
    changed, foreign = (
        TableInfo("inet", "netctl-shop", intact=False, elements=()),
        TableInfo("inet", "x", intact=True, elements=()),
    )
    snapshot = Snapshot("shop", {}, tables=(changed, foreign))
    (live,) = FirewallTable.recognise(snapshot)
    desired = FirewallTable(netns="", family="inet", topology="shop")
    assert live.ref == desired.ref
    assert live != desired
    assert desired.must_recreate(live)
    assert FirewallElement(netns="", family="inet", topology="shop", set="bridges", key="b-x").depends_on == (desired.ref,)


OVERLAPS = """
version: 1
name: NAME
hosts: {alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}}
subnets:
  front: {cidr: [10.77.0.0/24, "fd00:77::/64"]}
  back: {cidr: [10.78.0.0/24, "fd00:78::/64"], mode: isolated}
containers:
  web:
    networks: {front: auto}
    ports:
      - {listen: 8443, to: 443, from: [10.0.0.0/8, 10.1.0.0/16, 10.1.0.7, 11.0.0.0/8, "fd00::/8", "fd00:1::/48"]}
      - {listen: "192.0.2.11:8445-8446", to: 8445-8446, from: [0.0.0.0/0, 192.0.2.0/24]}
      - {listen: 8448, to: 443/udp, from: [0.0.0.0/1, 128.0.0.0/1, "::/0", "::/1"]}
  worker: {replicas: 4, networks: {back: auto}}
policies:
  - {allow: worker, to: outside}
  - {allow: back, to: outside, ports: [80/tcp]}
  - {allow: worker, to: outside, ports: [1-100/tcp, 50-200/tcp, 53/udp, 50-60/udp]}
  - {allow: back, to: outside}
  - {allow: worker, to: front, ports: [80/tcp, 80-90/tcp]}
  - {allow: back, to: front, ports: [85-100/tcp]}
  - {allow: worker, to: web}
  - {allow: front, to: back, ports: [1-65535/tcp]}
  - {allow: web, to: back}
  - {allow: back, to: web}
"""


@pytest.mark.kernel
def test_what_overlaps_in_a_file_does_not_in_a_set(bare_world: FirewallWorld) -> None:
    """Sources within each other, and policies that speak of the same packets: the kernel takes all, and returns it so."""
    topology = bare_world.topology
    desired = compile_topology(load(OVERLAPS.replace("NAME", topology)), {}).hosts["alpha"].records.values()
    wanted = HostState.of([record for record in desired if isinstance(record, FirewallTable | FirewallElement)])
    tables_first = sorted(wanted.records.values(), key=lambda record: isinstance(record, FirewallElement))
    bare_world.nft([step for record in tables_first for step in record.lower_create()])
    snapshot = Snapshot(topology, {"": NamespaceInfo()}, tables=bare_world.tables())
    live = HostState.of([*FirewallTable.recognise(snapshot), *FirewallElement.recognise(snapshot)])
    assert live == wanted
    assert sum(ref.name.startswith(("inet outbound", "inet allowed", "inet published_from")) for ref in live.records) > 30
