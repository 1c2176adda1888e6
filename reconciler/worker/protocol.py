"""The worker's protocol: each request with its answer, the events in between, and their JSON.

A request is a dataclass. Its class states how large the answer may be, and how long it may take on another machine. It
also states the worker's states in which it is allowed. Lines and errors are in `worker.channel`. The classes are in the
order of an apply.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from reconciler.errors import ProtocolError
from reconciler.plan.document import CODEC, HostPlan, LivePlan
from reconciler.plan.execute import Outcome
from reconciler.probes import model
from reconciler.state.codec import class_name
from reconciler.state.host import HostFacts, HostState, Occupancy
from reconciler.state.jsontext import SIZE_MAX_BYTES, MalformedError
from reconciler.state.members import Selector
from reconciler.state.record import Change
from reconciler.state.ref import Ref
from reconciler.state.starts import StartAnswer
from reconciler.state.trace import TraceEvent, TraceRequest
from reconciler.state.traffic import TrafficCount
from reconciler.worker.channel import Message
from reconciler.worker.states import Armed, Idle, Kept, Planned, RollingBack

A = TypeVar("A")
Phase = Literal["remove", "make"]

PATIENCE_S = 60.0
"""The time after which a worker on another machine without a controller rolls back uncommitted changes."""
SMALL_MAX_BYTES = 1 << 20
"""The limit of a line that answers a small request, and of an event."""
SHORT_S, LONG_S = 60.0, 600.0
ANY_STATE = (Idle, Planned, Armed, Kept, RollingBack)


@dataclass(frozen=True)
class Request(Generic[A]):
    """A request to a worker; A is the type of its answer. A subclass without fields is a dataclass by this one."""

    answer_max_bytes: ClassVar[int] = SMALL_MAX_BYTES
    timeout_s: ClassVar[float | None] = SHORT_S
    """The time that a worker on another machine may take; None if that is unknown before.

    ssh's keepalive detects a lost machine. A lying machine answers that, and nothing else.
    """
    states: ClassVar[tuple[type, ...]] = ANY_STATE
    """The states of the worker in which it is allowed."""

    @classmethod
    def verb(cls) -> str:
        """`read` of Read."""
        return class_name(cls)

    @classmethod
    def answer_type(cls) -> Any:
        """The type of its answer: HostFacts of Read, which is a Request[HostFacts]."""
        (base,) = cls.__orig_bases__  # type: ignore[attr-defined]
        return typing.get_args(base)[0]


@dataclass(frozen=True, slots=True)
class Introduction:
    """A worker's description of its machine: its identity, and the topology's other hosts that it remembers."""

    machine: str
    peers: Mapping[str, str]
    occupancy: Occupancy = field(default_factory=Occupancy)
    """The holder of its lock."""


@dataclass(frozen=True, kw_only=True)
class Hello(Request[Introduction]):
    """Become this host. It is the first request of a session; the fields are those of a `fleet.target.Target`, and more."""

    topology: str
    host_key: str
    netns: str
    engines: Mapping[str, str]
    openvswitch: str
    uplink: str
    addresses: tuple[str, ...]
    peers: tuple[str, ...]
    parent: int
    """The controller's process; 0 on another machine."""
    command: str
    """The lock holder's description for other controllers."""
    run: str
    """The identity of the controller on another machine; "" on its own."""
    patience_s: float
    stays: bool = False
    """Whether the controller reads the host again and again, and lets the worker rest in between (`Rest`)."""


@dataclass(frozen=True, kw_only=True)
class Lock(Request[None]):
    """Hold the host's lock until `Release`, or the worker's end."""

    brief: bool = False
    """Whether it is held for one cycle of an agent."""


class ReadOccupancy(Request[Occupancy]):
    """Read the holder of the host's lock, after a reading without a lock; `Introduction` has the previous one."""


@dataclass(frozen=True, kw_only=True)
class Read(Request[HostFacts]):
    """Read the host."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Idle, Planned)
    engines: Mapping[str, Mapping[str, str]]
    members: Mapping[str, Mapping[str, Selector]] = field(default_factory=dict)
    openvswitch: bool


@dataclass(frozen=True, kw_only=True)
class Plan(Request[LivePlan]):
    """Compile a plan and store it; the answer has the live records of what changes."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Idle, Planned)
    host: str
    desired: HostState
    document: bool
    """Whether the plan is requested in full, with the fingerprint of the live state."""
    is_change: bool = False
    """Whether `desired` holds only what differs from the last request of this kind. `gone` is then what it no longer has."""
    gone: tuple[Ref, ...] = ()


class Prepare(Request[None]):
    """Report the error with which an apply is known to end."""

    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Planned,)


@dataclass(frozen=True, kw_only=True)
class Arm(Request[None]):
    """From here on a worker that loses its controller rolls back (`worker.remote`)."""

    states: ClassVar[tuple[type, ...]] = (Planned,)
    token: str


@dataclass(frozen=True, kw_only=True)
class Apply(Request[Outcome]):
    """Execute a phase of the plan; with events."""

    timeout_s: ClassVar[float | None] = None
    states: ClassVar[tuple[type, ...]] = (Planned, Armed, RollingBack)
    phase: Phase


class Check(Request[tuple[Change, ...]]):
    """Read the changes that are still needed; none after a good apply."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Planned, Armed, Kept, RollingBack)


@dataclass(frozen=True, kw_only=True)
class Repair(Request[HostPlan]):
    """Plan the changes that `Check` has found. They replace the plan, and `Apply` executes them."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Planned, Armed)
    host: str


@dataclass(frozen=True, kw_only=True)
class Confirm(Request[None]):
    """Note the token. A second worker gets it, which shows that the host can be reached by a new connection."""

    token: str


class Keep(Request[None]):
    """From here on a worker that loses its controller keeps the change. Rejected without a confirmation."""

    states: ClassVar[tuple[type, ...]] = (Armed,)


@dataclass(frozen=True, kw_only=True)
class Rollback(Request[HostPlan]):
    """Plan the rollback from the state before, which this worker knows. It replaces the plan, and `Apply` executes it."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Planned, Armed, Kept, RollingBack)
    host: str


@dataclass(frozen=True, kw_only=True)
class RollbackTo(Request[HostPlan]):
    """The same for a worker that replaces one that has died: `before` is the previous state of the host."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Idle,)
    host: str
    before: HostState


class Commit(Request[None]):
    """Delete all that was kept for a rollback."""

    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Idle, Planned, Kept, RollingBack)


@dataclass(frozen=True, kw_only=True)
class Remember(Request[None]):
    """Store the topology's other hosts."""

    peers: Mapping[str, str]


class Forget(Request[None]):
    """Delete all files of the topology."""


@dataclass(frozen=True, kw_only=True)
class Count(Request[Mapping[str, int]]):
    """Count the entries in connection tracking that each address opened."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    addresses: tuple[str, ...]


class ReadTraffic(Request[tuple[TrafficCount, ...]]):
    """Read what the firewall has counted; none if it is not there."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES


@dataclass(frozen=True, kw_only=True)
class AnswerStarts(Request[None]):
    """Answer containers that wait for their network; they then run their programs."""

    answers: tuple[StartAnswer, ...]


@dataclass(frozen=True, kw_only=True)
class OpenListeners(Request[model.Opened]):
    """Open these listeners, until `CloseListeners` (`probes.run`)."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    listeners: tuple[model.Listener, ...]


@dataclass(frozen=True, kw_only=True)
class RunProbes(Request[tuple[model.Result, ...]]):
    """Run these probes; `opened` is the answer of all hosts to `OpenListeners`."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = None
    probes: tuple[model.Probe, ...]
    opened: model.Opened


@dataclass(frozen=True, kw_only=True)
class StartTrace(Request[None]):
    """Follow these packets, until `FinishTrace`."""

    trace: TraceRequest


class FinishTrace(Request[tuple[TraceEvent, ...]]):
    """End the trace; what was seen."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES


class CloseListeners(Request[None]):
    """Close the listeners."""


class Release(Request[None]):
    """Release the lock."""


class Rest(Request[None]):
    """Hold nothing of the host until the next reading. What was planned is forgotten."""

    states: ClassVar[tuple[type, ...]] = (Idle, Planned)


REQUESTS: tuple[type[Request[Any]], ...] = (
    Hello,
    Lock,
    ReadOccupancy,
    Read,
    Plan,
    Prepare,
    Arm,
    Apply,
    Check,
    Repair,
    Confirm,
    Keep,
    Rollback,
    RollbackTo,
    Commit,
    Remember,
    Forget,
    Count,
    ReadTraffic,
    AnswerStarts,
    OpenListeners,
    RunProbes,
    StartTrace,
    FinishTrace,
    CloseListeners,
    Release,
    Rest,
)
_BY_VERB = {cls.verb(): cls for cls in REQUESTS}


# --- events: sent by `Apply` before its answer -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The number of finished steps."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The STP of a bridge blocks new ports for this time."""

    bridge: str
    seconds: int


Event = Progress | Waiting
_EVENTS: dict[str, type[Event]] = {class_name(cls): cls for cls in (Progress, Waiting)}


# --- JSON ---------------------------------------------------------------------------------------------------------------


def encode_request(request: Request[Any]) -> Message:
    """The line of a request."""
    return {"verb": request.verb(), **CODEC.encode(request)}


def decode_request(message: Message) -> Request[Any]:
    """The request in a line. ProtocolError if there is none of this form."""
    fields = dict(message)
    verb = fields.pop("verb", None)
    cls = _BY_VERB.get(verb) if isinstance(verb, str) else None
    if cls is None:
        raise ProtocolError("cannot take a request: its verb is unknown")
    try:
        return CODEC.decode(cls, fields)
    except MalformedError as error:
        raise ProtocolError(f"cannot take the request `{verb}`: {error}") from None


def encode_event(event: Event) -> Message:
    """The line of an event."""
    return {"event": class_name(type(event)), **CODEC.encode(event)}


def decode_event(message: Message) -> Event:
    """The event in a line. MalformedError if it is none."""
    fields = dict(message)
    name = fields.pop("event", None)
    cls = _EVENTS.get(name) if isinstance(name, str) else None
    if cls is None:
        raise MalformedError("a message that is not an answer")
    return CODEC.decode(cls, fields)
