"""On whose line a change is shown, and whether it makes the thing new. One line changed in the file is one line of the plan."""

from __future__ import annotations

from dataclasses import replace

from reconciler.kinds import KINDS
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.firewall.summary import describe_elements
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.netns import Netns
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.render.plan import render_plan
from reconciler.state.host import HostState
from reconciler.state.record import Change
from reconciler.state.ref import Ref
from reconciler.state.subject import ROOTED, Subject
from tests.unit.render.test_plan import LINK, document, element, shop

ADDRESSES = ("10.44.0.10", "10.44.0.11")


def test_what_a_container_gets_does_not_make_it_a_new_one() -> None:
    """Another interface of a container that is there is a change; a container that takes an address over is an addition."""
    plain, wired = shop(("web", "10.44.0.10")), shop(("web", "10.44.0.10"), ("db", "10.44.0.11"))
    bare = HostState.of([*plain.records.values(), Netns("container:db")])
    assert "  ~ container db  add eth0 10.44.0.11/24 on front, default via 10.44.0.1\n" in render_plan(document(bare, wired))
    assert "  ~ container db  remove eth0 10.44.0.11/24 on front, default via 10.44.0.1\n" in render_plan(document(wired, bare))

    def known_as(mac: str, address: str, about: Subject) -> Neighbor:
        return Neighbor(netns="", dev="b-shop-front", address=address, mac=mac, link=LINK, about=about)

    veth = wired.records[Ref("veth", "", "v-db")]
    assert isinstance(veth, Veth)
    veth = replace(veth, mac="02:00:00:00:00:03")
    before = HostState.of([*plain.records.values(), known_as("02:00:00:00:00:09", "10.44.0.11", Subject.subnet("front"))])
    taken = known_as("02:00:00:00:00:03", "10.44.0.11", Subject.container("db"))
    after = HostState.of([*{**wired.records, veth.ref: veth}.values(), taken])
    assert "  + container db  eth0 10.44.0.11/24 on front" in render_plan(document(before, after))


def test_what_goes_is_no_addition() -> None:
    """A setting may be written where something is new; one that is removed says that the container was there before."""
    setting = Sysctl(netns="container:web", key="net.ipv4.conf.eth0.arp_ignore", value="1")
    before, after = HostState.of([*shop().records.values(), setting]), shop(("web", "10.44.0.10"))
    assert "  ~ container web  " in render_plan(document(before, after))
    assert "  + container web  " in render_plan(document(shop(), HostState.of([*after.records.values(), setting])))


def test_each_sort_of_subject_has_its_kinds() -> None:
    """Each sort of subject but a policy has a kind with which it comes and goes."""
    assert {word for kind in KINDS for word in kind.root_of} == set(ROOTED)


def test_who_has_an_address_is_shown_with_its_container() -> None:
    """A container that moves to another address is one line, though what was read of the old one knows the bridge only."""
    here = shop(("web", "10.44.0.10"))
    old, new = (
        HostState.of(
            [
                *here.records.values(),
                Neighbor(netns="", dev="b-shop-front", address=address, mac="02:00:00:00:00:09", link=LINK, about=about),
            ]
        )
        for address, about in zip(ADDRESSES, (Subject.subnet("front"), Subject.container("web")), strict=True)
    )
    text = render_plan(document(old, new))
    assert "  ~ container web  " in text
    assert "Plan: 0 to add, 1 to change, 0 to remove (2 changes)" in text


def test_what_comes_again_is_not_shown_as_another() -> None:
    """A port or a policy in a table that is loaded again, or at another address, neither comes nor goes."""
    old, new = (
        element("allowed_ports4", f"{source} . 10.45.0.20 . tcp . 5432", "", Subject.policy("web", "db")) for source in ADDRESSES
    )
    assert "  ~ policy from web to db  tcp 5432 (re-created)\n" in render_plan(document(HostState.of([old]), HostState.of([new])))
    port = element("published4", "tcp . 8080", "10.44.0.10 . 80", Subject.container("web"))
    again = Change(port.ref, port, port, "deleted with firewall inet", recreate=True)
    assert describe_elements([again]) == ["port tcp 8080 to 10.44.0.10:80 (re-created)"]
