"""A guess at which hosts a file names, from its text or its unchecked values. Called by `cli`, to start early.

To start workers and to read hosts takes as long as to check the file, and there are two cores at least: so both are done at
the same time. A wrong guess costs a little time and nothing else, for what was read is used only where the checked file names
the very same hosts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.hosts.target import LAB, Target
from reconciler.state.ref import lab_netns, netns_path_name

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""What may become part of a path before the file is checked."""
ENGINE_KEYS = frozenset(("image", "existing", "runtime"))


def guess_count(path: str) -> int:
    """How many workers on this machine the file will need, by a glance at its text; 0 where a glance would empty a pipe."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).is_file() else ""
    except (OSError, ValueError):
        return 0
    return min(16, max(0, text.count("connect:") - text.count("ssh://")) + ("lab" in text))


def guess_targets(tree: Any) -> tuple[Target, ...]:
    """What `targets_of` will say of the file with these values, for the simplest hosts: a lab without engines. Else empty."""
    match tree:
        case {"name": str(name), "hosts": dict(hosts), "containers": dict(containers)}:
            known = NAME.fullmatch(name) and all(NAME.fullmatch(host) and _is_plain(of) for host, of in hosts.items())
            bare = all(isinstance(of, Mapping) and ENGINE_KEYS.isdisjoint(of) for of in containers.values())
            if hosts and known and bare and not os.environ.get("DOCKER_HOST"):
                lab = Target(LAB, name, f"{name}.lab")
                return (lab, *(_lab_host(name, host, of.get("address", ())) for host, of in hosts.items()))
    return ()


def _is_plain(host: Any) -> bool:
    """Whether it is a lab host of which nothing but its addresses is said."""
    return isinstance(host, Mapping) and host.get("connect") == LAB and host.keys() <= {"connect", "address"}


def _lab_host(topology: str, host: str, address: Any) -> Target:
    netns = netns_path_name(topology, lab_netns(host))
    addresses = (address,) if isinstance(address, str) else tuple(map(str, address)) if isinstance(address, tuple) else ()
    return Target(host, topology, netns, netns, addresses=addresses)
