"""What tests of attacks ask of a machine: where frames arrive (see `wire`), and what a bridge of Open vSwitch has learnt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.harness.machine import Machine

WIRE = Path(__file__).with_name("wire.py")

Places = Mapping[str, tuple[str, str]]
"""Where to listen: by name, a namespace ("" is the machine's own) and a link."""


def attack(
    machine: Machine, frames: Mapping[str, bytes], source: str | int, places: Places, *, link: str = "eth0"
) -> dict[str, set[str]]:
    """By place, the names of the frames that arrive there when `source` sends them by `link`.

    A source is a namespace, or a process: what sends then has the rights of that process and no more.
    """
    send = [(name, frame.hex()) for name, frame in frames.items()]
    job = {"send": send, "source": source, "link": link, "listen": dict(places)}
    done = machine.run("python3", str(WIRE), text=json.dumps(job))
    return {name: set(arrived) for name, arrived in json.loads(done.out).items()}


def mac_of(machine: Machine, netns: str, link: str = "eth0") -> str:
    """The hardware address of a link."""
    return machine.sh(f"ip -br link show dev {link}", netns).split()[2]


def learnt(machine: Machine, bridge: str, folder: str = "/run/openvswitch") -> list[str]:
    """The hardware addresses that the bridge has learnt; `folder` is where its Open vSwitch has its sockets."""
    return machine.sh(f"ovs-appctl -t {folder}/ovs-vswitchd.1.ctl fdb/show {bridge}").splitlines()[1:]
