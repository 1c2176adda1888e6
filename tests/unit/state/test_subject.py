"""The owner of a thing: its text, its form in JSON, and its position in a plan."""

from __future__ import annotations

import pytest

from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.plan.document import CODEC
from reconciler.state.jsontext import MalformedError
from reconciler.state.record import Record
from reconciler.state.ref import container_netns, lab_netns
from reconciler.state.subject import HOST_SUBJECT, LAB_SUBJECT, Subject, parse_subject, subject_in

TEXTS = {
    "lab": LAB_SUBJECT,
    "host": HOST_SUBJECT,
    "subnet front": Subject.subnet("front"),
    "container web": Subject.container("web"),
    "container worker-2": Subject.container("worker-2"),
    "container worker-10": Subject.container("worker-10"),
    "policy from web to db": Subject.policy("web", "db"),
    "policy from web to outside": Subject.policy("web", "outside"),
}
"""By text, in the order of a plan."""


@pytest.mark.parametrize("text", TEXTS)
def test_a_subject_is_its_text(text: str) -> None:
    """The text is parsed to the same value, by itself and as a field of a record in JSON."""
    assert str(TEXTS[text]) == text
    assert parse_subject(text) == TEXTS[text]
    setting = Sysctl(netns="", key="net.ipv4.ip_forward", value="1", about=TEXTS[text])
    encoded = CODEC.encode(setting)
    assert encoded.get("about", "host") == text
    decoded = CODEC.decode(Record, encoded)
    assert decoded.subject == TEXTS[text]


@pytest.mark.parametrize(
    "text",
    ["", "web", "lab router", "host a", "container ", "container", "container a\nb", "subnet a\0", "policy a", "policy from a"],
)
def test_other_text_is_rejected(text: str) -> None:
    """A host that lies cannot write another word, or a second line, into a plan."""
    with pytest.raises(ValueError, match="in place of a subject"):
        parse_subject(text)
    with pytest.raises(MalformedError, match=r"in place of a subject in Sysctl\.about"):
        CODEC.decode(Record, {"kind": "sysctl", "netns": "", "key": "a", "value": "1", "about": text})


def test_a_plan_has_the_lab_first_and_policies_last() -> None:
    """Numbers of replicas count by value: 2 precedes 10."""
    reversed_texts = list(TEXTS.values())[::-1]
    assert [str(subject) for subject in sorted(reversed_texts, key=lambda subject: subject.order)] == list(TEXTS)


def test_replicas_have_a_stem() -> None:
    """What a plan folds into one line: equal but for the number at the end of the name."""
    worker = Subject.container("worker")
    assert worker.replica(12).stem == worker
    assert worker.stem is None
    assert worker.replica(1).through(worker.replica(12)) == "container worker-1 .. worker-12"


def test_a_namespace_decides_before_a_record() -> None:
    """What is in a container's namespace is the container's, and in the lab's the lab's."""
    front = Subject.subnet("front")
    assert subject_in(container_netns("web"), front) == Subject.container("web")
    assert subject_in(lab_netns("alpha"), front) == LAB_SUBJECT
    assert (subject_in("", front), subject_in("")) == (front, HOST_SUBJECT)
