"""A source of events, as the loop of `events.hints` sees it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol


class Cause(StrEnum):
    """What a hint came from; the value is for people."""

    KERNEL = "netlink"
    FIREWALL = "nftables"
    SETTING = "sysctl"
    SWITCH = "switch"
    NAMESPACE = "namespace"
    HOSTS = "hosts file"
    ENGINE = "engine"
    START = "start of a container"
    COMMAND = "command"
    FILE = "file"
    CONTROL = "control"
    QUESTION = "question"


class Source(Protocol):
    """Something that is readable when there is an event."""

    cause: Cause

    def fileno(self) -> int:
        """The descriptor to wait for."""

    def drain(self) -> bool:
        """Take all events, without waiting; whether one of them is a hint. SourceEndedError if there will be no more."""

    def close(self) -> None:
        """Release the descriptor."""


Opener = Callable[[], Source]
"""Opens a source; OSError or HostError if that is not possible now."""


class SourceEndedError(Exception):
    """The source gives no more events: the connection has ended. It must be opened again."""
