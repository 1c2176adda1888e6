"""Links of every kind: what is made is recognised, and the steps that make it say all of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.kinds.links import LINKS, PORTS
from reconciler.kinds.links.base import Link
from reconciler.kinds.links.bridge import BRIDGE_OPTIONS, Bridge
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.port import PORT_DEFAULTS, port_options
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.links.vxlan import Vxlan
from reconciler.kinds.netns import Netns
from reconciler.state.host import HostState
from reconciler.state.naming import DIRECT, Alias, group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, lab_netns
from reconciler.state.steps.links import AltnameAdd, BridgePortSet, LinkAdd, LinkSet
from tests.harness.fakes.fake_snapshot import fake_snapshot

SHOP = "shop"
WEB, ROUTER = "container:web", lab_netns("router")
METADATA = ("ref", "depends_on", "follows", "subject", "interfaces", "exposed_to", "is_addressed", "dies_with_parent")
"""What the planner and the reports ask a record besides its fields."""
MASTER = "b-shop-front"
WORDS = ("on", "off")

names = st.from_regex(r"[a-z][a-z0-9.-]{0,9}", fullmatch=True).filter(lambda name: name not in ("eth0", "lo", MASTER))
macs = st.from_regex(r"02(:[0-9a-f]{2}){5}", fullmatch=True)
mtus = st.integers(1280, 65535)
flags = st.booleans()
ALIAS_NAMES = {Macvlan: "web/front", Veth: "web/front"}


def own_of(netns: str) -> Ref | None:
    return Ref("netns", netns, "namespace") if netns else None


@st.composite
def shared(draw: st.DrawFn, kind: type[Link], alias_kind: str = "") -> dict[str, Any]:
    """The fields that links of every kind have."""
    name = draw(names)
    subject, _, subnet = ALIAS_NAMES.get(kind, "front").partition("/")
    alias = Alias(SHOP, alias_kind or kind.kind, subject, subnet)
    altname = "" if kind is Macvlan else kind.altname_of(alias, name)
    return {
        "netns": HOST,
        "name": name,
        "mac": draw(macs),
        "mtu": draw(mtus),
        "group": group_of(SHOP),
        "alias": str(alias),
        "altname": draw(st.sampled_from([altname, ""])),
        "link_local": draw(flags),
        "arp": draw(flags),
        "up": draw(flags),
    }


@st.composite
def ports(draw: st.DrawFn, kind: type[Link]) -> dict[str, Any]:
    """Those, and the fields of a port of a bridge."""
    changed = draw(st.dictionaries(st.sampled_from(["hairpin", "isolated", "locked", "flood"]), st.sampled_from(WORDS)))
    found = draw(shared(kind)) | {"master": draw(st.sampled_from([MASTER, ""]))}
    return found | {"port_options": port_options(*changed.items()) if found["master"] else ()}


@st.composite
def bridges(draw: st.DrawFn) -> Bridge:
    netns = draw(st.sampled_from([HOST, ROUTER]))
    options = tuple((key, draw(st.sampled_from("01"))) for key, _ in BRIDGE_OPTIONS)
    found = draw(shared(Bridge, draw(st.sampled_from([Bridge.kind, DIRECT]))))
    return Bridge(**found | {"netns": netns, "owner": own_of(netns), "options": options})


@st.composite
def veths(draw: st.DrawFn) -> Veth:
    mtu, name, arp = draw(mtus), draw(names), draw(flags)
    return Veth(**draw(ports(Veth)), peer_netns=WEB, peer_name=name, peer_mtu=mtu, peer_owner=own_of(WEB), peer_arp=arp)


@st.composite
def macvlans(draw: st.DrawFn) -> Macvlan:
    netns = draw(st.sampled_from([HOST, WEB]))
    mode = draw(st.sampled_from(["bridge", "vepa", "private", "passthru"]))
    return Macvlan(**draw(shared(Macvlan)) | {"netns": netns, "owner": own_of(netns), "lower": "eth0", "mode": mode})


@st.composite
def vxlans(draw: st.DrawFn) -> Vxlan:
    local = draw(st.sampled_from(["192.0.2.11", "2001:db8::11"]))
    return Vxlan(**draw(ports(Vxlan)), vni=draw(st.integers(1, (1 << 24) - 1)), local=local, port=draw(st.integers(1, 65535)))


STRATEGIES: Mapping[type[Link], st.SearchStrategy[Link]] = {
    Bridge: bridges(),
    Veth: veths(),
    Macvlan: macvlans(),
    Vxlan: vxlans(),
}


def around(link: Link) -> list[Record]:
    """What the link needs to be there: the namespaces, and a bridge for its port."""
    bridge = Bridge(
        netns=HOST, name=MASTER, mac="02:00:00:00:00:01", mtu=1500, group=group_of(SHOP), alias="netctl:shop/bridge/front"
    )
    return [Netns(WEB), Netns(ROUTER), bridge, link]


def test_every_kind_of_link_is_tried() -> None:
    """A kind that is added to the list of kinds must be tried here."""
    assert set(STRATEGIES) == set(LINKS)


@pytest.mark.parametrize("kind", LINKS, ids=lambda kind: kind.kind)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_made_is_recognised(kind: type[Link], data: st.DataObject) -> None:
    """What a host shows of a link is recognised as that link: every field, and all that the planner asks of it besides."""
    desired = data.draw(STRATEGIES[kind])
    found = [link for link in kind.recognise(fake_snapshot(SHOP, HostState.of(around(desired)))) if link.ref == desired.ref]
    assert [{each.name: getattr(link, each.name) for each in fields(link)} for link in found] == [
        {each.name: getattr(desired, each.name) for each in fields(desired)}
    ]
    for name in METADATA:
        assert getattr(found[0], name) == getattr(desired, name), name
    assert found[0].describe() == desired.describe()


@pytest.mark.parametrize("kind", LINKS, ids=lambda kind: kind.kind)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_change_sends_what_differs(kind: type[Link], data: st.DataObject) -> None:
    """A link that differs in nothing takes no step, and one that differs in a fixed field cannot be changed in place."""
    link = data.draw(STRATEGIES[kind])
    assert link.lower_update(link) == ()
    assert not link.must_recreate(link)
    for name in kind.fixed:
        held = getattr(link, name)
        other = replace(link, **{name: held + 1 if isinstance(held, int) else f"{held}x"})  # type: ignore[arg-type]
        assert link.must_recreate(other), name
    drifted = replace(link, mtu=link.mtu - 1, alias="", arp=not link.arp)
    assert LinkSet(link.netns, link.name, mtu=link.mtu, alias=link.alias, arp=link.arp) in link.lower_update(drifted)
    assert not link.must_recreate(drifted)


@pytest.mark.parametrize("kind", LINKS, ids=lambda kind: kind.kind)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_link_is_made_whole_before_it_is_up(kind: type[Link], data: st.DataObject) -> None:
    """The first step makes the link with its group and is not up; alias, altname and port options follow; up comes last."""
    link = data.draw(STRATEGIES[kind])
    add, mark, *rest = link.lower_create()
    assert isinstance(add, LinkAdd)
    assert (add.kind, add.group, add.up, add.options) == (kind.kind, link.group, False, link.wire_options)
    assert isinstance(mark, LinkSet)
    assert (mark.alias, mark.link_local, mark.arp is not False) == (link.alias, link.link_local, link.arp)
    assert link.mtu in (add.mtu, mark.mtu)
    ups = [step for step in rest if isinstance(step, LinkSet)]
    assert all(step.up for step in ups)
    assert bool(ups) == link.up
    assert rest[len(rest) - len(ups) :] == ups
    assert [step.altname for step in rest if isinstance(step, AltnameAdd)] == ([link.altname] if link.altname else [])
    held = getattr(link, "port_options", ())
    sent = [step.options for step in rest if isinstance(step, BridgePortSet)]
    assert sent == ([changed] if (changed := tuple(each for each in held if each not in PORT_DEFAULTS)) else [])


def test_no_two_links_of_a_subnet_share_an_altname() -> None:
    """The kernel refuses a name that another link has (EEXIST), be it a second one."""
    kinds: tuple[type[Link], ...] = (Bridge, *PORTS)
    assert len({kind.altname_of(Alias(SHOP, kind.kind, "front"), "name") for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("kind", LINKS, ids=lambda kind: kind.kind)
def test_fixed_fields_are_fields(kind: type[Link]) -> None:
    """A fixed field that is misspelt would never be compared."""
    assert set(kind.fixed) <= {each.name for each in fields(kind)}
    assert re.fullmatch("[a-z]+", kind.kind)
