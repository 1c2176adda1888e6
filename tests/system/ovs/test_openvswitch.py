"""Subnets on Open vSwitch: the same promises as on a Linux bridge, on a real ovs-vswitchd in user space."""

from __future__ import annotations

import json
import signal

import pytest

from reconciler.state.naming import interface_name
from tests.harness.live import differences, read_live
from tests.harness.packets.frames import Node, bad_frames, good_frames
from tests.harness.worlds.openvswitch import SPEAKER, SWITCH, SwitchWorld
from tests.system.ovs.conftest import TOPOLOGY

pytestmark = pytest.mark.kernel

PORT = interface_name("v-", "here", "web", "front")
LINUX = TOPOLOGY.replace(", bridge: openvswitch", "")


def judge(world: SwitchWorld, sender: str, receiver: str) -> tuple[set[str], set[str], set[str]]:
    """Which of the good and of the bad frames of web arrive at app; and the names of all good ones."""
    macs = {name: world.sh("ip -br link show dev eth0", f"here.{name}").split()[2] for name in (sender, receiver)}
    own = Node(macs["web"], "10.44.0.10", "fd44::10")
    other = Node(macs["app"], "10.44.0.20", "fd44::20")
    good, bad = good_frames(own, other), bad_frames(own, other)
    honest = {"honest": good["arp request"]}
    frames = {name: frame.hex() for name, frame in {**good, **bad, **honest}.items()}
    text = json.dumps(frames)
    command = ("python3", str(SPEAKER), "judge", f"here.{sender}", f"here.{receiver}")
    passed = set(json.loads(world.machine.run(*command, text=text).out))
    return passed & set(good), passed & set(bad), set(good)


@pytest.mark.invariant(1)
def test_it_works_as_on_a_linux_bridge(world: SwitchWorld) -> None:
    """Levels 1 to 3a, isolation and published ports, with packets that are large enough to show open checksums and MTUs."""
    again = world.netctl("apply")
    assert "Nothing to do" in again.out
    assert world.netctl("verify").status == 0
    assert world.transfer("here.app", "here.web", "10.44.0.20", 7000) == 1 << 20
    assert world.transfer("here.app", "here.web", "fd44::20", 7001) == 1 << 20
    assert world.transfer("outside", "here.web", "192.0.2.1", 7002) == 1 << 20  # leaves masqueraded
    assert world.transfer("here.web", "outside", "192.0.2.11", 8080, served=80) == 1 << 20  # published
    assert world.transfer("here.web", "here.web", "192.0.2.11", 8080, served=80) == 1 << 20  # by itself
    assert world.transfer("here.web", "here.app", "10.44.0.1", 8080, served=80) == 1 << 20
    assert world.transfer("", "here.web", "10.44.0.1", 7003) == 1 << 20  # the host
    assert world.transfer("here.web", "", "10.44.0.10", 7004) == 1 << 20
    assert world.transfer("here.db", "here.web", "10.45.0.20", 5432) == 1 << 20  # a policy
    assert not world.passes("here.db", "ping -c1 -W1 192.0.2.1")
    assert not world.passes("here.db", "ping -c1 -W1 10.44.0.10")
    assert not world.passes("outside", "ip route replace 10.44.0.0/24 via 192.0.2.11; ping -c1 -W1 10.44.0.10")
    assert world.passes("here.app", "ping -c1 -W1 -M do -s 1372 10.45.0.20")
    assert not world.passes("here.app", "ping -c1 -W1 -M do -s 1373 10.45.0.20")


def test_a_container_sends_only_as_itself(world: SwitchWorld) -> None:
    """What is forged does not arrive, all that is honest does."""
    good, bad, all_good = judge(world, "web", "app")
    assert good == all_good
    assert bad == set()


def test_there_is_no_way_past_the_bridge(world: SwitchWorld) -> None:
    """The host sees what ovs-vswitchd reads: it takes no packet for the port's own MAC, and answers ARP with the bridge's."""
    near = world.sh(f"ip -br link show dev {PORT}").split()[2]
    bridge = world.sh("ip -br link show dev b-here-front").split()[2]
    assert not world.passes("here.web", f"ip neighbor replace 10.44.0.1 lladdr {near} dev eth0; ping -c1 -W1 10.44.0.1")
    echoes = "awk '/^Icmp:/ {print $10}' /proc/net/snmp | tail -1"  # InEchos
    before = world.sh(echoes, "outside")
    world.sh("ip address add 198.51.100.7/32 dev eth0; ping -c1 -W1 -I 198.51.100.7 192.0.2.1 || true", "here.web")
    world.sh("ip address delete 198.51.100.7/32 dev eth0", "here.web")
    assert world.sh(echoes, "outside") == before
    assert world.passes("here.web", "ip neighbor delete 10.44.0.1 dev eth0; ping -c1 -W1 10.44.0.1")
    assert bridge in world.sh("ip neighbor show 10.44.0.1", "here.web")
    world.netctl("apply")


def test_permissions_and_isolated_ports(world: SwitchWorld) -> None:
    """`allow` lets a container be a DHCP server or a router; isolated ports reach the host, and not each other."""
    own = '[10.44.0.10, "fd44::10"]'
    world.write(TOPOLOGY.replace(own, f"{{address: {own}, allow: [dhcp-server, router-advertisements]}}"))
    world.apply()
    _, bad, _ = judge(world, "web", "app")
    assert bad == {"dhcp server", "dhcpv6 server", "router advertisement", "redirect"}
    isolated = TOPOLOGY.replace('[10.44.0.10, "fd44::10"]', '{address: [10.44.0.10, "fd44::10"], isolated: true}')
    isolated = isolated.replace('[10.44.0.20, "fd44::20"]', '{address: [10.44.0.20, "fd44::20"], isolated: true}')
    world.write(isolated)
    world.apply()
    assert not world.pings("web", "10.44.0.20")
    assert world.pings("web", "10.44.0.1")


OFFLOAD_ON = """\
nsenter --net=/run/netns/here.web python3 -c '
import ctypes, fcntl, socket, struct
value = ctypes.create_string_buffer(struct.pack("II", 0x17, 1))  # ETHTOOL_STXCSUM, on
request = struct.pack("16sP16x", b"eth0", ctypes.addressof(value))
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)
'
"""
RESTART = f"""\
kill $(cat /run/openvswitch/ovs-vswitchd.pid)
while pgrep -x ovs-vswitchd >/dev/null; do sleep 0.02; done
{SWITCH}"""
DRIFTS = {
    "a port gone, marks of the bridge gone, another mac, a flow that does something else, an offload on": f"""\
        ovs-vsctl del-port {PORT}
        ovs-vsctl clear bridge b-here-front external_ids
        ovs-vsctl set bridge b-here-front other_config:hwaddr=02:00:00:00:00:77
        ovs-ofctl --strict mod-flows b-here-back 'cookie=0/0,table=1,priority=20,icmp6,icmp_type=134,actions=NORMAL'
        {OFFLOAD_ON}""",
    "a port elsewhere, a bridge that fails open, another mtu, a flow gone, the link down": f"""\
        ovs-vsctl del-port {PORT} -- add-port br-other {PORT} -- set port {PORT} 'external_ids:"netctl:topology"=here'
        ovs-vsctl set bridge b-here-front fail_mode=standalone
        ovs-vsctl set interface b-here-back mtu_request=1300
        ovs-ofctl --strict del-flows b-here-back 'table=0,priority=10,in_port=LOCAL'
        ip link set b-here-front down""",
    "marks of a port gone, another's name on one, all flows gone": f"""\
        ovs-vsctl clear port {PORT} external_ids
        ovs-vsctl set port v-here-db-back 'external_ids:"netctl:name"=x' protected=true
        ovs-ofctl del-flows b-here-front""",
    "the link of a port gone": f"ip link delete {PORT}",
    "the bridge gone": "ovs-vsctl del-br b-here-front",
    "the datapath started anew": RESTART,
}


def test_drift_is_seen_and_repaired(world: SwitchWorld) -> None:
    """Whatever another program does to a bridge, a port or a flow: after the next apply, all is as it was."""

    def everything() -> frozenset[str]:
        flows = world.sh("for b in front back; do ovs-ofctl --names --no-stats dump-flows b-here-$b | sed s/^/$b/; done")
        return read_live(world.machine) | frozenset(f"{world.database()}\n{flows}".splitlines())

    before = everything()
    for what, script in DRIFTS.items():
        world.sh(script)
        assert everything() != before, what
        assert world.netctl("diff", status=None).status == 1, what
        world.netctl("apply")
        assert differences(before, everything()) == "", what
        assert world.transfer("here.app", "here.web", "10.44.0.20", 7000) == 1 << 20, what


@pytest.mark.invariant(3)
def test_what_others_do_at_our_bridge_stays(world: SwitchWorld) -> None:
    """An administrator's port and flow on an owned bridge stay, and one more container cuts no other off."""
    world.sh("ip link add extra0 type veth peer name extra1; ovs-vsctl add-port b-here-front extra0")
    world.sh("ovs-ofctl add-flow b-here-front 'cookie=0x77,priority=77,in_port=extra0,actions=NORMAL'")
    world.netctl("diff")
    running = world.start("here.web", "ping", "-i0.2", "-c15", "-W1", "10.44.0.20")
    world.write(TOPOLOGY.replace("db: {", "new: {networks: {front: auto}}\n  db: {"))
    world.apply()
    assert " 0% packet loss" in running.wait(30).out
    assert "extra0" in world.sh("ovs-vsctl list-ports b-here-front")
    assert "extra0" in world.sh("ovs-ofctl --names dump-flows b-here-front cookie=0x77/-1")
    world.sh("ip link delete extra0; ovs-vsctl del-port extra0")


@pytest.mark.invariant(2)
def test_destroy_leaves_nothing(cleared: SwitchWorld) -> None:
    """Nothing is left in the database or on the machine, and another's bridge is as it was. By name it is the same."""
    before = read_live(cleared.machine), cleared.database()
    for words in ((), ("--name", "here")):
        cleared.write(TOPOLOGY)
        cleared.apply()
        assert cleared.database() != before[1]
        assert cleared.machine.netctl("destroy", *(words or (cleared.file,))).status == 0
        assert differences(before[0], read_live(cleared.machine)) == ""
        assert cleared.database() == before[1]


@pytest.mark.invariant(4)
def test_killed_at_any_moment_it_converges(cleared: SwitchWorld) -> None:
    """Controller and worker are killed in the middle of an apply; the next one finds what is left and goes on from there."""
    cleared.write(TOPOLOGY)
    before = cleared.database()
    flows = "ovs-ofctl dump-flows b-here-front | grep -q NORMAL"
    moments = ("ovs-vsctl br-exists b-here-front", f"ovs-vsctl iface-to-br {PORT}", flows)
    for moment in moments:
        running = cleared.machine.start_netctl("apply", cleared.file)
        cleared.sh(f"until {moment} 2>/dev/null; do :; done")
        running.kill(signal.SIGKILL)
        running.wait()
    cleared.apply()
    assert cleared.transfer("here.app", "here.web", "10.44.0.20", 7000) == 1 << 20
    cleared.netctl("destroy")
    assert cleared.database() == before


def test_the_script_makes_what_apply_makes(cleared: SwitchWorld) -> None:
    """`diff --commands | sh` leads to the same ports and flows, and to bridges that learn nothing."""

    def everything() -> str:
        return cleared.sh(
            "ovs-vsctl -f csv --columns=name,fail_mode,flood_vlans list bridge | sort; for b in front back; do"
            "  ovs-vsctl list-ports b-here-$b; ovs-ofctl --names --no-stats dump-flows b-here-$b | sort;"
            "  ovs-ofctl get-frags b-here-$b;"
            "done"
        )

    isolated = TOPOLOGY.replace('[10.44.0.10, "fd44::10"]', '{address: [10.44.0.10, "fd44::10"], isolated: true}')
    cleared.write(isolated)
    cleared.apply()
    wanted = everything()
    cleared.netctl("destroy")
    script = cleared.netctl("diff", "--commands", status=1).out
    cleared.sh("\n".join(line for line in script.splitlines() if "ethtool" not in line))  # which may not be installed
    assert everything() == wanted
    differing = cleared.netctl("diff", status=None)
    assert differing.status == 0 or "flow" not in differing.out, differing.out
    cleared.netctl("destroy")


def test_linux_to_openvswitch_and_back(cleared: SwitchWorld) -> None:
    """The kind of the bridge is changed in place, in one plan; what was on the other kind is gone without a trace."""
    cleared.write(LINUX)
    cleared.apply()
    linux, database = read_live(cleared.machine), cleared.database()
    cleared.write(TOPOLOGY)
    cleared.apply()
    assert cleared.transfer("here.app", "here.web", "10.44.0.20", 7000) == 1 << 20
    assert cleared.netctl("verify").status == 0
    cleared.write(LINUX)
    cleared.apply()
    again = read_live(cleared.machine)
    # A port's cable stays, and so does the setting that its host's end has no IPv6.
    settled = [frozenset(line for line in each if "ipv6/conf/v-" not in line) for each in (linux, again)]
    assert differences(*settled) == ""
    assert cleared.database() == database
    cleared.netctl("destroy")


def test_a_container_routes_for_another(cleared: SwitchWorld) -> None:
    """By a static route over a container its network is reached; from there it speaks to who has the route, and to no other."""
    routed = "app: {networks: {front: {address: [10.44.0.20], routes: [{to: 10.89.0.0/24, via: 10.44.0.10}]}, back: auto}}"
    cleared.write("\n".join(f"  {routed}" if line.startswith("  app:") else line for line in TOPOLOGY.splitlines()))
    cleared.apply()
    cleared.sh("ip -n here.web address add 10.89.0.1/24 dev lo")
    cleared.sh("ip netns exec here.app ping -c1 -W2 10.89.0.1")
    assert cleared.netctl("diff").status == 0
    cleared.sh("! ip netns exec here.web ping -c1 -W1 -I 10.89.0.1 10.44.0.1")


def test_without_openvswitch_it_says_what_to_do(cleared: SwitchWorld) -> None:
    """A host whose Open vSwitch does not run is a sentence and status 3, before anything is touched."""
    cleared.write(TOPOLOGY.replace("{connect: local}", "{connect: local, openvswitch: unix:///run/nowhere/db.sock}"))
    told = cleared.netctl("apply", status=3)
    assert "Open vSwitch does not answer at unix:///run/nowhere/db.sock" in told.err
    assert "systemctl start openvswitch-switch" in told.err
    cleared.write(TOPOLOGY.replace("{connect: local}", "{connect: lab, address: 192.0.2.77}"))
    assert "a lab host has no Open vSwitch of its own" in cleared.netctl("diff", status=3).err
    cleared.write(TOPOLOGY)
    cleared.sh("kill $(cat /run/openvswitch/ovs-vswitchd.pid)")
    cleared.until("! pgrep -x ovs-vswitchd")
    assert "ovs-vswitchd does not run" in cleared.netctl("diff", status=3).err
    cleared.sh(SWITCH)
