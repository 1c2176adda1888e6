"""Data that is not in netctl's form, as a host that lies may send it: a value of the right type, or one error."""

from __future__ import annotations

import copy
import dataclasses
import json
import typing
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.compile import compile_topology
from reconciler.kinds import KINDS
from reconciler.kinds.grammar import FIELDS, check_record
from reconciler.plan.document import CODEC, HostPlan, LivePlan, host_plan, live_plan
from reconciler.plan.plan import compile_plan
from reconciler.probes.model import Finding, Listener, Opened, PacketProbe, Result
from reconciler.state.codec import fields_of
from reconciler.state.foreign import (
    Chain,
    ForeignListener,
    ForeignRoute,
    HostPort,
    HostPortRange,
    PortMatch,
    PossibleDrop,
    SharedNamespace,
)
from reconciler.state.grammar import check_facts
from reconciler.state.host import HostFacts, HostState, Lease, LinkFacts
from reconciler.state.jsontext import MalformedError, parse_json
from reconciler.topology.load import load_topology
from reconciler.worker.channel import dump_line

DESIRED = compile_topology(load_topology("topology.yaml"), {}).hosts
ALPHA = DESIRED["alpha"]
PORT = HostPort(protocol="tcp", address=ip_address("0.0.0.0"), port=22)
CHAIN = Chain(family="ip", table="filter", name="INPUT")
FACTS = HostFacts(
    exists=True,
    uplink="eth0",
    uplink_mac="02:00:00:00:00:01",
    addresses=("192.0.2.11/24", "2001:db8::1/64"),
    leases=(Lease("front", "web", "10.44.0.10"),),
    foreign=(
        ForeignRoute(destination=ip_network("198.51.100.0/24"), link="eth0"),
        ForeignListener(port=PORT, holder="sshd"),
        SharedNamespace(container="web"),
        PossibleDrop(program="ufw", chain=CHAIN, rule="tcp dport 22 drop", ports=PortMatch(protocol="tcp", ranges=((22, 22),))),
    ),
    published=(HostPortRange(protocol="tcp", address=ip_address("0.0.0.0"), first=22, last=23),),
    links=(LinkFacts("eth0", "veth", "02:00:00:00:00:01", 1500, addresses=("192.0.2.11/24",), routers=("192.0.2.1",)),),
)
LISTENER = Listener("alpha", "", "tcp", 4, 80, "t")
PROBE = PacketProbe(
    host="alpha", netns="", source="a", target="b", section="subnets", kind="tcp", address="10.0.0.1",
    expected=True, why="w", port=80, listener=LISTENER,
)  # fmt: skip
PLAN = host_plan("alpha", HostState({}), compile_plan(HostState({}), ALPHA))
SAMPLES: list[tuple[Any, Any]] = [
    (HostState, CODEC.encode(ALPHA)),
    (HostFacts, CODEC.encode(FACTS)),
    (HostPlan, CODEC.encode(PLAN)),
    (LivePlan, CODEC.encode(live_plan(host_plan("alpha", ALPHA, compile_plan(ALPHA, HostState({})))))),
    (tuple[Result, ...], CODEC.encode((Result(PROBE, Finding("answered", elapsed_ms=1.5)),))),
    (Opened, CODEC.encode(Opened((LISTENER,), ((LISTENER, "taken"),)))),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), 1 << 64) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["kind", "netns", "name"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every container in the data with each of its keys."""
    found: list[tuple[Any, Any]] = []
    waiting = [data]
    while waiting:
        here = waiting.pop()
        keys = range(len(here)) if isinstance(here, list) else here if isinstance(here, dict) else ()
        for key in keys:
            found.append((here, key))
            waiting.append(here[key])
    return found


@given(st.sampled_from(SAMPLES), st.data())
def test_any_mutation_is_a_value_or_one_error(sample: tuple[Any, Any], data: st.DataObject) -> None:
    """Something is changed, removed or added anywhere: what comes out is of its types, or a MalformedError is raised."""
    cls, good = sample
    bad = copy.deepcopy(good)
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(bad)
        here, key = found[data.draw(st.integers(0, len(found) - 1))]
        match data.draw(st.sampled_from(["change", "remove", "add"])):
            case "change":
                here[key] = data.draw(JSON)
            case "remove":
                del here[key]
            case _ if isinstance(here, dict):
                here[data.draw(st.text(max_size=8))] = data.draw(JSON)
            case _:
                here.append(data.draw(JSON))
        if not places(bad):
            break
    try:
        value = CODEC.decode(cls, parse_json(json.dumps(bad)))
        if isinstance(value, HostFacts):
            check_facts(value)
        if isinstance(value, HostState):
            for record in value.records.values():
                check_record(record)
    except MalformedError:
        return
    assert_types(value, cls)


def assert_types(value: Any, kind: Any) -> None:
    """Each value is of the very type that its field has."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(value, HostState):
        for record in value.records.values():
            assert_types(record, type(record))
    elif dataclasses.is_dataclass(value):
        assert not isinstance(kind, type) or isinstance(value, kind)  # a record or step is of some class of its own
        for name, _, each in fields_of(type(value)):
            assert_types(getattr(value, name), each)
    elif origin is tuple:
        assert type(value) is tuple
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        for item, each in zip(value, kinds, strict=True):
            assert_types(item, each)
    elif origin is typing.Literal:
        assert value in arguments
    elif arguments and value is None:
        assert type(None) in arguments
    elif len(arguments) > 1 and type(None) not in arguments:
        assert type(value) in arguments
    elif arguments:
        assert_types(value, next(argument for argument in arguments if argument is not type(None)))
    else:
        assert type(value) is kind


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_text_is_a_value_or_one_error(data: bytes | str) -> None:
    """Whatever the bytes are, reading them gives JSON or a MalformedError."""
    try:
        parse_json(data)
    except MalformedError:
        return
    json.loads(data)


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":2}', b"NaN", b"[Infinity]", b"[1e999]", b"1" * 5000, b"-" + str(1 << 65).encode(),
     b'"\\ud800"', b'"\\uDC00x"', b'"\xed\xa0\x80"',
     b"[" * 5000, b"\xef\xbb\xbf1", b"", b"1 2", b"[]" * 3_000_000],
)  # fmt: skip
def test_what_json_loads_might_take_is_refused(data: bytes) -> None:
    """Keys that stand twice, numbers that are none, half a character, and what would fill the memory."""
    with pytest.raises(MalformedError):
        parse_json(data)


def test_a_worker_says_no_half_character() -> None:
    """What it has read may have one, in a label or a name. It neither ends the worker, nor does the controller refuse it."""
    assert parse_json(dump_line({"answer": "a\ud800b"})) == {"answer": "a?b"}


def test_a_pair_of_surrogates_is_a_character() -> None:
    """What is written in two halves is one character, and good."""
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_truth_is_no_number() -> None:
    """The truth is not 1, 1 is not true, and 1.0 is no whole number."""
    facts = CODEC.encode(FACTS)
    for name, wrong in (("exists", 1), ("uplink_mtu", True), ("uplink_mtu", 1500.0), ("uplink", None), ("addresses", "x")):
        with pytest.raises(MalformedError, match=f"HostFacts.{name}"):
            CODEC.decode(HostFacts, {**facts, name: wrong})


def test_every_text_of_every_kind_has_a_form() -> None:
    """A field that is added to a kind has a form, or its records cannot be checked."""
    for kind in KINDS:
        for name, _, annotation in fields_of(kind):
            assert annotation is not str or name in FIELDS, f"{kind.__name__}.{name}"


@pytest.mark.parametrize("host", sorted(DESIRED))
def test_what_is_real_is_in_its_form(host: str) -> None:
    """No record of a topology is refused: what is desired today is live tomorrow."""
    for record in DESIRED[host].records.values():
        check_record(record)
