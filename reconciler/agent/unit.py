"""The unit of systemd for an agent: text to print, nothing is installed."""

from __future__ import annotations

import os
import sys

FILE = "/etc/netctl/topology.yaml"

UNIT = """\
[Unit]
Description=netctl agent: keeps container networks as {file} says
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
    """The unit, with the command as it was started now."""
    program = os.path.abspath(sys.argv[0]) if sys.argv and sys.argv[0] else "/usr/bin/netctl"  # noqa: PTH100
    command = f"{sys.executable} -m reconciler" if program.endswith("__main__.py") else program
    return UNIT.format(file=os.path.abspath(file) if file else FILE, command=command)  # noqa: PTH100
