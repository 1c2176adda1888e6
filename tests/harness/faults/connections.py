"""TCP connections that are held open and used all the time, to see whether they live on.

A server in one namespace gives back what it gets; a client in another sends a byte every few milliseconds and counts the
answers.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass

from tests.harness.faults.strike import Counter
from tests.harness.machine import Machine, Running

INTERVAL_S = 0.01
ANSWER_TIMEOUT_S = 3.0
"""Three retransmissions: what is lost for a moment comes again, what is cut off does not."""


def start_server(machine: Machine, netns: str, port: int) -> Running:
    """Serve on all addresses of the namespace."""

    def serve() -> int:
        listener = socket.create_server(("", port))
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()

    running = machine.start(serve, netns)
    while f":{port} " not in machine.run("ss", "-Htln", netns=netns).out:
        time.sleep(0.01)
    return running


def _echo(connection: socket.socket) -> None:
    while data := connection.recv(100):
        connection.sendall(data)


@dataclass(slots=True)
class Connection:
    """One that is open."""

    name: str
    client: Running
    answers: Counter

    @classmethod
    def open(cls, machine: Machine, netns: str, address: str, port: int) -> Connection:
        """Connect, and keep talking."""
        answers = Counter()

        def talk() -> int:
            with socket.create_connection((address, port), ANSWER_TIMEOUT_S) as connection:
                while True:
                    connection.sendall(b"x")
                    if connection.recv(1) != b"x":
                        return 1
                    answers.count()
                    time.sleep(INTERVAL_S)

        connection = cls(f"{netns or 'the host'} to {address}:{port}", machine.start(talk, netns), answers)
        connection.check()
        return connection

    def check(self) -> None:
        """Fail where no further answer comes."""
        wanted = self.answers[0] + 2
        deadline = time.monotonic() + ANSWER_TIMEOUT_S + 1
        while self.answers[0] < wanted:
            assert time.monotonic() < deadline, f"the connection from {self.name} is dead"
            time.sleep(INTERVAL_S)


def start_datagram_server(machine: Machine, netns: str, port: int) -> Running:
    """Give back each datagram, on all IPv4 addresses of the namespace."""

    def serve() -> int:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("", port))
        while True:
            data, sender = server.recvfrom(100)
            server.sendto(data, sender)

    running = machine.start(serve, netns)
    while f":{port} " not in machine.run("ss", "-Hulnp", netns=netns).out:
        time.sleep(0.01)
    return running


@dataclass(slots=True)
class Datagrams:
    """A stream of datagrams, of which none is sent twice: what is lost is counted."""

    name: str
    client: Running
    counts: Counter
    """Sent, and lost."""

    @classmethod
    def start(cls, machine: Machine, netns: str, address: str, port: int) -> Datagrams:
        """Send one every few milliseconds, and wait for its answer."""
        counts = Counter()

        def talk() -> int:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect((address, port))
                client.settimeout(ANSWER_TIMEOUT_S)
                while True:
                    number = counts.count()
                    try:
                        client.send(str(number).encode())
                        while int(client.recv(100)) != number:
                            pass
                    except OSError:  # no answer, or an error message
                        counts.count(1)
                    time.sleep(INTERVAL_S / 4)

        return cls(f"{netns or 'the host'} to {address}:{port}", machine.start(talk, netns), counts)
