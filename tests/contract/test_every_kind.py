"""One contract for the fake host and the real one, for things of every kind: topologies are applied, damaged and removed on both.

What is compared is what the kinds recognise. So a fake that a test of the planner relies on cannot show what the kernel, Open
vSwitch or an engine would not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.kinds import KINDS
from reconciler.plan.diff import diff_states
from reconciler.state.host import HostState
from tests.harness.capabilities import require_capability
from tests.harness.faults.both import DAMAGES
from tests.harness.faults.refusals import TRIALS
from tests.harness.netns import Namespace
from tests.harness.topologies.every_kind import EXAMPLES
from tests.harness.worlds.both import NOTHING, Both, Side, build_both

PATIENCE_S = 5.0
MakeNamespace = Callable[[str], Namespace]


def differences(side: Side, wanted: HostState) -> list[str]:
    return [f"{side.name}: {change.ref}: {change.reason}" for change in diff_states(side.live(wanted), wanted)]


def agree(both: Both, wanted: HostState, after: str = "") -> None:
    """Both are recognised as the same, record by record. A program that a deletion ends does so in its own time."""
    deadline = time.monotonic() + PATIENCE_S
    while (wrong := disagreement(both, wanted)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert wrong == [], after


def disagreement(both: Both, wanted: HostState) -> list[str]:
    real, fake = (side.live(wanted).records for side in both.sides)
    differing = (ref for ref in sorted({*real, *fake}) if real.get(ref) != fake.get(ref))
    return [f"{ref}: real {real.get(ref)}, fake {fake.get(ref)}" for ref in differing]


def test_every_kind_has_its_part() -> None:
    """Each kind that netctl knows stands in one of the topologies, or is one of the strays that the tests put there."""
    shown = {ref.kind for example in EXAMPLES.values() for ref in example.compile("shop").records}
    shown |= {kind for damage in DAMAGES.values() for kind in damage.strays}
    assert [kind.kind for kind in KINDS if kind.kind not in shown] == []


@contextmanager
def applied(name: str, topology: str, make_namespace: MakeNamespace, folder: Path) -> Iterator[tuple[Both, HostState]]:
    """The example on both hosts."""
    example = EXAMPLES[name]
    for capability in example.needs:
        require_capability(capability)
    wanted = example.compile(topology)
    with build_both(topology, make_namespace, folder, example.needs) as both:
        for side in both.sides:
            assert side.reach(wanted) is None
        yield both, wanted


@pytest.mark.kernel
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_what_is_made_and_refused(name: str, topology_name: str, make_namespace: MakeNamespace, tmp_path: Path) -> None:
    """After the same steps both hosts hold the same, as it is wanted; both refuse the same, and nothing is left at the end."""
    with applied(name, topology_name, make_namespace, tmp_path) as (both, wanted):
        for side in both.sides:
            assert differences(side, wanted) == []
        agree(both, wanted)
        for words, trial in TRIALS.items():
            if trial.example == name:
                step = trial.step(wanted)
                assert [side.tries(step) for side in both.sides] == [not trial.is_refused] * 2, words
        agree(both, wanted)
        for side in both.sides:
            assert differences(side, wanted) == []
            assert side.reach(NOTHING) is None
            assert side.live().records == {}, side.name


@pytest.mark.kernel
@pytest.mark.parametrize("example", sorted({damage.example for damage in DAMAGES.values()}))
def test_damage_is_alike(example: str, topology_name: str, make_namespace: MakeNamespace, tmp_path: Path) -> None:
    """What is deleted with a thing, what conflicts, and what repairs it, are the same on both hosts."""
    with applied(example, topology_name, make_namespace, tmp_path) as (both, wanted):
        for name in (name for name, damage in DAMAGES.items() if damage.example == example):
            damage = DAMAGES[name]
            both.damage(damage, wanted)
            agree(both, wanted, name)
            assert both.real.live(wanted) != wanted, name
            assert set(damage.strays) <= {ref.kind for ref in both.fake.live(wanted).records}, name
            for side in both.sides:
                assert side.reach(wanted) is None, name
                assert differences(side, wanted) == [], name
            agree(both, wanted, name)
