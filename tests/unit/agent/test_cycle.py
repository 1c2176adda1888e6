"""A reading that began early belongs to one cycle."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from reconciler.agent.cycle import Keeper
from tests.harness.topologies.full import load

FILE = """\
version: 1
name: one
hosts: {alpha: {connect: lab, address: 192.0.2.11}}
subnets: {front: {cidr: 10.44.0.0/24}}
containers: {web: {networks: {front: auto}}}
"""


@dataclass
class _Workers:
    """Workers that rest, and note what they are asked."""

    asked: list[str] = field(default_factory=list)
    is_undisturbed: bool = True

    def renew(self) -> bool:
        return self.is_undisturbed

    def begin_again(self) -> None:
        self.asked.append("read")

    def close(self) -> None:
        self.asked.append("end")


def make_keeper(workers: _Workers, *, is_clean: bool = True) -> Keeper:
    """A keeper after a cycle."""
    return Keeper(load(FILE), (), "agent", is_clean=is_clean, _fleet=workers, _fleet_until_s=float("inf"))  # type: ignore[arg-type]


def test_a_reading_without_a_cycle_is_not_used() -> None:
    """If no cycle follows, as after an error, the workers end: a question must not get an answer that was read before it."""
    workers = _Workers()
    keeper = make_keeper(workers)
    with pytest.raises(RuntimeError), keeper.reading_ahead():
        raise RuntimeError
    assert workers.asked == ["read", "end"]
    assert keeper._fleet is None


def test_without_the_lock_only_a_clean_host_is_read() -> None:
    """After a cycle that failed, the host is read under the lock alone: nothing is read ahead."""
    workers = _Workers()
    with make_keeper(workers, is_clean=False).reading_ahead():
        pass
    assert workers.asked == []


def test_workers_that_another_netctl_disturbed_end() -> None:
    """What workers remember may be old then."""
    workers = _Workers(is_undisturbed=False)
    with make_keeper(workers).reading_ahead():
        pass
    assert workers.asked == ["end"]
