"""The start of an agent: the file, the locks of its hosts, and where it serves metrics."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reconciler.agent.cycle import Keeper
from reconciler.agent.log import Log, now
from reconciler.agent.loop import Agent, Load, names_of
from reconciler.agent.questions import Desk, Reply
from reconciler.agent.state import DESTROYED, AgentState, HostLocks, end_pause
from reconciler.errors import NetctlError
from reconciler.kernel.processes.service_manager import ServiceManager

if TYPE_CHECKING:
    from reconciler.agent.metrics import Metrics


def start_agent(load: Load, reply: Reply, command: str, *, is_json: bool, metrics: tuple[str, int] | None = None) -> Agent:
    """An agent that holds the locks of its hosts. UsageError if the file is wrong; HostError if another agent holds a host.

    `reply` answers the questions of commands; `metrics` is where to serve them.
    """
    loaded = load()
    topology, targets = loaded.topology, loaded.targets
    locks = HostLocks(topology.name)
    locks.take(names_of(targets))
    end_pause(topology.name, DESTROYED)  # who starts an agent wants the hosts again
    state = AgentState(os.getpid(), topology.name, topology.path, names_of(targets), now())
    locks.write(state)
    log, keeper, desk = Log(topology.name, is_json), Keeper(topology, targets, command), Desk(reply, loaded.digest)
    agent = Agent(load, command, log, locks, keeper, state, ServiceManager(), desk)
    if metrics:
        keeper.reads_traffic = True
        agent.metrics = _serve_metrics(*metrics, locks)
    return agent


def _serve_metrics(address: str, port: int, locks: HostLocks) -> Metrics:
    from reconciler.agent.metrics import Metrics
    from reconciler.kernel.processes.metrics_server import MetricsServer

    try:
        return Metrics(MetricsServer(address, port))
    except NetctlError:
        locks.release()
        raise
