"""The unit of systemd for an agent: text to print, nothing is installed."""

from __future__ import annotations

import os
import re
import sys

from reconciler.errors import UsageError

FILE = "/etc/netctl/topology.yaml"

UNIT = """\
[Unit]
Description=netctl agent: keeps container networks as {name} says
Documentation=man:systemd.service(5)
After=network-pre.target local-fs.target
{engines}
# These start containers: bridges and firewall are there before, and each container is connected when it starts.
Before=podman-restart.service lxc.service
Wants=network-pre.target
# A file with an error is read again and again, until it has none.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command} agent {file}
ExecReload=kill -HUP $MAINPID
Restart=always
RestartSec=2
WatchdogSec=120
# If not all is in step by then, the units that wait for this one go on, and the agent starts again.
TimeoutStartSec=120
TimeoutStopSec=10
# Commands of containers, DHCP clients and name servers outlive the agent.
KillMode=process
# They count for the unit: their number has no limit here, and one that is out of memory must not end the agent.
TasksMax=infinity
OOMPolicy=continue
# What the agent mounts under /run/netns must be seen by all programs: no ProtectSystem=, PrivateTmp= or the like,
# which give it a mount namespace of its own. Commands and LXC's containers inherit capabilities, limits and filters:
# no NoNewPrivileges= and no filters of system calls; LXC calls personality(2) for a container of another architecture.
CapabilityBoundingSet=~{dropped}

[Install]
WantedBy=multi-user.target
"""


ENGINES = """\
# dockerd restarts containers by itself, before it answers: the agent connects them then. Podman answers by its socket.
After=docker.service podman.socket"""
ENGINES_WITH_HOOK = """\
# dockerd is up only when its containers have started, and these wait for the agent: so it must not wait for dockerd.
After=podman.socket"""

DROPPED = ("CAP_SYS_RAWIO", "CAP_MAC_OVERRIDE", "CAP_SYS_PACCT", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND")
"""Capabilities that neither the agent nor a network service of a container needs (capabilities(7))."""


def render_unit(file: str = "", *, has_hook: bool = False) -> str:
    """The unit, with the command as it was started now. UsageError if a path has a control character.

    With the hook, containers of Docker wait for the agent (`netctl hook`).
    """
    program = os.path.abspath(sys.argv[0]) if sys.argv and sys.argv[0] else "/usr/bin/netctl"  # noqa: PTH100
    words = (sys.executable, "-m", "reconciler") if program.endswith("__main__.py") else (program,)
    path = os.path.abspath(file) if file else FILE  # noqa: PTH100
    return UNIT.format(
        name=_escape(path),
        engines=ENGINES_WITH_HOOK if has_hook else ENGINES,
        file=quote_word(path),
        command=" ".join(map(quote_word, words)),
        dropped=" ".join(DROPPED),
    )


def quote_word(word: str) -> str:
    """One word of a command line (systemd.service(5), "Command lines"). UsageError if it has a control character."""
    text = _escape(word).replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_./:@+,=-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escape(text: str) -> str:
    """Without specifiers (systemd.unit(5)): a percent sign is written twice."""
    if not text.isprintable():
        raise UsageError(f"cannot name {text!r} in a unit: it has a control character", "rename the file")
    return text.replace("%", "%%")
