"""Shared code of the commands: the file, its hosts and their desired state; names, colours, JSON."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.cli.parser import nearest
from reconciler.errors import HostError, LockedError, NetctlError, UsageError
from reconciler.render.colour import Palette, wants_colour
from reconciler.render.status import describe_difference
from reconciler.state.subject import Subject, subject_in
from reconciler.state.visible import visible, visible_line

if TYPE_CHECKING:
    from reconciler.compile import Desired
    from reconciler.compile.model import Resolved
    from reconciler.fleet.fleet import Fleet
    from reconciler.fleet.target import Target
    from reconciler.plan.document import HostPlan
    from reconciler.state.foreign import Drop
    from reconciler.state.host import HostFacts
    from reconciler.state.record import Change
    from reconciler.state.ref import Ref
    from reconciler.topology.outline import Outline
    from reconciler.topology.parsed_file import ParsedFile
    from reconciler.topology.types import Topology


SHOWN_MAX = 5
"""The most differences of one container in a warning."""


def load(options: argparse.Namespace) -> Topology:
    """The topology that the command line names; checked, and with the host that `--host` limits it to."""
    from reconciler.topology.parsed_file import read_parsed

    return check(options, read_parsed(options.file))


def check(options: argparse.Namespace, parsed: ParsedFile) -> Topology:
    """The same, of a file that was already parsed."""
    from reconciler.topology.load import check_parsed

    topology = check_parsed(parsed)
    if getattr(options, "host", None):
        check_name("host", options.host, topology.hosts)
    return topology


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """UsageError with a suggestion if `name` is not a known one."""
    known = tuple(known)
    if name in known:
        return
    near = nearest(name, known)
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
    help_text = f"did you mean {near}?" if near else f"there {'is' if len(known) == 1 else 'are'} {shown or 'none'}"
    raise UsageError(f"the topology has no {what} {name!r}", help_text)


def palette() -> Palette:
    """Colours for standard output."""
    return Palette(wants_colour(sys.stdout))


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2))


@dataclass(frozen=True, slots=True)
class Job:
    """The data of a command that reads hosts: the workers, the facts, and the desired states."""

    topology: Topology
    fleet: Fleet
    facts: Mapping[str, HostFacts]
    desired: Desired
    peers: Mapping[str, str]
    """The other machines for the hosts to remember: those of the file, and those that may still have resources."""
    reported: Mapping[str, str]
    """Machines that only hosts on other machines report, and that netctl did not connect to."""


@contextmanager
def open_job(options: argparse.Namespace, *, lock: bool, to_apply: bool = True) -> Iterator[Job]:
    """Read the file and its hosts, and compile; with `lock`, no other netctl changes the hosts meanwhile.

    With `to_apply` false, conflicts are noted in the job, and not raised.

    With --host, other hosts are read only if they share a subnet with it, and are neither locked nor planned for.
    """
    from reconciler.fleet.fleet import Fleet
    from reconciler.fleet.target import count_workers, targets_of
    from reconciler.render.spinner import spin

    command = f"netctl {options.command} {options.file}"
    (parsed, outline), only = read_outlined(options.file), options.host or ""
    count = count_workers(outline) if outline else 0
    with Fleet.start(min(count, 2) if only else count) as fleet, Fleet.start(count if only else 0) as others:
        fleet.patience_s = getattr(options, "rollback_after", fleet.patience_s)
        topology = check_beside(options, parsed, outline, fleet, command, lock=lock)
        facts = read_beside(topology, only, others, command) if only else {}
        fleet.greet((*targets_of(topology, only), *dropped_targets(topology, only)), command)
        peers, reported = greet_dropped(options, topology, fleet, command)
        count = len(fleet.targets)
        words = f"reading {'1 host' if count == 1 else f'{count} hosts'} of {topology.name}"
        with watching(fleet) if not lock else nullcontext():
            with spin(sys.stderr, words, quiet=getattr(options, "quiet", False) or getattr(options, "json", False)):
                facts |= fleet.read(lock=lock)

            from reconciler.compile import compile_topology

            desired = compile_topology(topology, facts, only, to_apply=to_apply)
            yield Job(desired.topology, fleet, facts, desired, peers, reported)


def plan_job(job: Job, *, document: bool) -> dict[str, HostPlan]:
    """The plan of every host. An `existing` container that does not run gets no network; a warning names it."""
    for conflict in job.desired.conflicts:
        if conflict.awaited and conflict.host in job.desired.hosts:
            print(visible_line(f"warning: {conflict.message}; it gets no network yet"), file=sys.stderr)
            print(
                visible_line(f"help: {conflict.help_text}; apply again when it runs, or let `netctl agent` do so"),
                file=sys.stderr,
            )
    return plan_present(job.fleet, job.desired, document=document)


def plan_present(fleet: Fleet, desired: Desired, *, document: bool = False) -> dict[str, HostPlan]:
    """The plan of every host, without the network of containers that other programs are to run, and that do not run."""
    from reconciler.agent.withhold import withhold
    from reconciler.kinds.engine.container import EngineContainer

    plans, hosts = fleet.plan(desired.hosts, document=document), desired.hosts
    awaited: dict[str, set[Ref]] = {}
    for conflict in desired.conflicts:
        if conflict.awaited and conflict.host in plans:
            awaited.setdefault(conflict.host, set()).add(EngineContainer.ref_of(conflict.awaited))
    if not any(hosts[host].records.keys() & refs for host, refs in awaited.items()):
        return plans
    left = {host: withhold(hosts[host], plans[host].changes, refs) for host, refs in awaited.items()}
    return fleet.plan({**hosts, **left}, document=document)


@contextmanager
def watching(fleet: Fleet) -> Iterator[None]:
    """Warn if another netctl changed a host during a reading without a lock. LockedError if the reading then fails."""
    try:
        yield
    except HostError as error:
        for holder, hosts in _disturbances_of(fleet):
            message = f"cannot read {hosts} while another netctl is at work there: {holder}: {error.message}"
            raise LockedError(message, "try again when it is done") from error
        raise
    for holder, hosts in _disturbances_of(fleet):
        words = f"warning: {hosts}: another netctl was at work during the reading, and it may have caused differences: {holder}"
        print(visible_line(words), file=sys.stderr)


def _disturbances_of(fleet: Fleet) -> Iterator[tuple[str, str]]:
    """Each netctl that changed hosts during the reading, and its hosts."""
    found = fleet.find_disturbances()
    for holder in dict.fromkeys(found.values()):
        yield holder, ", ".join(host for host in found if found[host] == holder)


def read_beside(topology: Topology, host: str, fleet: Fleet, command: str) -> dict[str, HostFacts]:
    """The facts of the hosts that share a subnet with this one. An unreachable one is reported, and left out."""
    from reconciler.fleet.target import targets_of
    from reconciler.topology.host_subnets import hosts_beside

    beside = hosts_beside(topology, host)
    lost = fleet.greet((target for target in targets_of(topology) if target.host in beside), command, optional=True)
    warn_of_unreachable(lost, "its live addresses are not known")
    return fleet.read(lock=False)


def read_outlined(path: str) -> tuple[ParsedFile, Outline | None]:
    """The file, parsed and not yet checked, and its outline unless that is invalid. UsageError if it cannot be read."""
    from reconciler.topology.outline import outline_of
    from reconciler.topology.parsed_file import read_parsed

    parsed = read_parsed(path)
    return parsed, outline_of(parsed.document.tree)


def check_beside(
    options: argparse.Namespace, parsed: ParsedFile, outline: Outline | None, fleet: Fleet, command: str, *, lock: bool
) -> Topology:
    """The topology, as `check` returns it; its hosts are read meanwhile, if the outline is sufficient."""
    from reconciler.fleet.target import early_targets_of

    targets = early_targets_of(outline) if outline and not options.host else ()
    if outline and targets:
        fleet.begin((*targets, *dropped_targets(outline)), command, lock=lock)
    return check(options, parsed)


def dropped_targets(topology: Topology | Outline, only: str = "") -> tuple[Target, ...]:
    """Lab hosts that are live and no longer in the file. Their desired state is empty, so apply prunes them."""
    if only:
        return ()
    return tuple(target for target in find_lab_targets(topology.name) if target.host not in topology.hosts)


def greet_dropped(
    options: argparse.Namespace, topology: Topology, fleet: Fleet, command: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Connect to remembered machines that the file does not name any more: their desired state is empty.

    It returns the machines to remember afterwards: known ones, and those that only other machines report. An
    unreachable machine is reported, and still remembered; so is one that the user refuses to connect to.
    """
    from reconciler.cli.peers import choose_peers
    from reconciler.fleet.peers import find_dropped
    from reconciler.fleet.target import peers_of

    present = peers_of(topology)
    dropped = find_dropped(topology.name, present, fleet)
    if options.host:
        return {**{target.host: target.destination for target in dropped.known}, **present}, dropped.destinations
    chosen = choose_peers(options, topology.name, dropped)
    gone = (*dropped.known, *chosen)
    lost = fleet.greet(gone, command, optional=True) if gone else {}
    warn_of_unreachable(lost, "it is no longer in the file, and its resources of the topology remain")
    kept = {target.host: target.destination for target in gone if target.host in lost}
    return {**kept, **present}, {} if chosen else dropped.destinations


def warn_of_file(topology: Topology, resolved: Resolved | None = None) -> None:
    """Print a warning for each part of the file without effect.

    With all addresses known (`resolved`), also for each next hop that is no container's and no host's.
    """
    from reconciler.compile.routers import find_unknown_routers
    from reconciler.render.errors import render_warning
    from reconciler.topology.advice import find_advice

    for advice in (*find_advice(topology), *(find_unknown_routers(topology, resolved) if resolved else ())):
        print(render_warning(topology.path, topology.source, advice, Palette(wants_colour(sys.stderr))), file=sys.stderr)


def warn_of_unreachable(errors: Mapping[str, NetctlError], what: str) -> None:
    """Print to standard error the hosts that are left out, and the effect."""
    for host, error in errors.items():
        print(visible(f"warning: {host} is left out: {what} ({error.message})"), file=sys.stderr)


def answer_starts(job: Job) -> None:
    """Let containers start that waited for their network: the hosts are as the file says."""
    from reconciler.compile.starts import answer_starts as find_answers
    from reconciler.compile.starts import without_others

    answers = find_answers(job.topology, job.facts, job.desired.conflicts, {})
    near = {name for name, host in job.topology.hosts.items() if host.connect.scheme != "ssh"}
    answers = answers if near <= job.facts.keys() else without_others(answers)
    if answers:
        job.fleet.answer_starts(answers)


def settle_stops() -> None:
    """All is done, so one late SIGINT or SIGTERM is ignored; a second one ends the wait for other machines."""
    if threading.current_thread() is not threading.main_thread():
        return
    asked: list[int] = []

    def count(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, count)


def warn_of_lost(fleet: Fleet) -> None:
    """Print to standard error the machines whose connection was lost after all was done."""
    for host, error in fleet.lost.items():
        words = f"warning: {host} lost its connection at the end: it keeps the change, and cleans up by itself ({error.message})"
        print(visible(words), file=sys.stderr)


def split_restarted(fleet: Fleet) -> tuple[dict[str, tuple[Change, ...]], dict[str, tuple[str, ...]]]:
    """By host, the drift, and the containers of other programs that ended or started again during the apply: that is none."""
    from reconciler.kinds.engine.container import EngineContainer

    drift: dict[str, tuple[Change, ...]] = {}
    restarted: dict[str, tuple[str, ...]] = {}
    for host, changes in fleet.drift.items():
        # An `existing` container that runs is there if it has a link of netctl's: a new process has none.
        roots = [one.after for one in changes if isinstance(one.after, EngineContainer) and one.after.existing]
        spaces = {root.netns for root in roots}
        if left := tuple(change for change in changes if change.exposed_to not in spaces):
            drift[host] = left
        if roots:
            restarted[host] = tuple(sorted(root.container for root in roots))
    return drift, restarted


def warn_of_drift(topology: str, fleet: Fleet) -> None:
    """Print these containers to standard error, with their differences."""
    from reconciler.kinds.process import Process

    drift, restarted = split_restarted(fleet)
    for host, names in restarted.items():
        for name in names:
            words = f"warning: {host}: container {name} ended or started again during the apply; it gets no network yet"
            print(visible_line(words), file=sys.stderr)
            print("help: apply again when it runs, or let `netctl agent` do so", file=sys.stderr)
    for host, changes in drift.items():
        by_container: dict[Subject, list[str]] = {}
        sides = ((one.before, one.after) for one in changes)
        ended = {after.netns: after for before, after in sides if after and after.is_ended(before)}
        for container in ended.values():
            print(visible_line(f"warning: {host}: {container.subject}: {container.describe()} has ended"), file=sys.stderr)
            print(visible_line(f"help: {container.logs_help}"), file=sys.stderr)
        for change in changes:
            if isinstance(change.after, Process) and change.before is None:
                log = change.after.log
                words = f"warning: {host}: {change.after.subject}: {change.after.describe()} has ended"
                print(visible_line(words), file=sys.stderr)
                print(visible_line(f"help: read its output in /run/netctl/{topology}/{log} on {host}"), file=sys.stderr)
            elif change.exposed_to and change.exposed_to not in ended:
                by_container.setdefault(subject_in(change.exposed_to), []).append(describe_difference(change))
        for subject, found in sorted(by_container.items()):
            more = f", and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
            words = f"warning: {host}: the network of {subject} changed during the apply: {'; '.join(found[:SHOWN_MAX])}{more}"
            print(visible(words), file=sys.stderr)
            where = "in the container or in one that shares its network"
            words = f"help: stop the program that changes it, {where}, and apply again; all else is as the file says"
            print(words, file=sys.stderr)


def find_lab_targets(name: str) -> tuple[Target, ...]:
    """The live lab hosts of a topology on this machine, found by the names of their namespaces."""
    from reconciler.fleet.target import Target, default_engines
    from reconciler.state.ref import lab_member_of, lab_netns, netns_path_name, parse_path_name

    try:
        files = sorted(entry.name for entry in os.scandir("/run/netns"))
    except FileNotFoundError:
        return ()
    members = (lab_member_of(parse_path_name(name, file)) for file in files)
    hosts = {member: netns_path_name(name, lab_netns(member)) for member in members if member not in ("", "router", "outside")}
    return tuple(Target(host, name, file, netns=file, engines=default_engines()) for host, file in hosts.items())


def warn_of_slow_paths(job: Job) -> None:
    """Print to standard error the hosts without the fast path, and the reason. All works without it, but slower."""
    from reconciler.compile.fast_path import find_slow_paths

    for host, fault in find_slow_paths(job.desired.resolved, job.facts):
        print(visible_line(f"warning: {host}: packets to other hosts take the slow path: {fault}"), file=sys.stderr)


def warn_of_starts(job: Job) -> None:
    """Print to standard error the containers that wait for their network before they run."""
    names = sorted({start.engine_name for facts in job.facts.values() for start in facts.starting})
    for name in names:
        print(visible_line(f"warning: container {name} waits to start until it has its network"), file=sys.stderr)
    if names:
        print("help: `netctl agent` or `netctl apply` connects it; `netctl hook show` says how to end a start", file=sys.stderr)


def drops_of(job: Job) -> dict[str, tuple[tuple[Drop, str], ...]]:
    """By host, the topology's packets that foreign firewalls drop, each with the commands that let them pass."""
    from reconciler.compile.foreign_firewalls import find_drops
    from reconciler.compile.paste import pasted
    from reconciler.kinds.bridges import bridge_names

    found = {}
    for host, facts in job.facts.items():
        desired = job.desired.hosts.get(host)
        drops = find_drops(job.topology, desired, facts)
        bridges = bridge_names(desired) if drops else ()
        found[host] = tuple((drop, pasted(job.topology, host, drop.help_for(bridges))) for drop in drops)
    return found


def warn_of_drops(job: Job) -> None:
    """Print to standard error the foreign firewalls that will drop netctl's packets, and the commands that let them pass."""
    far = {name for name, host in job.topology.hosts.items() if host.connect.scheme == "ssh"}
    for host, drops in drops_of(job).items():
        for drop, help_text in drops:
            print(visible_line(f"warning: {host}: {drop.name} {drop.effect} ({drop.detail})"), file=sys.stderr)
            if help_text:
                whose = f" (on {host}, in its own words)" if host in far else ""
                print(visible_line(f"help{whose}: {help_text}"), file=sys.stderr)
