"""The worker's protocol: each request with its answer, the events on the way, and their JSON.

A request is a dataclass; the class says how large its answer may be, how long it may take on another machine, and in which
states of the worker it is allowed. Lines and errors are in `worker.channel`. The classes stand in the order of an apply.
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
from reconciler.state.record import Change
from reconciler.worker.channel import Message
from reconciler.worker.states import Armed, Idle, Kept, Planned, RollingBack

A = TypeVar("A")
Phase = Literal["remove", "make"]

PATIENCE_S = 60.0
"""How long a worker on another machine does without hearing of its controller before it rolls back what was not committed."""
SMALL_MAX_BYTES = 1 << 20
"""Of a line that answers a request which asks for little, and of an event."""
SHORT_S, LONG_S = 60.0, 600.0
ANY_STATE = (Idle, Planned, Armed, Kept, RollingBack)


@dataclass(frozen=True)
class Request(Generic[A]):
    """A question to a worker, or an order; A is the type of its answer. A subclass without fields is a dataclass by this one."""

    answer_max_bytes: ClassVar[int] = SMALL_MAX_BYTES
    timeout_s: ClassVar[float | None] = SHORT_S
    """How long a worker on another machine may take; None if that is not known before.

    A machine that is cut off is noticed by ssh's own question whether it is there; one that lies answers that, and nothing else.
    """
    states: ClassVar[tuple[type, ...]] = ANY_STATE
    """In which states of the worker it is allowed."""

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
    """What a worker says of its machine: what tells it from others, and what it remembers of the topology's other hosts."""

    machine: str
    peers: Mapping[str, str]
    occupancy: Occupancy = field(default_factory=Occupancy)
    """Who is at work on it."""


@dataclass(frozen=True, kw_only=True)
class Hello(Request[Introduction]):
    """Be this host. The first request of a session; the fields are those of a `fleet.target.Target`, and more."""

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
    """What other controllers read of the lock's holder."""
    run: str
    """What stands for the controller on another machine; "" on its own."""
    patience_s: float


class Lock(Request[None]):
    """Hold the host's lock until `Release`, or the worker's end."""


class ReadOccupancy(Request[Occupancy]):
    """Read who is at work on the host; asked after a reading without a lock; `Introduction` said it before."""


@dataclass(frozen=True, kw_only=True)
class Read(Request[HostFacts]):
    """Read the host."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Idle, Planned)
    engines: Mapping[str, Mapping[str, str]]
    openvswitch: bool


@dataclass(frozen=True, kw_only=True)
class Plan(Request[LivePlan]):
    """Make a plan and hold it; the answer is what is live of what changes."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Idle, Planned)
    host: str
    desired: HostState
    document: bool
    """Whether the plan is wanted in full, with the fingerprint of the live state."""


class Prepare(Request[None]):
    """Report the error that an apply is known to end with."""

    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Planned,)


@dataclass(frozen=True, kw_only=True)
class Arm(Request[None]):
    """From here on a lost controller means a rollback (`worker.remote`)."""

    states: ClassVar[tuple[type, ...]] = (Planned,)
    token: str


@dataclass(frozen=True, kw_only=True)
class Apply(Request[Outcome]):
    """Carry out a phase of the plan; with events."""

    timeout_s: ClassVar[float | None] = None
    states: ClassVar[tuple[type, ...]] = (Planned, Armed, RollingBack)
    phase: Phase


class Check(Request[tuple[Change, ...]]):
    """Read which changes are still needed; none after a good apply."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Planned, Armed, Kept, RollingBack)


@dataclass(frozen=True, kw_only=True)
class Mend(Request[HostPlan]):
    """Plan for what `Check` has found. That takes the plan's place, and `Apply` carries it out."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Planned, Armed)
    host: str


@dataclass(frozen=True, kw_only=True)
class Confirm(Request[None]):
    """Note the token. Asked of a second worker, which shows that the host can still be reached by a new connection."""

    token: str


class Keep(Request[None]):
    """From here on a lost controller means that the change stays. Refused without a confirmation."""

    states: ClassVar[tuple[type, ...]] = (Armed,)


@dataclass(frozen=True, kw_only=True)
class Rollback(Request[HostPlan]):
    """Plan the way back, from what this worker knows. It takes the plan's place, and `Apply` carries it out."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Planned, Armed, Kept, RollingBack)
    host: str


@dataclass(frozen=True, kw_only=True)
class RollbackTo(Request[HostPlan]):
    """The same of a worker that takes the place of one that has died: `before` is what the host was."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Idle,)
    host: str
    before: HostState


class Commit(Request[None]):
    """Delete what was kept for a rollback."""

    timeout_s: ClassVar[float | None] = LONG_S
    states: ClassVar[tuple[type, ...]] = (Idle, Planned, Kept, RollingBack)


@dataclass(frozen=True, kw_only=True)
class Remember(Request[None]):
    """Remember the topology's other hosts."""

    peers: Mapping[str, str]


class Forget(Request[None]):
    """Leave no file of the topology."""


@dataclass(frozen=True, kw_only=True)
class Count(Request[Mapping[str, int]]):
    """Count the entries of connection tracking that each address has begun."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    addresses: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OpenListeners(Request[model.Opened]):
    """Open these listeners, until `CloseListeners` (`probes.run`)."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    listeners: tuple[model.Listener, ...]


@dataclass(frozen=True, kw_only=True)
class RunProbes(Request[tuple[model.Result, ...]]):
    """Run these probes; `opened` is what all hosts have answered to `OpenListeners`."""

    answer_max_bytes: ClassVar[int] = SIZE_MAX_BYTES
    timeout_s: ClassVar[float | None] = None
    probes: tuple[model.Probe, ...]
    opened: model.Opened


class CloseListeners(Request[None]):
    """Close the listeners."""


class Release(Request[None]):
    """Let go of the lock."""


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
    Mend,
    Confirm,
    Keep,
    Rollback,
    RollbackTo,
    Commit,
    Remember,
    Forget,
    Count,
    OpenListeners,
    RunProbes,
    CloseListeners,
    Release,
)
_BY_VERB = {cls.verb(): cls for cls in REQUESTS}


# --- events: sent by `Apply` before its answer -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """So many of the steps are done."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The STP of a bridge holds new ports back for so long."""

    bridge: str
    seconds: int


Event = Progress | Waiting
_EVENTS: dict[str, type[Event]] = {class_name(cls): cls for cls in (Progress, Waiting)}


# --- JSON ---------------------------------------------------------------------------------------------------------------


def encode_request(request: Request[Any]) -> Message:
    """The line of a request."""
    return {"verb": request.verb(), **CODEC.encode(request)}


def decode_request(message: Message) -> Request[Any]:
    """The request of a line. ProtocolError if there is none of this form."""
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
    """The event of a line. MalformedError if it is none."""
    fields = dict(message)
    name = fields.pop("event", None)
    cls = _EVENTS.get(name) if isinstance(name, str) else None
    if cls is None:
        raise MalformedError("a message that is no answer")
    return CODEC.decode(cls, fields)
