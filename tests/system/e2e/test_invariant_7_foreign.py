"""Invariant 7: foreign things survive: others' tables, links, addresses, routes, rules, namespaces and processes."""

from __future__ import annotations

import signal

import pytest

from reconciler.state.naming import group_of
from tests.harness.faults.connections import Connection, start_server
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import Snapshot, differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, LOCAL_CHANGED, write

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(7)]


def lost(before: Snapshot, after: Snapshot) -> set[str]:
    """What was there and is not any more; settings, which netctl may change and restores, left out."""
    return {line for line in before - after if ": sysctl " not in line}


def test_invariant_7_others_things_survive(furnished: Machine) -> None:
    """Apply, change, repair and destroy leave all of others' as it is; a connection between others lives on.

    Among it are routes with our protocol number, links with our group or alias, and tables and namespaces with names like ours.
    """
    group = group_of("here")
    furnished.sh(
        f"""
        ip link add name theirs2 type bridge; ip link set theirs2 group {group} alias netctl:other/bridge/front
        ip link add name theirs3 type bridge; ip link set theirs3 alias netctl:here/bridge/gone
        nft add table inet netctl-here2; nft add table bridge netctl-other; nft add table ip netctl-here
        ip netns add here2.web; ip netns add herex
        mkdir -p /run/netctl/other; echo x > /run/netctl/other/web.log
        """
    )
    sleeper = furnished.start_command("sleep", "4000")
    start_server(furnished, "world", 7)
    connection = Connection.open(furnished, "", "192.0.2.1", 7)
    before = read_live(furnished)
    file = write(furnished, LOCAL)
    for text in (LOCAL, LOCAL_CHANGED, LOCAL):
        file.write_text(text)
        done, _ = quick_netctl(furnished, "apply", file)
        assert done.status == 0, done.err
        assert lost(before, read_live(furnished)) == set()
        furnished.sh("nft delete table inet netctl-here")
    assert furnished.netctl("apply", file).status == 0
    assert lost(before, read_live(furnished)) == set()
    connection.check()
    assert furnished.netctl("destroy", file).status == 0
    assert differences(before, read_live(furnished)) == ""
    connection.check()
    sleeper.kill(signal.SIGTERM)


CLASHES = {
    "a link": ("ip link add name b-here-front type bridge", "b-here-front"),
    "a link of another topology's": (
        "ip link add name b-here-front type bridge; ip link set b-here-front alias netctl:other/bridge/front",
        "b-here-front",
    ),
    "an address": ("ip address add 10.44.0.99/24 dev theirs", "10.44.0.0/24"),
    "a route": ("ip route add 10.45.0.0/25 via 192.0.2.1", "10.45.0.0/"),
    "a listener": ("python3 -m http.server 8080 >/dev/null 2>&1 & until ss -Htln | grep -q :8080; do sleep 0.02; done", "8080"),
}


@pytest.mark.parametrize("clash", CLASHES)
def test_invariant_7_a_clash_is_refused(furnished: Machine, clash: str) -> None:
    """What conflicts is named before anything is touched: status 3, and the machine is as it was."""
    script, named = CLASHES[clash]
    furnished.run("sh", "-euc", script)
    before = read_live(furnished)
    file = write(furnished, LOCAL)
    for command in ("apply", "diff"):
        done, _ = quick_netctl(furnished, command, file)
        assert done.status == 3, done.out + done.err
        assert named in done.err
        assert "topology.yaml:" in done.err
    assert differences(before, read_live(furnished)) == ""
