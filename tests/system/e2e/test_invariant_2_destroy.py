"""Invariant 2: destroy leaves nothing: links, routes, rules, tables, namespaces, processes, files; settings as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.faults.strike import Fault, quick_netctl
from tests.harness.live import Snapshot, differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import LAB, LOCAL, LOCAL_CHANGED, write

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(2)]

OTHER = LOCAL.replace("name: here", "name: there").replace("10.44.", "10.54.").replace("10.45.", "10.55.").replace("fd44", "fd54")
SETTINGS = "sysctl -a 2>/dev/null | grep -v -e nf_conntrack_count -e stable_secret -e '^fs\\.' -e '^kernel\\.' -e '^vm\\.'"


def look(machine: Machine) -> Snapshot:
    """The usual snapshot, and every setting of the network there is."""
    return read_live(machine) | {f"setting {line}" for line in machine.sh(SETTINGS).splitlines()}


@pytest.mark.parametrize("text", [LOCAL, LAB], ids=["local", "lab"])
def test_invariant_2_destroy_leaves_nothing(furnished: Machine, text: str) -> None:
    """After apply, change and destroy the machine is as it was, with the file and by name; a second destroy finds nothing."""
    before = look(furnished)
    file = write(furnished, text)
    for arguments in ((file,), ("--name", text.split()[3])):
        assert furnished.netctl("apply", file).status == 0
        assert differences(before, look(furnished)) != ""
        done = furnished.netctl("destroy", *arguments)
        assert done.status == 0, done.err
        assert differences(before, look(furnished)) == ""
        again = furnished.netctl("destroy", *arguments)
        assert (again.status, again.out) == (0, f"There is nothing of {text.split()[3]}.\n")
        assert differences(before, look(furnished)) == ""


def test_invariant_2_after_half_an_apply(furnished: Machine) -> None:
    """What one host of two, a worker that died, or an apply that went back has left, destroy removes, the logs included."""
    before = look(furnished)
    file = write(furnished, LAB)
    assert furnished.netctl("apply", "--host", "beta", file).status == 0
    assert furnished.netctl("destroy", file).status == 0
    assert differences(before, look(furnished)) == ""
    assert quick_netctl(furnished, "apply", file, fault=Fault("fail", 60))[0].status == 4
    assert quick_netctl(furnished, "apply", file, fault=Fault("fail-twice", 60))[0].status == 5
    assert furnished.netctl("destroy", file).status == 0
    assert differences(before, look(furnished)) == ""


def test_invariant_2_settings_come_back(furnished: Machine) -> None:
    """Settings that were not the kernel's own choice come back as they were; those that were right already are not changed."""
    settings = "net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=0 net.ipv6.conf.eth0.accept_ra=1 net.ipv4.conf.all.rp_filter=1"
    furnished.run("sysctl", "-qw", *settings.split())
    before = look(furnished)
    file = write(furnished, LOCAL)
    assert furnished.netctl("apply", file).status == 0
    live = furnished.run(
        "sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv6.conf.eth0.accept_ra"
    ).out
    assert live.split() == ["1", "1", "2"]
    file.write_text(LOCAL_CHANGED)
    assert furnished.netctl("apply", file).status == 0
    assert furnished.netctl("destroy", file).status == 0
    assert differences(before, look(furnished)) == ""


def test_invariant_2_two_topologies_share_a_host(furnished: Machine) -> None:
    """The first that goes takes only what is its own; the settings are restored with the last."""
    before = look(furnished)
    here, there = write(furnished, LOCAL, "here.yaml"), write(furnished, OTHER.replace("8080", "9080"), "there.yaml")
    assert furnished.netctl("apply", there).status == 0
    only = look(furnished)
    assert furnished.netctl("apply", here).status == 0
    users = furnished.sh("awk '!/^#/ { print $2 }' /run/netctl/local/sysctl").split()
    topologies = [user for user in users if "." not in user]  # a setting of every link notes those of single links as its own
    assert topologies
    assert topologies.count("here") == topologies.count("there") == len(topologies) / 2
    assert furnished.netctl("diff", there).status == 0
    assert furnished.netctl("destroy", here).status == 0
    assert differences(only, look(furnished)) == ""
    assert furnished.netctl("diff", there).status == 0
    assert furnished.netctl("destroy", there).status == 0
    assert differences(before, look(furnished)) == ""


def test_invariant_2_without_a_file(machine: Machine, tmp_path: Path) -> None:
    """Where nothing ever was, destroy by name says so and leaves no trace of itself."""
    before = look(machine)
    done = machine.netctl("destroy", "--name", "nobody")
    assert (done.status, done.out) == (0, "There is nothing of nobody.\n")
    assert differences(before, look(machine)) == ""
