"""The conversation of a command with an agent: any course but the right one is no answer, and takes no longer than it may."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from reconciler.cli.ask import NAME
from reconciler.kernel.run_directory import agent_socket
from reconciler.kernel.run_directory.agent_socket import AgentSocket, Answer, Question, ask, parse_question

QUESTION = Question(
    file="shop.yaml",
    digest="0" * 64,
    json=False,
    verbose=False,
    show_secrets=False,
    has_colour=(True, False),
    docker="",
    program="1",
    namespaces=((4, 1),),
)
ACCEPTED = b'{"accepted": true}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "shop.sock"


def serve(path: Path, talk: Callable[[socket.socket], None]) -> threading.Thread:
    """Answer one connection so."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def body() -> None:
        one, _ = listener.accept()
        with listener, one, contextlib.suppress(OSError):  # the command may have gone
            one.recv(1 << 16)
            talk(one)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


def test_a_question_is_answered(path: Path) -> None:
    """What the agent receives is what was asked, and the command has the agent's answer."""
    desk, found = AgentSocket(path), []
    answer = Answer(((1, "a\n"), (2, "ü\x1b[0m")), 1)
    thread = threading.Thread(target=lambda: found.append(ask(path, QUESTION)))
    thread.start()
    deadline_s = time.monotonic() + 5
    asked = None
    while asked is None and time.monotonic() < deadline_s:
        for asked in desk.take():
            assert asked.question == QUESTION
            assert asked.accept()
            asked.answer(answer)
    thread.join()
    desk.close()
    assert found == [answer]
    assert not path.exists()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"no\n",
        b"{}\n",
        b'{"accepted": false}\n',
        ACCEPTED,
        ACCEPTED + b"{}\n",
        ACCEPTED + b"[1]\n",
        ACCEPTED + b'{"texts": [], "status": "0"}\n',
        ACCEPTED + b'{"texts": [[1]], "status": 0}\n',
        ACCEPTED + b'{"texts": [[1, 2]], "status": 0}\n',
        ACCEPTED + b'{"texts": [[1, "half',
    ],
)
def test_anything_else_is_no_answer(path: Path, said: bytes) -> None:
    """An agent that ends, or says what no agent says: the command does its work by itself."""
    thread = serve(path, lambda one: one.sendall(said))
    assert ask(path, QUESTION) is None
    thread.join()


def test_silence_costs_little(path: Path) -> None:
    """Without an agent nothing is waited for, and a silent one is given 0.2 s."""
    begun_s = time.monotonic()
    assert ask(path, QUESTION) is None
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        assert ask(path, QUESTION) is None
    assert time.monotonic() - begun_s < 5 * agent_socket.ACCEPT_TIMEOUT_S


@pytest.mark.parametrize(
    "change",
    [
        {"file": 1},
        {"json": 0},
        {"has_colour": [True]},
        {"has_colour": [1, 0]},
        {"namespaces": [[1]]},
        {"namespaces": 3},
        {"digest": None},
    ],
    ids=str,
)
def test_a_question_of_another_form_is_refused(change: dict[str, object]) -> None:
    """A field of another type, or too few: no question."""
    whole = json.loads(json.dumps(asdict(QUESTION)))
    assert parse_question(json.dumps(whole).encode()) == QUESTION
    with pytest.raises(ValueError, match="no question"):
        parse_question(json.dumps({**whole, **change}).encode())
    with pytest.raises(ValueError, match="no question"):
        parse_question(json.dumps({key: value for key, value in whole.items() if key not in change}).encode())


def test_another_users_agent_is_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end must be a process of the same user, on both sides."""
    serve(path, lambda one: one.sendall(ACCEPTED + b'{"texts": [], "status": 0}\n'))
    assert ask(path, QUESTION) == Answer((), 0)
    path.unlink()
    serve(path, lambda one: one.sendall(ACCEPTED + b'{"texts": [], "status": 0}\n'))
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert ask(path, QUESTION) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"version: 1\nname: shop\nhosts:\n", b"shop"),
        (b'name: "shop"  # ours\n', b"shop"),
        (b"name:   'a-1'\n", b"a-1"),
        (b"containers:\n  name: no\n", None),
        (b"name: ../x\n", None),
        (b"name: [shop]\n", None),
    ],
    ids=("first", "quoted", "single", "deeper", "path", "list"),
)
def test_the_name_is_found_where_it_is_usual(text: bytes, name: bytes | None) -> None:
    """Only a plain name leads to a socket; for another way to write it the command does its work by itself."""
    found = NAME.search(text)
    assert (found and found[1]) == name
