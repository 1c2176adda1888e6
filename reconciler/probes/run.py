"""The probes of one host, run in its worker: first it opens listeners, then it runs clients, then it closes all sockets.

The controller orders the hosts. It starts the listeners of all workers, passes the foreign ones to each client, and
stops the listeners at the end. A thread that ends afterwards enters a namespace, so the worker's own thread stays in
its place.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from reconciler.errors import HostError
from reconciler.kernel.foreign_link import ProbeLink
from reconciler.kernel.namespaces import enter, run_in_thread
from reconciler.probes.clients import Clients
from reconciler.probes.diagnose import NetnsFacts, diagnose
from reconciler.probes.gather import read_default_gateway, read_netns_facts
from reconciler.probes.listen import Listeners
from reconciler.probes.model import DEFAULT_GATEWAY, FOREIGN_NETNS, Finding, Listener, Opened, PacketProbe, Probe, Result
from reconciler.state.foreign_ends import foreign_ends
from reconciler.state.ref import HOST

PROBES_AT_ONCE = 4000
"""The probes of one round: sockets and sequence numbers are limited."""


class Prober:
    """Runs the probes that start on one host. `path_of` gives the file of a namespace by its name (`state.ref`)."""

    def __init__(self, path_of: Callable[[str], str], topology: str = "") -> None:
        """It opens nothing before it is needed. `topology` names the link that is created for probes from FOREIGN_NETNS."""
        self._path_of = path_of
        self._topology = topology
        self._listeners: Listeners | None = None

    def start_listeners(self, listeners: Iterable[Listener]) -> Opened:
        """Open what the probes of all hosts need on this one. It is called once, before any client starts."""
        raise_file_limit()
        self._listeners = Listeners()
        opened = self._listeners
        return run_in_thread(lambda: opened.open(dict.fromkeys(listeners), Entrance(self._path_of)))

    def run_clients(self, probes: Sequence[Probe], opened: Opened) -> tuple[Result, ...]:
        """Run all probes; results are in their order. `opened` is the joint answer of all hosts' listeners."""
        raise_file_limit()
        found: list[Finding] = []
        with self._foreign_link(probes) as (path_of, reason):
            for start in range(0, len(probes), PROBES_AT_ONCE):
                found += run_in_thread(partial(self._ask, probes[start : start + PROBES_AT_ONCE], opened, path_of, reason))
        results = tuple(Result(probe, finding) for probe, finding in zip(probes, found, strict=True))
        return self._explain(results, opened)

    def stop(self) -> None:
        """Close the listeners. It may be called at any time, and again."""
        if self._listeners:
            self._listeners.close()
            self._listeners = None

    @contextmanager
    def _foreign_link(self, probes: Sequence[Probe]) -> Iterator[tuple[Callable[[str], str], str]]:
        """The files of the namespaces, with a foreign link as long as the probes need one; and a reason to skip these probes."""
        if all(probe.netns != FOREIGN_NETNS for probe in probes):
            yield self._path_of, ""
            return
        try:
            link = ProbeLink(self._path_of(HOST), foreign_ends(self._topology))
        except HostError as error:
            yield self._path_of, error.message
            return
        try:
            yield lambda netns: link.path if netns == FOREIGN_NETNS else self._path_of(netns), ""
        finally:
            link.close()

    def _ask(self, probes: Sequence[Probe], opened: Opened, path_of: Callable[[str], str], no_link: str) -> list[Finding]:
        entrance = Entrance(path_of)
        taken, failed = set(opened.taken), dict(opened.failed)
        found: dict[int, Finding] = {}
        asked: list[tuple[int, Probe, str]] = []
        for number, probe in enumerate(probes):
            skipped = _reason_to_skip(probe, taken, failed) or (no_link if probe.netns == FOREIGN_NETNS else "")
            address = probe.address
            if address == DEFAULT_GATEWAY and not skipped:
                address, skipped = _find_gateway(entrance)
            if skipped:
                found[number] = Finding("skipped", skipped)
            else:
                token = probe.listener.token if probe.listener and probe.listener not in taken else ""
                asked.append((number, replace(probe, address=address), token))
        clients = Clients([probe for _, probe, _ in asked], [token for *_, token in asked], entrance)
        found |= zip((number for number, *_ in asked), clients.run(), strict=True)
        return [found[number] for number in range(len(probes))]

    def _explain(self, results: tuple[Result, ...], opened: Opened) -> tuple[Result, ...]:
        """Add the suspected fault to failed probes, from facts of their namespaces."""
        if all(result.passed for result in results):
            return results
        # An unexpected answer says nothing about the namespace that received it.
        names = dict.fromkeys(result.probe.netns for result in results if not result.passed and result.probe.expected)
        facts = run_in_thread(lambda: {name: self._read_facts(name) for name in names})
        unread = NetnsFacts(exists=False)
        return tuple(
            r if r.passed else replace(r, fault=diagnose(r, results, facts.get(r.probe.netns, unread), opened)) for r in results
        )

    def _read_facts(self, netns: str) -> NetnsFacts:
        try:
            enter(self._path_of(netns))
            return read_netns_facts()
        except (OSError, HostError):
            return NetnsFacts(exists=False)


class Entrance:
    """Moves the calling thread between namespaces, unless it is in the right one already."""

    def __init__(self, path_of: Callable[[str], str]) -> None:
        """`path_of` returns the file of a namespace."""
        self._path_of = path_of
        self._inside: str | None = None

    def __call__(self, netns: str) -> None:
        """Enter the namespace. OSError if it does not exist."""
        if netns == self._inside:
            return
        self._inside = None
        enter(self._path_of(netns))
        self._inside = netns


def raise_file_limit() -> None:
    """Raise the limit of sockets to the hard limit: a thousand containers need more than the usual 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _reason_to_skip(probe: Probe, taken: set[Listener], failed: dict[Listener, str]) -> str:
    listener = probe.listener
    if listener is None:
        return ""
    if listener in failed:
        return f"nothing can listen on {listener.protocol} {listener.port} for {probe.target}: {failed[listener]}"
    if listener in taken and probe.kind == "udp" and probe.expected:
        return "another server listens there, and its protocol is unknown"
    return ""


def _find_gateway(entrance: Entrance) -> tuple[str, str]:
    """The host's default gateway, and a reason to skip the probe if none answers to the host itself."""
    entrance("")
    address = read_default_gateway()
    if not address:
        return "", "the host has no default gateway"
    asked = PacketProbe(
        host="", netns="", source="host", target="gateway", section="", kind="icmp", address=address, expected=True, why=""
    )
    (finding,) = Clients([asked], [""], entrance).run()
    answers = finding.outcome == "answered"
    return (address, "") if answers else ("", f"the default gateway {address} does not answer the host either")
