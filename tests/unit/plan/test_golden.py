"""Golden plans: in each folder of `golden`, what is live and what is desired, and the plan that leads from one to the other.

    live.yaml       a topology that has been applied; without it (and without live.json), nothing is there
    live.json       instead: by host, records in JSON as the worker sends them, for what no file can describe (drift)
    desired.yaml    the topology that is wanted; without it, nothing is (a destroy)
    facts.json      what the hosts are, in JSON as the worker sends it: uplinks, links, capabilities; without it, lab hosts
    plan.txt        per host: the changes with their reasons, and the steps in their batches

After a change that is meant, `GOLDEN=write pytest tests/unit/plan/test_golden.py` writes plan.txt again; review the difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest

from reconciler.compile import compile_topology
from reconciler.plan.document import CODEC
from reconciler.plan.order import Batch
from reconciler.plan.plan import PhasedPlan, compile_plan
from reconciler.state.codec import class_name
from reconciler.state.host import HostFacts, HostState
from reconciler.state.record import Change
from reconciler.state.steps.step import Step
from reconciler.topology.load import load_topology
from tests.harness.topologies.full import facts_of

ROOT = Path("tests/unit/plan/golden")
CASES = sorted(path.name for path in ROOT.iterdir() if path.is_dir())


def read_side(folder: Path, name: str, facts: Mapping[str, HostFacts]) -> Mapping[str, HostState]:
    """The states of one side by host; `facts` are what the hosts report."""
    if (folder / f"{name}.json").exists():
        data = json.loads((folder / f"{name}.json").read_text())
        return {host: CODEC.decode(HostState, records) for host, records in data.items()}
    if (folder / f"{name}.yaml").exists():
        return compile_topology(load_topology(str(folder / f"{name}.yaml")), facts).hosts
    return {}


def read_facts(folder: Path) -> Mapping[str, HostFacts]:
    """What the hosts are before anything is applied; empty for a lab, which has defaults."""
    path = folder / "facts.json"
    data = json.loads(path.read_text()) if path.exists() else {}
    return {host: CODEC.decode(HostFacts, facts) for host, facts in data.items()}


def read_live_facts(folder: Path, facts: Mapping[str, HostFacts]) -> Mapping[str, HostFacts]:
    """The same where live.yaml has been applied: live addresses stay where they are."""
    path = folder / "live.yaml"
    if not path.exists():
        return facts
    found = facts_of(compile_topology(load_topology(str(path)), facts))
    return {**facts, **{host: replace(facts.get(host, told), leases=told.leases) for host, told in found.items()}}


def render(live: Mapping[str, HostState], desired: Mapping[str, HostState]) -> str:
    nothing = HostState({})
    lines: list[str] = []
    for host in sorted({*live, *desired}):
        plan = compile_plan(live.get(host, nothing), desired.get(host, nothing))
        lines += [f"host {host}", *(f"  {line}" for line in render_plan(plan))]
    return "\n".join(lines) + "\n"


def render_plan(plan: PhasedPlan) -> Iterator[str]:
    if not plan.changes:
        yield "nothing to do"
    for change in plan.changes:
        yield f"{sign_of(change)} {change.ref}: {change.reason}"
    for phase, batches in (("remove", plan.remove), ("make", plan.make)):
        for batch in batches:
            yield from render_batch(phase, batch)


def sign_of(change: Change) -> str:
    if change.before is None:
        return "+"
    if change.after is None:
        return "- (deleted with its parent)" if change.implied else "-"
    return "-/+" if change.recreate else "~"


def render_batch(phase: str, batch: Batch) -> Iterator[str]:
    yield f"{phase}: {batch.backend}" + (f" in {batch.netns}" if batch.netns else "")
    for step in batch.steps:
        yield f"    {render_step(step, batch)}"


def render_step(step: Step, batch: Batch) -> str:
    """Its name, and its fields but for those that say nothing."""
    said = []
    for each in fields(step):
        value = getattr(step, each.name)
        if value in ("", None, ()) or (each.name == "netns" and value == batch.netns):
            continue
        text = value if isinstance(value, str) else repr(value)
        said.append(f"{each.name}={text.strip().splitlines()[0]}" + (" …" if "\n" in text.strip() else ""))
    return " ".join([class_name(type(step)), *said])


@pytest.mark.parametrize("case", CASES)
def test_the_plan_is_as_reviewed(case: str) -> None:
    """The plan of each case is, line for line, the one in its folder."""
    folder = ROOT / case
    facts = read_facts(folder)
    text = render(read_side(folder, "live", facts), read_side(folder, "desired", read_live_facts(folder, facts)))
    golden = folder / "plan.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text)
    assert golden.exists(), "review what GOLDEN=write makes, and keep it"
    assert text == golden.read_text()
