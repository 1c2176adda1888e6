"""Files that an ssh host, or this machine next to one, keeps for the next netctl: one set per topology, next to the lock.

    <topology>.peers        the other hosts of the topology and their destinations, to find one that is removed from the file
    <topology>.engines      the sockets of the engines with its containers, if not the default ones, for destroy --name
    <topology>.openvswitch  the socket of the Open vSwitch database with its bridges, for the same
    <topology>.confirmed    the apply that was confirmed over a new connection; it exists only between that and its commit
    <topology>.log          the actions of a worker after it lost its controller

`destroy` deletes all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from reconciler.errors import HostError, help_for
from reconciler.kernel.context import KernelContext
from reconciler.kernel.run_directory.private import make_directory, open_private, write_private
from reconciler.state.jsontext import parse_json
from reconciler.state.visible import visible

NOTE_MAX_BYTES = 1 << 20
"""A longer file is not netctl's."""


def read_peers(context: KernelContext) -> dict[str, str]:
    """The destination of each host of the topology, by its name; empty without a file, or if it is malformed."""
    try:
        peers = parse_json(_path(context, "peers").read_bytes(), NOTE_MAX_BYTES)
    except (FileNotFoundError, ValueError):
        return {}
    return {str(host): str(connect) for host, connect in peers.items()} if isinstance(peers, dict) else {}


def write_peers(context: KernelContext, peers: Mapping[str, str]) -> None:
    """Store these in place of all others; without any, delete the file."""
    if peers:
        _replace(_path(context, "peers"), json.dumps(dict(peers), indent=1) + "\n")
    else:
        _path(context, "peers").unlink(missing_ok=True)


def read_engines(context: KernelContext) -> dict[str, str]:
    """The sockets of engines that may hold containers of the topology, by runtime, without default ones."""
    try:
        engines = parse_json(_path(context, "engines").read_bytes(), NOTE_MAX_BYTES)
    except (FileNotFoundError, ValueError):
        return {}
    return {str(runtime): str(url) for runtime, url in engines.items()} if isinstance(engines, dict) else {}


def write_engines(context: KernelContext) -> None:
    """Store the engines' sockets, before containers are created there."""
    if context.engines and read_engines(context) != dict(context.engines):
        _replace(_path(context, "engines"), json.dumps(dict(context.engines)) + "\n")


def remove_engines(context: KernelContext) -> None:
    """Delete the engines' sockets: the engines hold nothing of the topology on this host any more."""
    _path(context, "engines").unlink(missing_ok=True)


def read_openvswitch(context: KernelContext) -> str:
    """The socket of the Open vSwitch database that may have bridges of the topology; "" if none has."""
    try:
        return _path(context, "openvswitch").read_text().strip()
    except FileNotFoundError:
        return ""


def write_openvswitch(context: KernelContext) -> None:
    """Store the database's socket, before anything is written there."""
    if read_openvswitch(context) != context.openvswitch:
        _replace(_path(context, "openvswitch"), context.openvswitch + "\n")


def remove_openvswitch(context: KernelContext) -> None:
    """Delete the note: the database has nothing of the topology any more."""
    _path(context, "openvswitch").unlink(missing_ok=True)


def confirm(context: KernelContext, token: str) -> None:
    """Note that the host was reached by a new connection during the apply of the token."""
    _replace(_path(context, "confirmed"), token)


def is_confirmed(context: KernelContext, token: str) -> bool:
    """Whether `confirm` has noted it."""
    try:
        return _path(context, "confirmed").read_text() == token
    except FileNotFoundError:
        return False


def write_log(context: KernelContext, line: str) -> None:
    """Add a line to the log, with the time."""
    path = _path(context, "log")
    make_directory(path.parent)
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {visible(line)}\n")


def remove_transient(context: KernelContext, *, keep_log: bool = False) -> None:
    """Delete files that a finished apply does not need: all but the peers, and but the log if it is of this apply."""
    for kind in ("confirmed",) if keep_log else ("confirmed", "log"):
        _path(context, kind).unlink(missing_ok=True)


def remove_all(context: KernelContext) -> None:
    """Delete every file of the topology that has no other end, and the host's directory if it is empty."""
    remove_transient(context)
    _path(context, "peers").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        context.host_directory.rmdir()


def _path(context: KernelContext, kind: str) -> Path:
    return context.host_directory / f"{context.topology}.{kind}"


def _replace(path: Path, text: str) -> None:
    """Write it as a whole."""
    try:
        write_private(path, text)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}", help_for(error)) from error
