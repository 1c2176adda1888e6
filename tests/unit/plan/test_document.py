"""Saved plans: applied as they are, or refused with a sentence."""

from __future__ import annotations

import json

import pytest

from reconciler.errors import UsageError
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.plan.document import (
    CODEC,
    LivePlan,
    PlanDocument,
    check_saved,
    compile_document,
    complete_plan,
    fingerprint_of,
    host_plan,
    live_plan,
    render_document,
)
from reconciler.plan.plan import compile_plan
from reconciler.state.host import HostState

FORWARD = Sysctl(netns="", key="net.ipv4.ip_forward", value="1", remember=True)
OFF = Sysctl(netns="", key="net.ipv4.ip_forward", value="0")


def document(live: HostState, desired: HostState, *hosts: str) -> PlanDocument:
    plan = compile_plan(live, desired)
    return compile_document("shop", tuple(host_plan(host, live, plan) for host in hosts))


def test_the_plan_that_was_saved_is_applied() -> None:
    """Nothing has moved: no complaint. The order in which hosts answer does not matter."""
    live, desired = HostState({}), HostState.of([FORWARD])
    saved = render_document(document(live, desired, "alpha", "beta"))
    assert complaint(saved, document(live, desired, "beta", "alpha")) == ""
    assert complaint(saved, document(live, desired, "beta")) != ""


def complaint(saved: str, now: PlanDocument) -> str:
    """What is said of a plan that was saved; "" where nothing is."""
    try:
        check_saved("p.json", saved, now)
    except UsageError as error:
        return error.message
    return ""


def test_a_plan_reaches_who_asked_for_it_as_a_whole() -> None:
    """Creations travel by name only. With the desired state they are what they were, among changes and deletions, in order."""
    going, other = (
        Sysctl(netns="", key="net.ipv4.tcp_sack", value="0"),
        Sysctl(netns="", key="net.ipv4.conf.all.rp_filter", value="2"),
    )
    live, desired = HostState.of([OFF, going]), HostState.of([FORWARD, other])
    plan = host_plan("alpha", live, compile_plan(live, desired))
    assert [(bool(change.before), bool(change.after)) for change in plan.changes] == [(False, True), (True, True), (True, False)]
    answer = json.loads(json.dumps(CODEC.encode(live_plan(plan))))
    assert complete_plan(CODEC.decode(LivePlan, answer), desired) == plan
    assert "rp_filter" not in json.dumps(answer["changes"])


def test_a_live_state_that_moved_is_refused() -> None:
    """Something on the host is not as it was when the plan was made; the sentence names the host, and what to do."""
    desired = HostState.of([FORWARD])
    saved = render_document(document(HostState({}), desired, "alpha"))
    with pytest.raises(UsageError, match="stale: host alpha has changed") as caught:
        check_saved("p.json", saved, document(HostState.of([OFF]), desired, "alpha"))
    assert caught.value.exit_status == 2
    assert "netctl diff FILE --plan p.json" in caught.value.help_text


def test_a_file_that_moved_is_refused() -> None:
    """The topology asks for something else than when the plan was made."""
    live = HostState({})
    saved = render_document(document(live, HostState.of([FORWARD]), "alpha"))
    with pytest.raises(UsageError, match="topology now needs another plan for host alpha"):
        check_saved("p.json", saved, document(live, HostState({}), "alpha"))


def test_hosts_that_came_or_went_are_refused() -> None:
    """A plan is for exactly the hosts it names."""
    live = HostState({})
    one, two = document(live, live, "alpha"), document(live, live, "alpha", "beta")
    with pytest.raises(UsageError, match="no plan for host beta"):
        check_saved("p.json", render_document(one), two)
    with pytest.raises(UsageError, match="host beta is no longer in the topology"):
        check_saved("p.json", render_document(two), one)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"hosts": 3}', '{"topology": "shop"}', "[" * 100_000, '{"topology": "shop", "hosts": [1, null]}'],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    """Whatever is in the file, the answer is a sentence."""
    with pytest.raises(UsageError, match=r"p\.json"):
        check_saved("p.json", text, document(HostState({}), HostState({}), "alpha"))


def test_another_format_or_topology_is_refused() -> None:
    """A plan of another format, or of another topology, is refused by name."""
    current = document(HostState({}), HostState({}), "alpha")
    data = json.loads(render_document(current))
    with pytest.raises(UsageError, match="format version 9"):
        check_saved("p.json", json.dumps({**data, "format_version": 9}), current)
    with pytest.raises(UsageError, match="topology 'mall'"):
        check_saved("p.json", json.dumps({**data, "topology": "mall"}), current)


def test_a_fingerprint_covers_everything() -> None:
    """The same records in another order have the same fingerprint; any other value has another."""
    other = Sysctl(netns="", key="net.ipv4.conf.all.forwarding", value="1")
    assert fingerprint_of(HostState.of([FORWARD, other])) == fingerprint_of(HostState.of([other, FORWARD]))
    assert fingerprint_of(HostState.of([FORWARD])) != fingerprint_of(HostState.of([OFF]))
