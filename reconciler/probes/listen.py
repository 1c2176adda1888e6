"""The servers of verification: short-lived listeners in the namespaces of published ports and of policies' targets.

Each answers with its token, so that a client can identify it. If a foreign server already listens, it is left alone,
and probes use it. One thread serves all, started and stopped by `probes.run`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable

from reconciler.probes.model import Listener, Opened

IPPROTO_SCTP = 132
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
ANY = {4: "0.0.0.0", 6: "::"}
PACKET_INFO = {4: (socket.IPPROTO_IP, 8), 6: (socket.IPPROTO_IPV6, 50)}
"""IP_PKTINFO, which Python 3.11 does not name, and IPV6_PKTINFO: the local address of a datagram (ip(7), ipv6(7))."""


def open_socket(protocol: str, family: int) -> socket.socket:
    """A non-blocking socket of the protocol in the calling thread's namespace. OSError if the kernel lacks it."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    number = IPPROTO_SCTP if protocol == "sctp" else 0
    return socket.socket(FAMILIES[family], kind | socket.SOCK_NONBLOCK, number)


class Listeners:
    """Listening sockets in many namespaces, and the thread that serves them."""

    def __init__(self) -> None:
        """Nothing is open yet."""
        self._selector = selectors.DefaultSelector()
        self._stop, self._wake = os.pipe()
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="listeners", daemon=True)

    def open(self, listeners: Iterable[Listener], enter: Callable[[str], None]) -> Opened:
        """Open all in the calling thread, which `enter` moves from namespace to namespace; then begin to serve."""
        taken, failed = [], []
        for listener in listeners:
            try:
                enter(listener.netns)
                self._listen(listener)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    taken.append(listener)
                else:
                    failed.append((listener, error.strerror or str(error)))
        self._thread.start()
        return Opened(tuple(taken), tuple(failed))

    def _listen(self, listener: Listener) -> None:
        server = open_socket(listener.protocol, listener.family)
        try:
            if listener.family == 6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if listener.protocol == "udp":
                level, _ = PACKET_INFO[listener.family]
                server.setsockopt(level, socket.IPV6_RECVPKTINFO if listener.family == 6 else 8, 1)
            else:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((ANY[listener.family], listener.port))
            if listener.protocol != "udp":
                server.listen(128)
        except OSError:
            server.close()
            raise
        self._selector.register(server, selectors.EVENT_READ, listener)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._stop:
                    return
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(OSError):  # a client that has disconnected is no error here
                    answer = answer_datagram if key.data.protocol == "udp" else answer_connection
                    answer(key.fileobj, key.data)

    def close(self) -> None:
        """Stop serving and close every socket."""
        os.write(self._wake, b"x")
        if self._thread.ident:
            self._thread.join()
        for key in tuple(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._stop)
        os.close(self._wake)


def answer_connection(server: socket.socket, listener: Listener) -> None:
    """Send the token and close the connection."""
    client, _ = server.accept()
    with client:
        client.send(listener.token.encode())


def answer_datagram(server: socket.socket, listener: Listener) -> None:
    """Answer from the requested address: a container with several would otherwise answer from another one."""
    _, ancillary, _, client = server.recvmsg(2048, 256)
    answers = []
    for level, kind, data in ancillary:
        if (level, kind) == PACKET_INFO[4]:
            answers.append((level, kind, struct.pack("@i4s4s", 0, data[8:12], b"\0" * 4)))
        elif (level, kind) == PACKET_INFO[6]:
            answers.append((level, kind, data[:16] + struct.pack("@I", 0)))
    server.sendmsg([listener.token.encode()], answers, 0, client)
