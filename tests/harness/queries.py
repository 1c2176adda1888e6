"""Queries for names from inside a namespace, by dnspython."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.query
import dns.rcode

from reconciler.kernel.namespaces import enter, run_in_thread

TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of an answer, or "timeout" and such; what it holds, sorted; and whether it was cut off."""

    status: str
    values: tuple[str, ...] = ()
    is_cut: bool = False


def ask(netns: str, server: str, name: str, kind: str = "A", *, tcp: bool = False, port: int = 53) -> Answer:
    """What the server answers to a query from the namespace of that name under /run/netns."""

    def body() -> Answer:
        enter(f"/run/netns/{netns}")
        return _ask(dns.query.tcp if tcp else dns.query.udp, server, name, kind, port)

    return run_in_thread(body)


def ask_both(netns: str, server: str, name: str, kind: str = "A") -> Answer:
    """The answer by UDP, which is the same by TCP."""
    udp, tcp = ask(netns, server, name, kind), ask(netns, server, name, kind, tcp=True)
    assert udp == tcp, (udp, tcp)
    return udp


def count_lost(netns: str, server: str, name: str, number: int, pause_s: float) -> Callable[[], int]:
    """Begin to send queries; the result waits for the last, and returns how many had no answer."""
    lost: list[int] = []

    def body() -> None:
        def inside() -> None:
            enter(f"/run/netns/{netns}")
            due = time.monotonic()
            for _ in range(number):
                if not _ask(dns.query.udp, server, name, "A", 53).values:
                    lost.append(1)
                due += pause_s
                time.sleep(max(0.0, due - time.monotonic()))

        run_in_thread(inside)

    thread = threading.Thread(target=body)
    thread.start()

    def result() -> int:
        thread.join()
        return len(lost)

    return result


def _ask(send: Callable[..., dns.message.Message], server: str, name: str, kind: str, port: int) -> Answer:
    try:
        answer = send(dns.message.make_query(name, kind), server, timeout=TIMEOUT_S, port=port)
    except dns.exception.Timeout:
        return Answer("timeout")
    except (OSError, EOFError) as error:
        return Answer(type(error).__name__)
    values = sorted(str(value) for found in answer.answer for value in found)
    return Answer(dns.rcode.to_text(answer.rcode()), tuple(values), bool(answer.flags & 0x200))
