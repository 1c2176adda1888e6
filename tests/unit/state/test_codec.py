"""The JSON form of records, steps, facts and plans."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from reconciler.compile import compile_topology
from reconciler.kinds import KINDS
from reconciler.plan.diff import diff_states
from reconciler.plan.document import CODEC, HostPlan, compile_document, host_plan
from reconciler.plan.plan import compile_plan
from reconciler.render.schema import PLAN_PATH, plan_schema, render_schema
from reconciler.state.codec import Codec
from reconciler.state.host import HostFacts, HostState, Lease
from reconciler.state.record import Change
from reconciler.state.ref import Ref
from reconciler.state.steps.firewall import NftCommand
from reconciler.state.steps.links import LinkAdd, Peer
from reconciler.state.steps.step import Step
from reconciler.topology.load import load_topology
from tests.harness.fakes.things import Thing, ToughThing, states

CREATED = compile_topology(load_topology("topology.yaml"), {}).hosts


def there_and_back(value: object, cls: type) -> object:
    return CODEC.decode(cls, json.loads(json.dumps(CODEC.encode(value))))


@pytest.mark.parametrize("host", sorted(CREATED))
def test_all_records_of_a_topology_survive(host: str) -> None:
    """A desired state comes back from JSON as it was, fields that do not count in a comparison included."""
    state = CREATED[host]
    back = there_and_back(state, HostState)
    assert isinstance(back, HostState)
    assert repr(back) == repr(state)


@pytest.mark.parametrize("host", sorted(CREATED))
def test_a_full_plan_survives(host: str) -> None:
    """Changes, batches and steps come back as they were."""
    empty = HostState({})
    plan = host_plan(host, empty, compile_plan(empty, CREATED[host]))
    assert repr(there_and_back(plan, HostPlan)) == repr(plan)


@given(states(), states())
def test_changes_of_any_states_survive(a: HostState, b: HostState) -> None:
    """Whatever differs between two states comes back as it was."""
    codec = Codec((Thing, ToughThing))
    changes = diff_states(a, b)
    assert codec.decode(tuple[Change, ...], json.loads(json.dumps(codec.encode(changes)))) == changes


def test_defaults_are_left_out() -> None:
    """What a reader can know is not sent: a field with its default value has no key."""
    step = LinkAdd("", "v", "veth", "", 1500, 7, peer=Peer("container:a", "eth0", "02:00:00:00:00:01", 1500))
    assert CODEC.encode(step) == {
        "step": "link-add",
        "netns": "",
        "name": "v",
        "kind": "veth",
        "mac": "",
        "mtu": 1500,
        "group": 7,
        "peer": {"netns": "container:a", "name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1500},
    }
    assert there_and_back(step, Step) == step


def test_facts_survive() -> None:
    """Facts hold nested values and tuples; they come back as they were."""
    facts = HostFacts(exists=True, uplink="eth0", addresses=("10.0.0.1/8",), leases=(Lease("front", "web", "10.44.0.2"),))
    assert there_and_back(facts, HostFacts) == facts


def test_a_ref_says_what_it_is() -> None:
    """A Ref is an object with names, for people read it."""
    assert CODEC.encode(Ref("bridge", "", "b")) == {"kind": "bridge", "netns": "", "name": "b"}


def test_every_kind_and_step_has_a_json_form() -> None:
    """An encoder and a decoder can be made for every record and step that there is, and their names are unique."""
    for cls in (*KINDS, *CODEC.steps.values()):
        CODEC.decode(tuple[cls, ...], [])  # type: ignore[valid-type]
    assert len(CODEC.kinds) == len(KINDS)
    assert CODEC.steps["nft-command"] is NftCommand


def test_the_schema_is_in_step() -> None:
    """schemas/plan.schema.json is what `python -m reconciler.render.schema` writes."""
    assert PLAN_PATH.read_text() == render_schema(plan_schema())


def test_a_plan_follows_its_schema() -> None:
    """A real plan has the keys that the schema names, no other, and all that it demands; every kind of value is of its type."""
    empty = HostState({})
    plans = tuple(host_plan(host, empty, compile_plan(empty, state)) for host, state in CREATED.items())
    schema = plan_schema()
    assert list(faults_of(CODEC.encode(compile_document("shop", plans)), schema, schema["$defs"])) == []


def faults_of(data: object, schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """What a validator of JSON Schema would say, for the words of it that we use."""
    if "$ref" in schema:
        schema = definitions[str(schema["$ref"]).rpartition("/")[2]]
    if "anyOf" in schema:
        found = [faults_of(data, each, definitions) for each in schema["anyOf"]]
        return [] if [] in found else [f"{data!r} is of no form"]
    if "const" in schema or "enum" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return [] if data in allowed else [f"{data!r} is not {allowed}"]
    types = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    if not isinstance(data, types[str(schema["type"])]):
        return [f"{data!r} is not of type {schema['type']}"]
    if isinstance(data, list):
        kinds = schema.get("prefixItems", [schema.get("items")] * len(data))
        return [fault for item, kind in zip(data, kinds, strict=True) for fault in faults_of(item, kind, definitions)]
    if isinstance(data, dict) and "properties" in schema:
        properties = schema["properties"]
        faults = [f"no {name}" for name in schema["required"] if name not in data]
        faults += [f"unknown {name}" for name in data if name not in properties]
        known = [name for name in data if name in properties]
        return faults + [fault for name in known for fault in faults_of(data[name], properties[name], definitions)]
    return []
