"""Records as a host may claim to have them: whatever passes the check can be planned, printed and turned into a script."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.compile import compile_topology
from reconciler.kinds import KINDS
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.grammar import FIELDS, check_record
from reconciler.plan.document import HostPlan, compile_document, complete_plan, live_plan
from reconciler.render.commands import Section, render_script
from reconciler.render.plan import render_plan
from reconciler.render.status import compile_status
from reconciler.render.status_text import render_status
from reconciler.state.codec import fields_of
from reconciler.state.container_spec import ContainerSpec, HolderSpec
from reconciler.state.jsontext import MalformedError
from reconciler.state.record import Change, Record
from reconciler.state.ref import Ref
from reconciler.state.shell import HostShell
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.topology.load import load_topology

DESIRED = compile_topology(load_topology("topology.yaml"), {}).hosts["alpha"]
REAL = list(DESIRED.records.values())
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
REFS = st.builds(Ref, st.sampled_from([kind.kind for kind in KINDS]), st.just(""), TEXT) | st.sampled_from(list(DESIRED.records))
NAME = st.from_regex(re.compile(r"[^\r\n\0]{1,40}"), fullmatch=True)
SUBJECTS = st.builds(Subject.container, NAME) | st.builds(Subject.policy, NAME, NAME) | st.just(HOST_SUBJECT)
SPECS = st.builds(ContainerSpec, TEXT, TEXT, st.tuples(TEXT), st.tuples(st.tuples(TEXT, TEXT)), st.tuples(TEXT))


def values_of(name: str, kind: Any) -> st.SearchStrategy[Any]:
    """Values for a field: its texts are in the form that is checked, its numbers any."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is str:
        return st.from_regex(re.compile(FIELDS[name], re.ASCII), fullmatch=True)
    if origin in (types.UnionType, typing.Union):
        return st.none() | values_of(name, next(each for each in arguments if each is not type(None)))
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of("value", arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of("value", each) for each in arguments))
    known: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(-(1 << 64), 1 << 64),
        Ref: REFS,
        ContainerSpec: SPECS,
        HolderSpec: st.builds(HolderSpec, TEXT),
        Subject: SUBJECTS,
    }
    return known[kind]


def records_of(kind: type[Record]) -> st.SearchStrategy[Record]:
    """Records of a kind, made up; elements from real ones, since their grammar is one of its own."""
    made = st.builds(kind, **{name: values_of(name, each) for name, _, each in fields_of(kind)})
    if issubclass(kind, FirewallElement):
        held = [record for record in REAL if isinstance(record, kind)]
        return st.sampled_from(held) if held else st.nothing()
    return made


RECORDS = st.one_of([records_of(kind) for kind in KINDS]) | st.builds(
    lambda record, about: dataclasses.replace(record, about=about) if hasattr(record, "about") else record,
    st.sampled_from(REAL),
    SUBJECTS,
)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(RECORDS, max_size=4))
def test_what_is_let_in_can_be_printed(records: list[Record]) -> None:
    """No record that a host claims to have ends a command by an exception: it is refused, or it is a line and a word."""
    live = {record.ref: record for record in records}
    changes = tuple(Change(ref, record, None, "") for ref, record in live.items())
    missing = tuple(Change(ref, None, record, "") for ref, record in DESIRED.records.items() if ref not in live)
    answer = live_plan(HostPlan("alpha", "0" * 64, 1, (*changes, *missing)))
    try:
        plan = complete_plan(answer, DESIRED)
    except MalformedError:
        return
    document = compile_document("shop", (plan,))
    for verbose in (False, True):
        assert all(char.isprintable() or char == "\n" for char in render_plan(document, verbose=verbose))
    status = render_status(compile_status("shop", (plan,), {"alpha": DESIRED}, {}, {}, {}))
    assert all(char.isprintable() or char == "\n" for char in status)
    runs = tuple(batch.steps for batch in (*plan.remove, *plan.make))
    script = render_script("x", [Section("alpha", HostShell("shop", "local"), runs, through="ssh x")])
    assert all(char.isprintable() or char in "\n\t" for char in script)


def test_every_real_record_passes() -> None:
    """The strategy above is about something."""
    for record in REAL:
        check_record(record)
