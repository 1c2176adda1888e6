"""One request of each class of the worker's protocol."""

from __future__ import annotations

from typing import Any

from reconciler.probes.model import Opened
from reconciler.state.host import HostState
from reconciler.state.starts import StartAnswer, WaitingStart
from reconciler.state.trace import TracedPacket, TraceRequest
from reconciler.worker import protocol
from reconciler.worker.protocol import Request

HELLO = protocol.Hello(
    topology="t",
    host_key="t.lab",
    netns="",
    engines={},
    openvswitch="",
    uplink="",
    addresses=(),
    peers=(),
    parent=0,
    command="netctl test",
    run="",
    patience_s=60.0,
)
EMPTY = HostState({})
REQUESTS: tuple[Request[Any], ...] = (
    HELLO,
    protocol.Lock(),
    protocol.ReadOccupancy(),
    protocol.Read(engines={"docker": {"web": "web-1"}}, openvswitch=True),
    protocol.Plan(host="alpha", desired=EMPTY, document=False),
    protocol.Prepare(),
    protocol.Arm(token="t"),
    protocol.Apply(phase="make"),
    protocol.Check(),
    protocol.Repair(host="alpha"),
    protocol.Confirm(token="t"),
    protocol.Keep(),
    protocol.Rollback(host="alpha"),
    protocol.RollbackTo(host="alpha", before=EMPTY),
    protocol.Commit(),
    protocol.Remember(peers={"beta": "ssh://beta"}),
    protocol.Forget(),
    protocol.Count(addresses=("10.44.0.10",)),
    protocol.ReadTraffic(),
    protocol.AnswerStarts(answers=(StartAnswer(WaitingStart("a" * 64, "web", 7, 8, 9), "refused", "no"),)),
    protocol.OpenListeners(listeners=()),
    protocol.RunProbes(probes=(), opened=Opened()),
    protocol.StartTrace(trace=TraceRequest(packets=(TracedPacket(source="10.44.0.10", target="10.44.0.20"),))),
    protocol.FinishTrace(),
    protocol.CloseListeners(),
    protocol.Release(),
    protocol.Rest(),
)
