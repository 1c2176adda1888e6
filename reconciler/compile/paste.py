"""Commands in help texts that a user can paste: those for a lab host run in its namespace, by `netctl exec`."""

from __future__ import annotations

import re
import shlex

from reconciler.topology import DEFAULT_FILE
from reconciler.topology.types import Topology

_TOOLS = r"(?:ip (?!netns)|nft |ss |sysctl |ufw |bridge |ip6?tables(?:-legacy)? )"
_COMMAND = re.compile(rf"(?:^|(?<=: )|(?<=; )|(?<=\())(?={_TOOLS}\S)")
"""The position where a command of the network namespace starts in a sentence.

`ip netns`, `docker` and others act on the machine.
"""


def pasted(topology: Topology, host: str, help_text: str) -> str:
    """The help text with commands that act on the host, wherever it is pasted."""
    if topology.hosts[host].connect.scheme != "lab":
        return help_text
    file = f" --file {shlex.quote(topology.path)}" if topology.path not in ("", DEFAULT_FILE) else ""
    return _COMMAND.sub(f"netctl exec --host {host}{file} -- ", help_text)
