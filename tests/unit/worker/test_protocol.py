"""The worker's protocol: each request and answer as JSON, what is refused, and the states in which a request is allowed."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import create_autospec

import pytest

from reconciler.errors import ProtocolError
from reconciler.plan.document import CODEC
from reconciler.state.jsontext import MalformedError
from reconciler.state.snapshot import Snapshot
from reconciler.worker import protocol
from reconciler.worker.channel import decode_error, encode_error
from reconciler.worker.machine import KernelMachine
from reconciler.worker.protocol import Request, decode_event, decode_request, encode_event, encode_request
from reconciler.worker.states import Armed, Idle, Kept, Planned, RollingBack
from reconciler.worker.work import Work
from tests.harness.fakes.requests import EMPTY, REQUESTS

PLAN = protocol.Plan(host="alpha", desired=EMPTY, document=False)
ARM, KEEP, COMMIT = protocol.Arm(token="t"), protocol.Keep(), protocol.Commit()
ROLLBACK = protocol.Rollback(host="alpha")


def machine(*, confirmed: bool = True) -> Any:
    """A host with nothing on it."""
    made = create_autospec(KernelMachine, instance=True)
    made.read.return_value = Snapshot("t", {})
    made.is_confirmed.return_value = confirmed
    return made


def work(*requests: Request[Any], confirmed: bool = True) -> Work:
    """A worker that has answered these."""
    made = Work(machine(confirmed=confirmed), lambda _: None, lambda: False)
    for request in requests:
        made.answer(request)
    return made


WAYS: dict[type, tuple[Request[Any], ...]] = {
    Idle: (),
    Planned: (PLAN,),
    Armed: (PLAN, ARM),
    Kept: (PLAN, ARM, KEEP),
    RollingBack: (PLAN, ARM, ROLLBACK),
}


def test_every_request_has_a_sample() -> None:
    """The tests below are about all of them."""
    assert tuple(type(request) for request in REQUESTS) == protocol.REQUESTS
    assert len({cls.verb() for cls in protocol.REQUESTS}) == len(protocol.REQUESTS)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.verb())
def test_a_request_is_the_same_on_the_other_side(request_: Request[Any]) -> None:
    """What is sent is what arrives, and its answer has a type that the codec knows."""
    assert decode_request(json.loads(json.dumps(encode_request(request_)))) == request_
    CODEC._decoder(request_.answer_type())


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"verb": "reboot"},
        {"verb": ["read"]},
        {"verb": "read"},
        {"verb": "read", "engines": [], "openvswitch": False},
        {"verb": "apply", "phase": "both"},
        {"verb": "lock", "more": 1},
        {"verb": "plan", "host": "a", "desired": [{"kind": "nothing"}], "document": False},
    ],
)
def test_no_request_of_any_other_form_is_taken(message: dict[str, Any]) -> None:
    """An unknown verb, a field too many or too few, another type: one error, which travels as what it is."""
    with pytest.raises(ProtocolError, match="cannot take") as caught:
        decode_request(message)
    assert type(decode_error(encode_error(caught.value))) is ProtocolError


@pytest.mark.parametrize("event", [protocol.Progress(done=1, total=2), protocol.Waiting(bridge="b", seconds=3)])
def test_events(event: protocol.Event) -> None:
    """An event is the same on the other side; another form is refused."""
    message = encode_event(event)
    assert decode_event(message) == event
    for wrong in ({**message, "event": "reboot"}, {**message, "more": 1}, {**message, "event": []}, {"event": message["event"]}):
        with pytest.raises(MalformedError):
            decode_event(wrong)


@pytest.mark.parametrize("state", WAYS)
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.verb())
def test_a_request_is_answered_in_its_states_only(request_: Request[Any], state: type) -> None:
    """In any other state it is a typed error, and the state is the same afterwards."""
    made = work(*WAYS[state])
    before = made._state
    assert type(before) is state
    if state in request_.states and not isinstance(request_, protocol.Hello):
        made.answer(request_)
    else:
        with pytest.raises(ProtocolError, match="cannot take the request"):
            made.answer(request_)
        assert made._state == before


def test_the_order_of_an_apply() -> None:
    """Each request leads to the state of its name, and a commit to the first again."""
    for requests, state in (
        ((PLAN, COMMIT), Idle),
        ((PLAN, PLAN), Planned),
        ((PLAN, ARM, KEEP, COMMIT), Idle),
        ((PLAN, ROLLBACK, COMMIT), Idle),
        ((PLAN, ARM, KEEP, ROLLBACK), RollingBack),
        ((protocol.RollbackTo(host="alpha", before=EMPTY),), RollingBack),
    ):
        assert type(work(*requests)._state) is state


def test_nothing_is_kept_without_a_confirmation() -> None:
    """A change that no new connection has confirmed stays armed, and is not committed."""
    made = work(PLAN, ARM, confirmed=False)
    with pytest.raises(ProtocolError, match="no new connection has confirmed"):
        made.answer(KEEP)
    with pytest.raises(ProtocolError, match="cannot take the request `commit`: it is armed"):
        made.answer(COMMIT)


@pytest.mark.parametrize(
    ("requests", "word"),
    [
        ((), ""),
        ((PLAN,), ""),
        ((PLAN, ROLLBACK), ""),
        ((PLAN, ARM), "rolling back"),
        ((PLAN, ARM, KEEP), "keeping"),
        ((PLAN, ARM, ROLLBACK), "rolling back"),
        ((PLAN, ARM, KEEP, COMMIT), ""),
    ],
)
def test_what_a_lost_controller_means(requests: tuple[Request[Any], ...], word: str) -> None:
    """An armed host rolls back, one that got the keep request keeps the change, and any other does nothing."""
    made = work(*requests)
    made._machine.log.reset_mock()  # type: ignore[attr-defined]
    made._machine.commit.reset_mock()  # type: ignore[attr-defined]
    made.end()
    told = " ".join(call.args[0] for call in made._machine.log.call_args_list)  # type: ignore[attr-defined]
    assert word in told
    assert bool(told) == bool(word) == made._machine.commit.called  # type: ignore[attr-defined]
