"""Paths of live states that differ from the file: where they end, and that the difference is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.cli.explain import live_states, reasons_of
from reconciler.explain.ask import answer
from reconciler.explain.remedy import REPAIR, find_remedy
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.links.veth import Veth
from reconciler.plan.diff import diff_states
from reconciler.plan.document import HostPlan
from reconciler.render.explain import compile_explanation, render_explanation
from reconciler.state.host import HostState
from reconciler.state.record import Record
from tests.harness.explained import SHOP, Known, known


def without(known: Known, host: str, drop: Callable[[Record], bool]) -> dict[str, HostState]:
    """The desired states of all hosts, of one without some records."""
    kept = {ref: record for ref, record in known.desired.hosts[host].records.items() if not drop(record)}
    return {**known.desired.hosts, host: HostState(kept)}


CASES: list[tuple[str, str, Callable[[Record], bool], tuple[str, str]]] = [
    ("web", "api", lambda one: isinstance(one, Route) and one.netns == "container:web", ("lost", "route")),
    ("web", "db:5432", lambda one: isinstance(one, FirewallElement) and one.set == "allowed_ports4", ("refused", "policy")),
    ("web", "db:5432", lambda one: isinstance(one, FirewallElement) and one.set == "addresses4", ("dropped", "spoofed")),
    ("alpha", "web", lambda one: isinstance(one, Fdb) and one.subject.container_name == "web", ("lost", "fdb")),
    ("web", "api", lambda one: isinstance(one, Veth) and one.peer_netns == "container:web", ("lost", "missing")),
    ("web", "api", lambda one: isinstance(one, Fdb) and bool(one.remote), ("lost", "fdb")),
]


@pytest.mark.parametrize(("start", "target", "drop", "wanted"), CASES)
def test_what_is_gone_ends_the_path(start: str, target: str, drop: Callable[[Record], bool], wanted: tuple[str, str]) -> None:
    """A deleted route, element, entry or cable: each ends the path where it is missing."""
    shop = known(SHOP)
    assert shop.ask(start, target).passes
    states = without(shop, "alpha", drop)
    found = answer(shop.world(states), shop.ask(start, target).question)
    assert (found.there.end, found.there.cause) == wanted
    assert not found.passes


def test_a_link_that_is_down_is_named() -> None:
    """Its records are all there; only the link is down."""
    shop = known(SHOP)
    records = shop.desired.hosts["alpha"].records
    down = {
        ref: replace(one, up=False) if isinstance(one, Veth) and "web" in one.peer_netns else one for ref, one in records.items()
    }
    found = answer(shop.world({**shop.desired.hosts, "alpha": HostState(down)}), shop.ask("web", "db:5432").question)
    assert (found.there.end, found.there.reason) == ("dropped", "eth0 is down")


def test_the_live_state_is_the_desired_one_without_the_plan() -> None:
    """A plan says what differs, so the live records follow from it."""
    shop = known(SHOP)
    live = without(shop, "alpha", lambda one: isinstance(one, Neighbor))["alpha"]
    desired = shop.desired.hosts["alpha"]
    plan = HostPlan("alpha", changes=tuple(diff_states(live, desired)))
    assert live_states(shop.desired.hosts, {"alpha": plan})["alpha"].records == live.records


def test_the_text_names_what_differs_and_what_repairs_it() -> None:
    """Beside the live path, what the file asks for, and the help."""
    shop = known(SHOP)
    wanted = shop.ask("web", "db:5432")
    states = without(shop, "alpha", lambda one: isinstance(one, FirewallElement) and one.set == "allowed_ports4")
    plan = HostPlan("alpha", changes=tuple(diff_states(states["alpha"], shop.desired.hosts["alpha"])))
    found = answer(shop.world(states), wanted.question)
    document = compile_explanation(shop.desired.topology, ("web", "db:5432"), [found], [wanted], reasons_of({"alpha": plan}))
    text = render_explanation(document)
    assert "web -> db:5432  is refused" in text
    assert "the live path is another one than the file asks for: by the file, it passes" in text
    assert "`netctl apply` repairs it" in text
    assert document.is_live


def test_a_missing_entry_is_repaired_by_an_apply_only_if_hosts_were_read() -> None:
    """From the file alone nothing can be missing, so no repair is named."""
    shop = known(SHOP)
    states = without(shop, "alpha", lambda one: isinstance(one, Fdb) and not one.remote)
    found = answer(shop.world(states), shop.ask("alpha", "web").question)
    assert find_remedy(found) is None
    read = replace(found, world=shop.world(states))
    read.world.is_file_only = False
    remedy = find_remedy(read)
    assert remedy
    assert remedy.words == REPAIR


def test_a_table_that_another_program_changed_is_not_trusted() -> None:
    """Its rules are not netctl's any more, so what they do is not known."""
    shop = known(SHOP)
    records = shop.desired.hosts["alpha"].records
    changed = {ref: replace(one, intact=False) if isinstance(one, FirewallTable) else one for ref, one in records.items()}
    found = answer(shop.world({**shop.desired.hosts, "alpha": HostState(changed)}), shop.ask("outside", "web:8080").question)
    assert (found.there.end, found.there.cause) == ("unknown", "damaged")


def test_a_link_that_is_down_is_the_cause_of_a_missing_route() -> None:
    """The kernel deletes the routes of a link that goes down; the reason is the link."""
    shop = known(SHOP)

    def change(one: Record) -> Record:
        return replace(one, up=False) if isinstance(one, Veth) and "web" in one.peer_netns else one

    kept = [
        change(one) for one in shop.desired.hosts["alpha"].records.values() if not (isinstance(one, Route) and "web" in one.netns)
    ]
    found = answer(shop.world({**shop.desired.hosts, "alpha": HostState.of(kept)}), shop.ask("web", "db:5432").question)
    assert found.there.reason == "web has no route to 10.45.0.20: eth0 is down"
