"""The fleet on the real kernel: two lab hosts, moved in step, and back where something fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.compile import compile_topology
from reconciler.errors import HostError, LockedError, NetctlError, RolledBackError
from reconciler.fleet.fleet import Fleet
from reconciler.fleet.local import start_local_worker
from reconciler.fleet.session import Session
from reconciler.fleet.side_by_side import merge_errors
from reconciler.fleet.target import targets_of
from reconciler.kinds.addressing.address import Address
from reconciler.plan.document import HostPlan
from reconciler.state.host import HostState
from reconciler.state.ref import LAB
from reconciler.topology.load import parse_topology
from reconciler.topology.types import Topology
from reconciler.worker import protocol
from tests.harness.fakes.requests import HELLO

pytestmark = pytest.mark.kernel

Update = Callable[[str, str, int, int], None]

FILE = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24}
  back: {cidr: 10.45.0.0/24, mode: isolated}
containers:
  web: {host: alpha, networks: {front: auto}, ports: ["8080:80"]}
  db: {host: beta, networks: {back: auto}, command: [sleep, infinity]}
"""


class Hook:
    """Progress that calls a function."""

    def __init__(self, update: Update = lambda *_: None) -> None:
        """`update` runs in the thread of its host."""
        self.update = update

    def wait(self, *_: object) -> None:
        """Nothing here has STP."""


@pytest.fixture
def topology(topology_name: str) -> Topology:
    return parse_topology(FILE.replace("NAME", topology_name).encode())


def plan(fleet: Fleet, topology: Topology, *, empty: bool = False) -> dict[str, HostPlan]:
    fleet.greet(targets_of(topology), "netctl test")
    facts = fleet.read(lock=True)
    return fleet.plan({} if empty else compile_topology(topology, facts).hosts)


def apply(topology: Topology, *, empty: bool = False, update: Update = lambda *_: None) -> int:
    """Apply, or destroy; how many changes that took."""
    with Fleet.start(3) as fleet:
        plans = plan(fleet, topology, empty=empty)
        fleet.apply(plans, Hook(update))
        return sum(len(each.changes) for each in plans.values())


def files_of(topology: Topology) -> list[str]:
    found = [*Path("/run/netns").iterdir(), *Path("/run/netctl").glob("*")]
    return [str(path) for path in found if path.name == topology.name or path.name.startswith(f"{topology.name}.")]


def test_apply_again_and_destroy(topology: Topology) -> None:
    """The second apply changes nothing (invariant 1); a destroy leaves no namespace and no file (invariant 2)."""
    assert apply(topology) > 50
    assert apply(topology) == 0
    assert apply(topology, empty=True) > 50
    assert files_of(topology) == []


@pytest.mark.parametrize("host", [LAB, "alpha", "beta"])
def test_a_worker_that_dies_is_replaced_and_all_hosts_roll_back(topology: Topology, host: str) -> None:
    """SIGKILL of one worker in the middle: another takes its place for the rollback, and nothing is left."""
    with Fleet.start(3) as fleet:
        plans = plan(fleet, topology)
        killed: list[int] = []

        def kill(name: str, *_: object) -> None:
            if name == host and not killed:
                killed.append(fleet._sessions[host]._worker.process.pid)
                os.kill(killed[0], signal.SIGKILL)

        with pytest.raises(RolledBackError, match=f"{host}: the worker of {host} was killed by SIGKILL"):
            fleet.apply(plans, Hook(kill))
        assert killed
    assert files_of(topology) == []


def test_a_worker_that_dies_while_it_plans(topology: Topology) -> None:
    """Nothing is touched: exit status 3, and what to do."""
    with Fleet.start(3) as fleet:
        fleet.greet(targets_of(topology), "netctl test")
        desired = compile_topology(topology, fleet.read(lock=True)).hosts
        os.kill(fleet._sessions["beta"]._worker.process.pid, signal.SIGKILL)
        with pytest.raises(HostError, match="the worker of beta was killed by SIGKILL during `plan`") as caught:
            fleet.plan(desired)
    assert caught.value.exit_status == 3
    assert "run netctl again" in caught.value.help_text
    assert "dmesg" in caught.value.help_text
    assert files_of(topology) == []


def test_a_signal_stops_the_apply_and_takes_it_back(topology: Topology) -> None:
    """SIGINT in the middle of an apply: the batch in hand is finished, all is rolled back, the exit status is 4 (invariant 5)."""

    def interrupt(host: str, phase: str, *_: int) -> None:
        if phase == "make":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RolledBackError, match="stopped by the user; every host is as it was before") as caught:
        apply(topology, update=interrupt)
    assert caught.value.exit_status == 4
    assert files_of(topology) == []


def test_one_host_that_fails_takes_the_others_back(topology: Topology) -> None:
    """An address is taken on beta after the plan was made: beta says so, and alpha is rolled back, too."""
    apply(topology)
    grown = parse_topology(topology_text(topology).replace("networks: {front: auto}", "networks: {front: 10.44.0.77}").encode())
    with Fleet.start(3) as fleet:
        fleet.greet(targets_of(grown), "netctl test")
        desired = dict(compile_topology(grown, fleet.read(lock=True)).hosts)
        # A record that the kernel refuses: an address on a link that is not there.
        some = next(record for record in desired["beta"].records.values() if isinstance(record, Address))
        wrong = replace(some, dev="nolink", cidr="10.99.0.1/24")
        desired["beta"] = HostState.of([*desired["beta"].records.values(), wrong])
        with pytest.raises(RolledBackError, match=r"beta: .*nolink"):
            fleet.apply(fleet.plan(desired), Hook())
    assert apply(topology) == 0
    assert apply(topology, empty=True) > 50


def topology_text(topology: Topology) -> str:
    return FILE.replace("NAME", topology.name)


def test_the_second_of_two_learns_who_holds_the_lock(topology: Topology) -> None:
    """Two at once: one works, the other ends with status 7 and names the process (invariant 6)."""
    with Fleet.start(3) as first, Fleet.start(3) as second:
        plan(first, topology)
        with pytest.raises(LockedError, match=rf"process {os.getpid()} \(netctl test\)") as caught:
            plan(second, topology)
        assert caught.value.exit_status == 7


def test_a_lock_is_free_when_its_holder_was_killed(topology: Topology) -> None:
    """Workers that were killed hold nothing: the next one works at once."""
    with Fleet.start(3) as first:
        plan(first, topology)
        for session in first._sessions.values():
            session._worker.process.kill()
            session._worker.process.wait()
        assert apply(topology) > 50
    assert apply(topology, empty=True) > 50


def test_a_defect_is_a_sentence_and_a_file(topology: Topology) -> None:
    """An unforeseen exception ends neither the worker nor in a traceback: it is kept in a file that is named."""
    session = Session(targets_of(topology)[0], start_local_worker())
    try:
        session.hello("netctl test")
        with pytest.raises(NetctlError, match="has a defect, found during `count`: ValueError") as caught:
            session.call(protocol.Count(addresses=("nonsense",)))
        log = session.log
        assert str(log) in caught.value.help_text
        assert "Traceback" in log.read_text()
        session.call(protocol.Release())
        assert apply(topology) > 50
        assert not log.exists(), "an apply that succeeds has no use for it"
        assert apply(topology, empty=True) > 50
    finally:
        session.close()


def test_errors_keep_their_class_on_the_way(topology: Topology) -> None:
    """What a worker raises is raised in the controller with the same class, sentence and help."""
    session = Session(targets_of(topology)[0], start_local_worker())
    try:
        with pytest.raises(NetctlError, match="the worker does not know its host yet"):
            session.call(protocol.Read(engines={}, openvswitch=False))
        with pytest.raises(HostError, match="the controller has ended"):
            session.call(replace(HELLO, parent=1 if os.getpid() != 1 else 2))
    finally:
        session.close()


def test_each_host_has_a_line() -> None:
    """What went wrong on several hosts is one error of the gravest class, a line for each; those that say the same share one."""
    same = HostError("no root", "use sudo")
    assert merge_errors({"alpha": same, "beta": same}).message == "alpha, beta: no root"
    merged = merge_errors({"alpha": same, "beta": LockedError("held", "wait"), "gamma": same})
    assert type(merged) is LockedError
    assert merged.message == "3 hosts have failed\n  alpha, gamma: no root\n  beta: held"
    assert merged.help_text == "use sudo\nwait"


def test_a_worker_ends_with_its_controller(topology: Topology) -> None:
    """When the controller closes the streams, the worker ends with status 0."""
    worker = start_local_worker()
    session = Session(targets_of(topology)[0], worker)
    session.hello("netctl test")
    session.close()
    assert worker.process.returncode == 0


def test_hosts_beside_those_that_were_begun(topology: Topology) -> None:
    """A host that is greeted after a reading was begun is locked and read with the others, and none is read twice."""
    targets = targets_of(topology)
    with Fleet.start(3) as fleet:
        fleet.begin(targets[:2], "netctl test", lock=True)
        fleet.greet(targets, "netctl test")
        assert set(fleet.read(lock=True)) == {LAB, "alpha", "beta"}
        with Fleet.start(0) as other:
            other.greet(targets, "netctl test")
            with pytest.raises(LockedError):
                other.read(lock=True)
    assert files_of(topology) == []


def test_a_second_greeting_ends_no_session(topology: Topology) -> None:
    """A host that left the file is greeted after those of the file, whose reading goes on."""
    targets = targets_of(topology)
    with Fleet.start(3) as fleet:
        fleet.begin(targets[:2], "netctl test", lock=False)
        fleet.greet(targets[:2], "netctl test")
        fleet.greet(targets[2:], "netctl test", optional=True)
        assert fleet.targets == targets
        assert set(fleet.read(lock=False)) == {target.host for target in targets}


def test_a_reading_that_was_begun(topology: Topology) -> None:
    """`read` returns what was begun, with the locks held; if another netctl holds one, `read` reports it."""
    targets = targets_of(topology)
    with Fleet.start(3) as fleet, Fleet.start(0) as other:
        fleet.begin(targets, "netctl test", lock=True)
        fleet.greet(targets, "netctl test")
        assert set(fleet.read(lock=True)) == {LAB, "alpha", "beta"}
        other.begin(targets, "netctl test", lock=True)
        other.greet(targets, "netctl test")
        with pytest.raises(LockedError):
            other.read(lock=True)
    assert files_of(topology) == []


def test_two_threads_wait_for_one_worker() -> None:
    """One waits for an answer when the worker dies, another ends the session: both get the same."""
    worker = start_local_worker()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(worker.process.wait, timeout) for timeout in (None, 10)]
        worker.process.kill()
        assert [each.result() for each in waiting] == [-signal.SIGKILL, -signal.SIGKILL]
    worker.kill()
