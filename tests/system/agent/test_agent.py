"""An agent from its start to its end: the file, signals, pauses, a second agent, and what it leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.cli import main as cli
from reconciler.kernel.events.netlink import NETLINK_ADD_MEMBERSHIP, NETLINK_NETFILTER, NFNLGRP_NFTABLES, ROUTE_GROUPS
from reconciler.kernel.netlink.rtnetlink import SOL_NETLINK, parse_messages
from tests.harness.faults.connections import Connection, start_server
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live, read_pids
from tests.harness.machine import Machine
from tests.harness.netctl import UNSTARTABLE
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import LOCAL, LOCAL_CHANGED, edit, write

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

WITH_SERVER = LOCAL.replace("  web: {networks", "  app: {networks: {front: auto}}\n  web: {networks")


def test_it_builds_and_leaves_the_network(agent: RunningAgent, file: Path) -> None:
    """`ready` is said when all is in step; SIGTERM ends it within 5 s with status 0, and leaves the network and no file."""
    machine = agent.machine
    assert quick_netctl(machine, "diff", file)[0].status == 0
    before = {line for line in read_live(machine) if ": file " not in line}
    outcome, took_s = agent.stop()
    assert (outcome.status, took_s < 5) == (0, True), outcome
    after = {line for line in read_live(machine) if ": file " not in line}
    assert differences(frozenset(before), frozenset(after)).replace("process: ", "") == "" or "reconciler" in str(before - after)
    assert ".agent" not in machine.run("ls", "-A", "/run/netctl").out
    assert quick_netctl(machine, "diff", file)[0].status == 0


def test_it_ends_in_the_middle_of_its_first_apply(furnished: Machine) -> None:
    """SIGTERM at any moment ends it within 5 s; what is half built, the next start completes."""
    file = write(furnished, LOCAL.replace("  web: {", "  many: {replicas: 60, networks: {front: auto}}\n  web: {"))
    for delay_s in (0.1, 0.4, 0.8, 1.2):
        agent = RunningAgent.start(furnished, file)
        time.sleep(delay_s)
        outcome, took_s = agent.stop()
        assert took_s < 5
        assert outcome.status in (0, 128 + signal.SIGTERM), outcome  # before it has its handler, it ends as any program
    RunningAgent.start(furnished, file).wait_ready().stop()
    assert quick_netctl(furnished, "diff", file)[0].status == 0


def test_it_ends_while_an_engine_does_not_answer(furnished: Machine, file: Path) -> None:
    """An engine that accepts connections and sends nothing, as at boot, keeps SIGTERM from ending the agent for 5 s at most."""
    path = furnished.folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        engine.listen()
        theirs = "  theirs: {runtime: docker, existing: true, networks: {front: auto}}\n"
        edit(file, ("connect: local", f'connect: local, docker: "unix://{path}"'), ("policies:", theirs + "policies:"))
        agent = RunningAgent.start(furnished, file)
        engine.settimeout(20)
        held = [engine.accept()[0] for _ in range(2)]  # for events, and for the worker, which waits for it
        time.sleep(0.5)
        outcome, took_s = agent.stop()
        assert (outcome.status, took_s < 5) == (0, True), (outcome, took_s)
        for connection in held:
            connection.close()


def test_it_follows_the_file_and_keeps_the_last_good_one(agent: RunningAgent, file: Path) -> None:
    """A change of the file is applied; a wrong file is reported with its line, and drift is repaired by the last good one."""
    machine = agent.machine
    file.write_text(LOCAL_CHANGED)
    agent.wait_for(lambda it: "10.46.0.20" in machine.run("sh", "-c", "ip -n here.app address 2>&1 || true").out)
    agent.wait_for(lambda it: it.state["in_step"])
    assert quick_netctl(machine, "diff", file)[0].status == 0
    file.write_text(LOCAL_CHANGED.replace("subnets:", "subnet:"))
    agent.wait_for(lambda it: "the file is not used" in it.state["error"])
    assert "topology.yaml:5:1: " in agent.said
    repairs = agent.state["repairs"]
    machine.sh("ip -n here.app address flush dev eth0")
    agent.wait_repaired(repairs)
    replaced = file.with_suffix(".new")  # as editors save
    replaced.write_text(LOCAL)
    replaced.rename(file)
    agent.wait_for(lambda it: not it.state["error"] and "here.app" not in machine.run("ls", "/run/netns").out)
    agent.wait_for(lambda it: it.state["in_step"])
    assert quick_netctl(machine, "diff", file)[0].status == 0


def test_sighup_reads_everything_again(agent: RunningAgent) -> None:
    """SIGHUP is followed by a reading, and ends nothing."""
    agent.running.kill(signal.SIGHUP)
    agent.wait_for(lambda it: "reads everything again" in it.said)
    repairs = agent.state["repairs"]
    agent.machine.sh("nft flush ruleset")
    agent.wait_repaired(repairs)


def test_a_command_that_ends_is_started_again(agent: RunningAgent) -> None:
    """The command of a plain namespace is back within 2 s (on an idle machine); one that always ends is contested."""
    machine = agent.machine
    for _ in range(2):
        (pid,) = read_pids(machine, "sleep infinity")
        machine.run("kill", "-9", str(pid))
        agent.wait_for(lambda it, pid=pid: read_pids(machine, "sleep infinity") not in ([], [pid]))  # type: ignore[misc]
    edit(machine.folder / "topology.yaml", ("[sleep, infinity]", "[sleep, '0.01']"))
    agent.wait_for(lambda it: any("command" in name for name in it.state["contested"]), 60)
    assert "contested: one: process command in container:db" in agent.said
    shown = quick_netctl(machine, "status", machine.folder / "topology.yaml")[0].out
    assert "contested, and left alone for a while: one: process command in container:db" in shown
    machine.sh("ip -n here.web address flush dev eth0")
    agent.wait_for(lambda it: "10.44.0.10" in machine.run("ip", "-n", "here.web", "address").out)


def test_what_cannot_be_repaired_holds_up_nothing_else(furnished: Machine, file: Path) -> None:
    """A command that cannot be started is an error in `status`; the rest is built and repaired."""
    bad = f"  bad: {{networks: {{front: auto}}, command: {UNSTARTABLE}}}\n"
    file.write_text(LOCAL.replace("policies:", bad + "policies:"))
    agent = RunningAgent.start(furnished, file)
    agent.wait_for(lambda it: "Argument list too long" in it.state.get("error", ""))
    agent.wait_for(lambda it: it.state["in_step"])
    assert "ready" not in agent.said.splitlines()
    repairs = agent.state["repairs"]
    furnished.sh("nft flush ruleset")
    agent.wait_repaired(repairs)
    assert "Argument list too long" in agent.state["error"]
    file.write_text(LOCAL)
    agent.wait_for(lambda it: "ready" in it.said.splitlines() and not it.state["error"], 60)


def test_a_killed_agent_holds_nothing(agent: RunningAgent, file: Path) -> None:
    """After kill -9 `status` shows no agent, the next one starts, and `destroy` leaves no file."""
    agent.stop(signal.SIGKILL)
    assert "agent" not in quick_netctl(agent.machine, "status", file)[0].out
    RunningAgent.start(agent.machine, file).wait_ready().stop(signal.SIGKILL)
    assert quick_netctl(agent.machine, "destroy", file)[0].status == 0
    assert agent.machine.run("sh", "-c", "ls -A /run/netctl 2>/dev/null || true").out == ""


def test_metrics_are_served_by_a_process_without_rights(furnished: Machine, file: Path) -> None:
    """Prometheus reads repairs and state; a client that sends nothing holds up no repair; the server ends with the agent."""
    agent = RunningAgent.start(furnished, file, "--metrics", "127.0.0.1:9478").wait_ready()
    silent = furnished.start_command("busybox", "nc", "127.0.0.1", "9478")
    repairs = agent.state["repairs"]
    furnished.sh("ip -n here.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_repaired(repairs)
    fetch = "busybox wget -qO- http://127.0.0.1:9478/metrics"
    agent.wait_for(lambda it: 'netctl_repairs_total{kind="address",topology="here"}' in furnished.sh(fetch))
    text = furnished.sh(fetch)
    assert 'netctl_in_step{topology="here"} 1.0' in text
    assert 'netctl_containers{topology="here"} 2.0' in text
    assert 'netctl_published_ports{topology="here"} 1.0' in text
    assert 'netctl_policies{topology="here"} 1.0' in text
    owners = furnished.sh("ss -Htlnp sport = :9478 | grep -o 'pid=[0-9]*' | cut -d= -f2 | xargs -I{} stat -c %u /proc/{}").split()
    assert set(owners) == {"65534"}
    agent.stop(signal.SIGKILL)
    silent.kill(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while furnished.sh("ss -Htln sport = :9478") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert furnished.sh("ss -Htln sport = :9478") == ""


def test_the_log_is_json_for_programs(furnished: Machine, file: Path) -> None:
    """With `--log json` each line is one object, and a repair names the record, the reason and the causes."""
    agent = RunningAgent.start(furnished, file, "--log", "json")
    agent.wait_for(lambda it: '"event": "ready"' in it.said)
    repairs = agent.state["repairs"]
    furnished.sh("ip -n here.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_repaired(repairs)
    events = [json.loads(line) for line in agent.said.splitlines()]
    found = [
        event for event in events if event["event"] == "repair" and event["ref"][0] == "address" and "netlink" in event["causes"]
    ]
    assert [(event["host"], event["ref"][1], event["reason"]) for event in found] == [("one", "container:web", "missing")]


def test_a_worker_that_is_killed_is_no_end(agent: RunningAgent, file: Path) -> None:
    """Workers are killed in the middle of repairs: the agent tries again, and is in step."""
    machine, lot = agent.machine, random.Random(3)
    for _ in range(8):
        machine.run("sh", "-c", "ip link delete b-here-front; nft flush ruleset", check=False)
        time.sleep(0.1 + lot.random() * 0.4)
        machine.run("pkill", "-9", "-P", str(agent.state["pid"]), check=False)
    agent.wait_for(lambda it: it.state["in_step"] and quick_netctl(machine, "diff", file)[0].status == 0, 60)


def test_the_service_manager_hears_of_it(furnished: Machine, file: Path) -> None:
    """The manager gets READY=1 when all is in step, WATCHDOG=1 as often as it asks for, and STOPPING=1; commands see none."""
    path = furnished.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20)

        def run() -> int:
            os.environ.update(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="1000000", NO_COLOR="1")
            return cli.main(["agent", str(file)])

        running = furnished.start(run)
        found = [manager.recv(1000).decode()]
        while "READY=1" not in found[-1]:
            found.append(manager.recv(1000).decode())
        begun_s = time.monotonic()
        while [manager.recv(1000).decode() for _ in range(3)] != ["WATCHDOG=1"] * 3:
            assert time.monotonic() - begun_s < 10
        (command,) = read_pids(furnished, "sleep infinity")
        assert "NOTIFY_SOCKET" not in furnished.run("cat", f"/proc/{command}/environ").out
        running.kill(signal.SIGTERM)
        while "STOPPING=1" not in found[-1]:
            found.append(manager.recv(1000).decode())
        assert running.wait().status == 0


def test_the_unit_starts_this_program(file: Path, furnished: Machine) -> None:
    """`agent unit` prints a unit with the file and this program."""
    shown = furnished.start_netctl("agent", "unit", file).wait()
    assert shown.status == 0
    assert f"ExecStart={sys.executable} -m reconciler agent {file}\n" in shown.out
    for line in ("Type=notify", "KillMode=process", "Restart=always", "WatchdogSec=120"):
        assert f"\n{line}\n" in shown.out


NOISE = """
    ip address add 198.51.100.1/24 dev noise0; ip route add 198.51.101.0/24 dev noise0; ip route delete 198.51.101.0/24 dev noise0
    ip address delete 198.51.100.1/24 dev noise0; nft add table inet noise; nft delete table inet noise; sleep 0.05
"""
"""What others do on a host, as far as the agent hears of it."""


def test_an_idle_agent_writes_nothing(furnished: Machine, file: Path) -> None:
    """Whatever others do on the host, an agent with nothing to repair changes nothing: the kernel reports what they did, only."""
    furnished.sh("ip link add noise0 type veth peer name noise1; ip link set noise0 up; ip link set noise1 up")
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    count_notifications(furnished, NOISE, rounds=1)  # the first time there are more of them
    without = count_notifications(furnished, NOISE)
    agent = RunningAgent.start(furnished, file).wait_ready()
    repairs = agent.state["repairs"]
    assert count_notifications(furnished, NOISE) == without
    assert agent.state["repairs"] == repairs == 0
    agent.machine.sh("nft flush ruleset")
    agent.wait_repaired(repairs)


def count_notifications(machine: Machine, script: str, rounds: int = 20) -> int:
    """How many messages the kernel multicasts in the machine while the script runs some times."""

    def listen() -> int:
        sockets = []
        for protocol, groups in ((socket.NETLINK_ROUTE, tuple(ROUTE_GROUPS.values())), (NETLINK_NETFILTER, (NFNLGRP_NFTABLES,))):
            one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
            one.bind((0, 0))
            for group in groups:
                one.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
            one.settimeout(1.5)
            sockets.append(one)
            with contextlib.suppress(TimeoutError):  # what the kernel still has to say of earlier changes
                while one.recv(1 << 16):
                    pass
        lines = "\n".join(line.strip() for line in script.strip().splitlines())
        subprocess.run(["sh", "-euc", f"for each in $(seq {rounds}); do\n{lines}\ndone"], check=True)
        count = 0
        for one in sockets:
            with contextlib.suppress(TimeoutError):
                while data := one.recv(1 << 16):
                    count += sum(1 for _ in parse_messages(data))
        print(count)
        return 0

    done = machine.start(listen).wait(120)
    assert done.status == 0, done.err
    return int(done.out)


def test_kill_at_random_moments_breaks_no_connection(furnished: Machine) -> None:
    """The agent is killed at random moments of repairs: a connection lives on, and the next start converges."""
    file = write(furnished, WITH_SERVER)
    RunningAgent.start(furnished, file).wait_ready().stop()
    start_server(furnished, "here.web", 80)
    connection = Connection.open(furnished, "here.app", "10.44.0.10", 80)
    lot = random.Random(11)
    damages = (
        "ip -n here.db link delete eth0",
        "nft delete table bridge netctl-here || true",
        "nft flush table inet netctl-here || true",
        "ip link delete b-here-back || true",
        "ip -n here.web route delete default",
    )
    for _ in range(12):
        agent = RunningAgent.start(furnished, file)
        time.sleep(lot.random())
        furnished.run("sh", "-c", lot.choice(damages), check=False)
        time.sleep(lot.random() * 0.5)
        agent.stop(signal.SIGKILL)
        connection.check()
    agent = RunningAgent.start(furnished, file).wait_ready()
    connection.check()
    agent.stop()
    assert quick_netctl(furnished, "diff", file)[0].status == 0


def test_it_follows_a_storm_and_lives_on(agent: RunningAgent, file: Path) -> None:
    """Random drift and edits for some seconds end in step, with the connections of others unbroken and no descriptor lost."""
    machine = agent.machine
    start_server(machine, "here.db", 5432)
    connection = Connection.open(machine, "here.web", "10.45.0.20", 5432)
    count = len(list(Path(f"/proc/{agent.running.pid}/fd").iterdir()))
    lot, texts = random.Random(5), (LOCAL, LOCAL.replace('"8080:80"', '"8080:80", "9090:90/udp"'))
    for _ in range(15):
        if lot.random() < 0.4:
            file.write_text(lot.choice(texts))
        port = "$(ip -o link show | sed -n 's/.*: \\(v-here[^@]*\\)@.*/\\1/p' | head -n 1)"
        machine.run("sh", "-c", lot.choice(("ip link set b-here-front mtu 1400", f"ip link set dev {port} arp off")), check=False)
        time.sleep(lot.random() * 0.3)
        connection.check()
    agent.wait_for(lambda it: quick_netctl(machine, "diff", file)[0].status == 0, 90)
    connection.check()
    agent.wait_for(lambda it: len(list(Path(f"/proc/{it.running.pid}/fd").iterdir())) <= count + 4)
