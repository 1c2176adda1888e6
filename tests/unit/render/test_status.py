"""A status as users read it: causes, rows that many things share, names, and the last line."""

from __future__ import annotations

import json

import pytest

from reconciler.plan.document import CODEC
from reconciler.render.status import CALM, Difference, HostStatus, Item, StatusDocument, count_items, select
from reconciler.render.status_text import render_status
from reconciler.state.subject import HOST_SUBJECT, Subject

DOWN = "container web: eth0 is down"


def document(*items: Item) -> StatusDocument:
    return count_items(StatusDocument(1, "shop", in_step=True, hosts=(HostStatus("alpha", "", items),)))


def calm(*names: str) -> tuple[Item, ...]:
    return tuple(Item(Subject.container(name), "in step", f"eth0 of {name}") for name in names)


def test_a_cause_counts_what_follows_from_it() -> None:
    """The link is named, and its routes are a number. With `every`, each has a line that says what it follows from."""
    differences = (
        Difference("veth", "v-web", "eth0 is down", effects=2),
        Difference("route", "default", "route default is gone", DOWN),
        Difference("neighbor", "1", "neighbor is gone", DOWN),
    )
    status = document(Item(Subject.container("web"), "drifted", "eth0 10.44.0.10/24", differences), *calm("db"))
    text = render_status(status)
    assert "eth0 is down (and 2 entries with it)\n" in text
    assert "route default" not in text
    assert "shop is not in step: 1 of 2 drifted. `netctl diff` shows the plan" in text
    assert "eth0 is down (and 2 entries with it)\n" in render_status(status, every=True)
    assert "      route default is gone\n" in render_status(status, every=True)


def test_what_follows_from_another_thing_says_from_which() -> None:
    """A container whose entries went with the host's table is not at fault itself; replicas of that kind share a row."""
    origin = "host: nftables table inet netctl-shop is gone"
    gone = (Difference("element", "a", "element a is gone", origin), Difference("element", "b", "element b is gone", origin))
    items = tuple(Item(Subject.container(f"web-{number}"), "drifted", "eth0", gone) for number in range(1, 6))
    text = render_status(
        document(Item(HOST_SUBJECT, "drifted", "firewall", (Difference("firewall", "", "gone", effects=10),)), *items)
    )
    assert text.count(f"2 entries follow from {origin}") == 1
    assert "container web-1 .. web-5" in text
    assert "6 of 6 drifted" in text


def test_a_thousand_in_step_are_no_thousand_lines() -> None:
    """Many containers without a common stem share a row that names some, and says how to list them."""
    status = document(*calm(*(f"c{number:04}" for number in range(998))), *calm("x"))
    lines = render_status(status).splitlines()
    assert len(lines) == 3
    assert "999 containers  in step   c0000, c0001" in lines[1]
    assert "-v lists all" in lines[1]
    assert len(render_status(status, every=True).splitlines()) == 1001


def test_the_last_line_counts() -> None:
    """By state, of all things."""
    states = ("drifted", "drifted", "missing", "not in the file", "waiting", "in step")
    items = tuple(Item(Subject.container(f"c{number}x"), state, "") for number, state in enumerate(states))
    assert "shop is not in step: 2 of 6 drifted, 1 missing, 1 not in the file, 1 waiting." in render_status(document(*items))
    assert render_status(document(*items[4:])).endswith("shop is in step; 1 of 2 waiting.")


def test_a_selection_is_judged_by_itself() -> None:
    """The names that a user gives decide the states, the counts and whether all is in step."""
    status = document(Item(Subject.container("web"), "drifted", ""), *calm("db", "app"))
    chosen = select(status, lambda item: item.subject.name == "db")
    assert (chosen.in_step, chosen.things, chosen.hosts[0].state) == (True, 1, "in step")
    drifted = select(status, lambda item: item.state not in CALM)
    assert [str(item.subject) for item in drifted.hosts[0].items] == ["container web"]


@pytest.mark.parametrize("count", [9, 40])
def test_many_differences_are_cut(count: int) -> None:
    """Of one thing, eight are named; `every` names all, and so does JSON."""
    differences = tuple(Difference("route", str(number), f"route {number} is gone") for number in range(count))
    status = document(Item(Subject.container("web"), "drifted", "", differences))
    assert f"and {count - 8} more (-v shows all)" in render_status(status)
    assert f"route {count - 1} is gone" in render_status(status, every=True)
    assert len(json.loads(json.dumps(CODEC.encode(status)))["hosts"][0]["items"][0]["differences"]) == count
