"""Plans and status for people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.netns import Netns
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.plan.document import CODEC, HostPlan, PlanDocument, compile_document, host_plan
from reconciler.plan.plan import compile_plan
from reconciler.plan.subjects import subjects_of
from reconciler.render.plan import render_plan
from reconciler.render.schema import SCHEMAS, render_schema, status_schema
from reconciler.render.status import HostStatus, Item, StatusDocument, compile_status
from reconciler.render.status_text import render_status
from reconciler.render.verify import VerifyDocument
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.subject import HOST_SUBJECT, Subject

EMPTY = HostState({})
LINK = Ref("bridge", "", "b-shop-front")
BRIDGE = Bridge(netns="", name="b-shop-front", mac="02:00:00:00:00:01", mtu=1500, group=7, alias="netctl:shop/bridge/front")


def container(name: str, address: str) -> list[Record]:
    """A container on the bridge, with an address and a default route."""
    netns = f"container:{name}"
    alias = f"netctl:shop/veth/{name}/front"
    veth = Veth(
        netns="",
        name=f"v-{name}",
        peer_netns=netns,
        peer_name="eth0",
        mac="02:00:00:00:00:02",
        mtu=1500,
        peer_mtu=1500,
        group=7,
        alias=alias,
        master="b-shop-front",
    )
    return [
        Netns(netns),
        veth,
        Address(netns=netns, dev="eth0", cidr=f"{address}/24", link=veth.ref),
        Route(netns=netns, family=4, dst="default", dev="eth0", via="10.44.0.1", link=veth.ref),
    ]


def shop(*containers: tuple[str, str]) -> HostState:
    """A host with a bridge and containers on it."""
    records: list[Record] = [BRIDGE, Address(netns="", dev="b-shop-front", cidr="10.44.0.1/24", link=LINK)]
    for name, address in containers:
        records += container(name, address)
    return HostState.of(records)


def document(live: HostState, desired: HostState) -> PlanDocument:
    return compile_document("shop", (host_plan("alpha", live, compile_plan(live, desired)),))


def test_first_apply_reads_like_the_file() -> None:
    """A container is one line: its interface, address, subnet and gateway."""
    assert render_plan(document(EMPTY, shop(("web", "10.44.0.10")))) == (
        "host alpha\n"
        "  + subnet front   bridge b-shop-front 10.44.0.1/24\n"
        "  + container web  eth0 10.44.0.10/24 on front, default via 10.44.0.1\n"
        "Plan: 2 to add, 0 to change, 0 to remove (6 changes)"
    )


def test_a_change_says_what_it_was_and_will_be() -> None:
    """What differs is named with both values; what is missing of a container that is there is a change, no addition."""
    desired = shop(("web", "10.44.0.10"))
    veth = desired.records[Ref("veth", "", "v-web")]
    assert isinstance(veth, Veth)
    records = dict(desired.records) | {veth.ref: replace(veth, peer_mtu=1300)}
    text = render_plan(document(HostState(records), desired))
    assert "  ~ container web  veth v-web at b-shop-front to eth0, MTU 1500: peer_mtu is 1300, wanted 1500\n" in text
    del records[Ref("route", "container:web", next(ref.name for ref in records if ref.kind == "route"))]
    expected = "  ~ container web  add route default via 10.44.0.1 dev eth0; veth v-web"
    assert expected in render_plan(document(HostState(records), desired))
    assert text.endswith("Plan: 0 to add, 1 to change, 0 to remove (1 change)")
    alone, both = (replace(veth, port_options=(("hairpin", value), ("isolated", "off"))) for value in ("off", "on"))
    text = render_plan(document(HostState({veth.ref: both}), HostState({veth.ref: alone})))
    assert "MTU 1500: hairpin is on, wanted off\n" in text, "of several options, those that differ"


def element(name: str, key: str, value: str = "", about: Subject = HOST_SUBJECT, family: str = "inet") -> FirewallElement:
    return FirewallElement(netns="", family=family, topology="shop", set=name, key=key, value=value, about=about)


def test_the_firewall_speaks_of_ports_and_policies() -> None:
    """A port that moves is one change in both families, one that leads elsewhere has both sides; services come and go."""
    web, policy = Subject.container("web"), Subject.policy("web", "db")
    live = HostState.of(
        [
            element("published4", "tcp . 8080", "10.44.0.10 . 80", web),
            element("published6", "tcp . 8080", "fd00:44::10 . 80", web),
            element("published_at4", "udp . 192.0.2.11 . 53", "10.44.0.10 . 53", web),
            element("allowed_ports4", "10.44.0.10 . 10.45.0.20 . tcp . 5432", "", policy),
        ]
    )
    desired = HostState.of(
        [
            element("published4", "tcp . 8081", "10.44.0.10 . 80", web),
            element("published6", "tcp . 8081", "fd00:44::10 . 80", web),
            element("published_at4", "udp . 192.0.2.11 . 53", "10.44.0.10 . 54", web),
            element("published_from4", "tcp . 0.0.0.0/0 . 22 . 192.0.2.0/24", "10.44.0.10 . 2222", web),
            element("allowed_ports4", "10.44.0.10 . 10.45.0.20 . tcp . 5000-5432", "", policy),
            element("same_bridge", "b-shop-front . b-shop-front", "", Subject.subnet("front")),
        ]
    )
    assert render_plan(document(live, desired)) == (
        "host alpha\n"
        "  ~ subnet front           add firewall entries\n"
        "  ~ container web          port tcp 8080 -> 8081 to 10.44.0.10:80 and [fd00:44::10]:80; "
        "port udp 192.0.2.11:53 to 10.44.0.10:53 -> 10.44.0.10:54; add port tcp 22 from 192.0.2.0/24 to 10.44.0.10:2222\n"
        "  ~ policy from web to db  add tcp 5000-5432; remove tcp 5432\n"
        "Plan: 0 to add, 3 to change, 0 to remove (9 changes)"
    )
    both = [element("published4", f"{protocol} . 53", "10.44.0.10 . 53", web) for protocol in ("tcp", "udp")]
    whole = HostState.of([*shop(("web", "10.44.0.10")).records.values(), *both])
    assert "on front, default via 10.44.0.1, 2 published ports" in render_plan(document(EMPTY, whole))
    many = HostState.of([element("published4", f"tcp . {port}", f"10.44.0.10 . {port}", web) for port in range(1000, 1100)])
    assert "  ~ container web  add 100 published ports\n" in render_plan(document(EMPTY, many))


def test_each_element_of_containment_is_a_sentence() -> None:
    """A plan in full says what an element means: source ports, isolated ports and limits are no `firewall of 0-1023`."""
    web = Subject.container("web")
    desired = HostState.of(
        [
            element("source_ports", "0-1023", "goto ports-914-952"),
            element("connections", "b-shop-front . 02:00:00:00:00:01", "50", web),
            element("endpoints4", "10.44.0.10 . 10.44.0.10", "", web),
            element("isolated4", "10.44.0.10", "", web, "bridge"),
            element("isolated_ports", "v-shop-web", "", web, "bridge"),
            element("isolated_ports4", "v-shop-web . 10.44.0.0/24", "", web, "bridge"),
            element("isolated_macs", "02:00:00:00:00:01", "", web, "bridge"),
        ]
    )
    text = render_plan(document(EMPTY, desired), verbose=True)
    for words in (
        "+ connections from port 0-1023 get a source port of 914-952",
        "+ at most 50 connections of 02:00:00:00:00:01 through b-shop-front",
        "+ 10.44.0.10 reports errors about its own connections only",
        "+ 10.44.0.10 is isolated",
        "+ port v-shop-web is isolated",
        "+ v-shop-web reaches no isolated address of 10.44.0.0/24",
        "+ MAC address 02:00:00:00:00:01 is isolated",
    ):
        assert words in text


def test_a_thousand_replicas_are_one_line() -> None:
    """The plan of a thousand replicas fits a terminal; with --verbose each change is printed."""
    many = shop(*((f"w-{number}", f"10.44.{number // 250}.{number % 250 + 2}") for number in range(1, 1001)))
    text = render_plan(document(EMPTY, many))
    assert "  + container w-1 .. w-1000  1,000 replicas, the first with eth0 10.44.0.3/24 on front" in text
    assert "1,001 to add" in text
    assert len(text.splitlines()) == 4
    assert len(render_plan(document(EMPTY, many), verbose=True).splitlines()) > 4000


def test_nothing_to_do() -> None:
    """An empty plan is a sentence."""
    assert render_plan(document(EMPTY, EMPTY)) == "Nothing to do: the hosts are as the file says."


def test_status_of_each_thing() -> None:
    """In step, drifted, missing and no longer in the file are distinguished, and make the host's and the whole's state."""
    desired = shop(("web", "10.44.0.10"), ("db", "10.44.0.11"))
    live = shop(("web", "10.44.0.10"), ("old", "10.44.0.9"))
    records = {ref: record for ref, record in live.records.items() if ref.kind != "route"}
    plan = document(HostState(records), desired)
    status = compile_status("shop", plan.hosts, {"alpha": desired}, {}, {}, {})
    states = {str(item.subject): item.state for item in status.hosts[0].items}
    assert states == {
        "subnet front": "in step",
        "container db": "missing",
        "container old": "not in the file",
        "container web": "drifted",
    }
    assert (status.in_step, status.hosts[0].state) == (False, "drifted")
    assert "route default via 10.44.0.1 dev eth0 is gone" in render_status(status)
    same = compile_status("shop", document(desired, desired).hosts, {"alpha": desired}, {}, {}, {})
    assert same.in_step
    assert render_status(same).endswith("shop is in step.")
    assert json.loads(json.dumps(CODEC.encode(same)))["hosts"][0]["state"] == "in step"


@pytest.mark.parametrize("path", SCHEMAS, ids=str)
def test_schema_is_in_step(path: Path) -> None:
    """Each file in schemas/ of a document that netctl prints is what `python -m reconciler.render.schema` writes."""
    assert path.read_text() == render_schema(SCHEMAS[path]())


def test_replicas_rename_a_container() -> None:
    """A container that gets `replicas`, or loses them, goes and comes under another name: its line says which."""
    alone, numbered = shop(("web", "10.44.0.2")), shop(("web-1", "10.44.0.2"), ("web-2", "10.44.0.3"))
    for live, desired, gone, fresh in ((alone, numbered, "web", "web-1"), (numbered, alone, "web-1", "web")):
        lines = render_plan(document(live, desired)).splitlines()
        (renamed,) = [line for line in lines if "`replicas` renames it" in line]
        assert renamed.split()[:3] == ["-", "container", gone]
        assert renamed.endswith(f"{fresh} is created in its place")
    assert "renames" not in render_plan(document(alone, shop(("db", "10.44.0.2"))))


def test_a_setting_of_a_link_is_its_owners() -> None:
    """A setting of a bridge stands under its subnet, though the bridge itself is not in the plan."""
    wanted = Sysctl(netns="", key="net.ipv6.conf.b-shop-front.accept_ra", value="0", about=Subject.subnet("front"))
    general = Sysctl(netns="", key="net.ipv4.ip_forward", value="1")
    assert subjects_of([wanted, general]) == {wanted.ref: Subject.subnet("front"), general.ref: HOST_SUBJECT}


def test_lists_of_documents_are_present() -> None:
    """A script finds each list of what `--json` prints, also where it is empty, and the schema requires it."""
    items = (Item(HOST_SUBJECT, "in step", ""),)
    status = CODEC.encode(StatusDocument(1, "shop", in_step=True, hosts=(HostStatus("alpha", "in step", items),)))
    assert status["hosts"][0] | {"foreign": [], "connections": []} == status["hosts"][0]
    assert status["hosts"][0]["items"][0]["differences"] == []
    plan = CODEC.encode(HostPlan("alpha", "", 0))
    assert (plan["changes"], plan["remove"], plan["make"]) == ([], [], [])
    assert CODEC.encode(VerifyDocument(1, "shop", passed=True, probes=()))["notes"] == []
    schema = status_schema()["$defs"]
    assert {"foreign", "connections"} <= set(schema["HostStatus"]["required"])
