"""Destinations of a host and sockets of its engines, in the form of a topology file.

`fields` makes pydantic field types of the `parse_` functions, as of those of `scalars`.
"""

from __future__ import annotations

import re
from typing import Any

from reconciler.state.uapi import PORT_MAX
from reconciler.topology.addresses import parse_address
from reconciler.topology.scalars import advise, expect_text, refuse, shorten
from reconciler.topology.types import Connect

_CONNECT_HELP = "write `local` (this machine), `lab` (a namespace on it) or `ssh://[user@]name[:port]`"


def parse_connect(value: Any) -> Connect:
    """`local`, `lab`, or `ssh://[user@]name[:port]`."""
    text = expect_text(value, "local, lab or ssh://[user@]name[:port]", _CONNECT_HELP)
    if text in ("local", "lab"):
        return Connect(scheme="local" if text == "local" else "lab")
    match = re.fullmatch(
        r"ssh://(?:([A-Za-z0-9_][A-Za-z0-9_.-]*)@)?([A-Za-z0-9][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?", text
    )
    if not match:
        local = text.lower() in ("localhost", "127.0.0.1", "::1", "here", "host", "this")
        fixed = "local" if local else f"ssh://{text.partition('://')[2] or text}" if re.search("[@.]|ssh:", text) else ""
        raise refuse(f"is not a destination of a host: `{shorten(text)}`", advise(text, fixed, parse_connect, _CONNECT_HELP))
    user, name, port = match.groups()
    if port is not None and not 1 <= int(port) <= PORT_MAX:
        raise refuse(f"has a port that does not exist: {port}", f"a port is 1 to {PORT_MAX}")
    if name.startswith("["):
        name = str(parse_address(name[1:-1]))
    return Connect(scheme="ssh", user=user or "", name=name, port=int(port) if port else None)


def parse_engine(value: Any) -> str:
    """The engine's socket: on the host itself, because netctl enters its containers' namespaces."""
    example = "write unix:///var/run/docker.sock: netctl enters the namespaces of the engine's containers"
    text = expect_text(value, "a socket on the host", example)
    if not re.fullmatch(r"unix:///[^\s\0]+", text):
        fixed = f"unix://{text.removeprefix('unix:').removeprefix('//')}"
        raise refuse(f"must be a Unix socket on the host: `{shorten(text)}`", advise(text, fixed, parse_engine, example))
    return text


def parse_lxc_path(value: Any) -> str:
    """The directory of LXC's containers."""
    text = expect_text(value, "a directory", "write /var/lib/lxc")
    if not re.fullmatch(r"/[^\s\0:]*", text):
        raise refuse(f"must be a directory, by its whole path: `{shorten(text)}`", "write /var/lib/lxc")
    return text.rstrip("/") or "/"
