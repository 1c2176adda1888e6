"""A reading with a memory of the last one is the same as one without, whatever happened in between."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from reconciler.kernel.snapshot import Interest
from reconciler.kinds import recognise_all
from reconciler.state.snapshot import LinkInfo, Snapshot
from reconciler.worker.machine import KernelMachine, open_machine
from reconciler.worker.protocol import Hello
from tests.harness.faults.damages import find_damages
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, write

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

ELEMENT = "element inet netctl-here published4 { tcp . 8080"
FIRST = (
    "sysctl -qw net.ipv4.conf.b-here-front.log_martians=1",
    f"nft 'delete {ELEMENT} }}; add {ELEMENT} : 10.44.0.10 . 81 }}'",
)
"""What shows only in the array of a link's settings; and an element that replaces another, so that their number stays."""
INTEREST = Interest(sysctls={"": ("net.ipv4.ip_forward",)})


def open_host(*, stays: bool) -> KernelMachine:
    """The host of the topology, as a worker of an agent or of a command has it."""
    return open_machine(
        Hello(
            topology="here",
            host_key="local",
            netns="",
            engines={},
            openvswitch="",
            uplink="",
            addresses=(),
            peers=(),
            parent=0,
            command="test",
            run="",
            patience_s=60,
            stays=stays,
        )
    )


def all_of(snapshot: Snapshot) -> tuple[Snapshot, dict[tuple[str, int], bytes]]:
    """A reading, and what the comparison of links leaves out; without what differs from second to second."""
    links = ((netns, index, link) for netns, info in snapshot.namespaces.items() for index, link in info.links.items())
    settings = {(netns, index): link.settings for netns, index, link in links}
    spaces = {
        netns: replace(info, links={index: _steady(link) for index, link in info.links.items()})
        for netns, info in snapshot.namespaces.items()
    }
    return replace(snapshot, namespaces=spaces), settings


def _steady(link: LinkInfo) -> LinkInfo:
    return replace(link, operational=True)


def test_each_damage_is_read(furnished: Machine) -> None:
    """One damage of each form after the other: both readings are equal, and a second one without a change is the same object."""
    file = write(furnished, LOCAL)
    assert furnished.netctl("apply", "--quiet", file).status == 0
    forms = {damage.form: damage.command for damage in find_damages(furnished, "here")}
    damages = ["true", *FIRST, *forms.values()]
    assert len(damages) > 40

    def body() -> int:
        remembering, reused = open_host(stays=True), 0
        for damage in damages:
            subprocess.run(["sh", "-c", damage], check=damage in FIRST, capture_output=True)
            remembering.rest()
            # The kernel may not be done yet with what follows from the damage.
            for _ in range(20):
                found, plain = remembering.read(INTEREST), open_host(stays=False).read(INTEREST)
                if all_of(found) == all_of(plain):
                    break
            assert all_of(found) == all_of(plain), damage
            assert recognise_all(found) == recognise_all(plain), damage
            reused += remembering.read(INTEREST) is found
        print(reused)
        return 0

    done = furnished.start(body).wait(240)
    assert done.status == 0, done.err
    assert int(done.out) > len(damages) * 0.8, "unchanged readings are not reused"
