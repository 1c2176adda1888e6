"""Offloads of links, by the ioctl of ethtool(8) (linux/ethtool.h).

The ioctl acts in the namespace of its socket, so all of it runs in a thread that has entered it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Sequence
from functools import partial

from reconciler.kernel.namespaces import Namespaces
from reconciler.state.snapshot import OffloadInfo
from reconciler.state.steps.links import OffloadSet
from reconciler.state.steps.step import Step, StepError

SIOCETHTOOL = 0x8946  # linux/sockios.h
COMMANDS = {"tx": (0x16, 0x17), "gro": (0x2B, 0x2C)}
"""ETHTOOL_GTXCSUM and STXCSUM, GGRO and SGRO. `tx` also switches what depends on it: segmentation."""
_VALUE = struct.Struct("=II")
_IFREQ = struct.Struct("16sP16x")


def read_offloads(namespaces: Namespaces, netns: str, wanted: Iterable[tuple[str, str]]) -> tuple[OffloadInfo, ...]:
    """Whether each of the requested offloads, a link and a feature, is on; a missing link is left out."""
    pairs = tuple(wanted)
    values = namespaces.run(netns, lambda: [_get(dev, feature) for dev, feature in pairs])
    found = zip(pairs, values, strict=True)
    return tuple(OffloadInfo(netns, dev, feature, bool(value)) for (dev, feature), value in found if value is not None)


def run_offload_steps(namespaces: Namespaces, steps: Sequence[Step]) -> None:
    """Switch offloads. StepError if the link does not exist, or does not support it."""
    for step in steps:
        if isinstance(step, OffloadSet):
            try:
                namespaces.run(step.netns, partial(switch_offload, step.dev, step.feature, on=step.on))
            except OSError as error:
                raise StepError(step, f"cannot switch {step.feature} of {step.dev}: {error.strerror}") from error


def switch_offload(dev: str, feature: str, *, on: bool) -> None:
    """Switch it, in the calling thread's namespace. OSError if the link does not exist, or does not support it."""
    _call(dev, COMMANDS[feature][1], int(on))


def _get(dev: str, feature: str) -> int | None:
    try:
        return _call(dev, COMMANDS[feature][0], 0)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def _call(dev: str, command: int, value: int) -> int:
    """One ETHTOOL command with one number (struct ethtool_value)."""
    buffer = ctypes.create_string_buffer(_VALUE.pack(command, value), _VALUE.size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        fcntl.ioctl(channel, SIOCETHTOOL, _IFREQ.pack(dev.encode(), ctypes.addressof(buffer)))
    number: int = _VALUE.unpack(buffer.raw)[1]
    return number
