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
# The engines may be restarting containers: the agent connects each one when it starts.
After=network-pre.target local-fs.target
Wants=network-pre.target

[Service]
Type=notify
ExecStart={command} agent {file}
ExecReload=kill -HUP $MAINPID
Restart=always
RestartSec=1
WatchdogSec=120
TimeoutStartSec=infinity
TimeoutStopSec=10
# Commands of containers, DHCP clients and name servers outlive the agent.
KillMode=process
# What the agent mounts under /run/netns must be seen by all programs: no ProtectSystem=, PrivateTmp= or the like,
# which give it a mount namespace of its own. Commands of containers inherit limits and filters, so there are no others.
LockPersonality=yes

[Install]
WantedBy=multi-user.target
"""


def render_unit(file: str = "") -> str:
    """The unit, with the command as it was started now. UsageError if a path has a control character."""
    program = os.path.abspath(sys.argv[0]) if sys.argv and sys.argv[0] else "/usr/bin/netctl"  # noqa: PTH100
    words = (sys.executable, "-m", "reconciler") if program.endswith("__main__.py") else (program,)
    path = os.path.abspath(file) if file else FILE  # noqa: PTH100
    return UNIT.format(name=_escape(path), file=quote_word(path), command=" ".join(map(quote_word, words)))


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
