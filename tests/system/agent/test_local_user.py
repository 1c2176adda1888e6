"""A local user without rights beside an agent: it reads nothing, changes nothing, and gives the agent no work."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from reconciler.agent.state import HostLocks, Pause, write_pause
from reconciler.cli import main as cli
from reconciler.errors import NetctlError
from reconciler.kernel.processes.metrics_server import CLIENTS_MAX, MetricsServer
from reconciler.topology.load import load_topology
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import LOCAL_CHANGED

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

USER, NOBODY = 4242, 65534
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "sh", "-c")
FETCH = "busybox wget -qO- http://127.0.0.1:9478/metrics"


def become(user: int) -> None:
    """Without rights, in a process of the machine."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def count_cycles(agent: RunningAgent) -> float:
    """So far."""
    lines = agent.machine.sh(FETCH).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("netctl_cycles_total{"))


@pytest.fixture
def measured(furnished: Machine, file: Path) -> RunningAgent:
    """A running agent that serves its metrics."""
    return RunningAgent.start(furnished, file, "--metrics", "127.0.0.1:9478").wait_ready()


def test_a_user_can_neither_read_nor_change_its_files(agent: RunningAgent) -> None:
    """Files are not listed, read, written, locked, removed or moved, nor put in their place; the agent gets no signal."""
    place, pid = "/run/netctl/.agent", agent.state["pid"]
    lock = f"{place}/here.one.lock"
    commands = [f"ls {place}", f"cat {lock}", f"cat {place}/here.log", f"echo > {place}/here.pause", f"rm -f {place}/here.log"]
    commands += [f"flock --nonblock {place} true", f"flock --nonblock {lock} true", f"mv {place} /run/netctl/other"]
    commands += ["mv /run/netctl /run/other", f"ln -s /tmp {place}/x", f"kill {pid}", f"cat /proc/{pid}/environ"]
    for command in commands:
        done = agent.machine.run(*AS_USER, command, check=False)
        assert done.status != 0, command
        assert "ermi" in done.err, done.err  # permission denied, or not permitted
    assert agent.state["in_step"]


def test_a_user_cannot_pause_it(agent: RunningAgent, file: Path) -> None:
    """Neither by the commands nor by what they do; `agent`, `resume` and `watch` of a user end with a sentence, too."""
    shown = "/run/topology.yaml"
    agent.machine.run("install", "-m", "0644", str(file), shown)
    words_of_all = (["agent", "pause", "10m", shown], ["agent", "resume", shown], ["agent", shown], ["watch", shown])
    for words in words_of_all:

        def command(words: list[str] = words) -> int:
            load_topology(shown)  # which imports what the user could not read here
            become(USER)
            return cli.main(words)

        done = agent.machine.start(command).wait(30)
        assert done.status == 3, (words, done)
        assert done.err.startswith("error: "), done.err

    def forge() -> int:
        become(USER)
        with pytest.raises((NetctlError, OSError)):
            write_pause("here", Pause("by a user"))
        with pytest.raises((NetctlError, OSError)):
            HostLocks("here").take(["one"])
        return 0

    assert agent.machine.start(forge).wait(30).status == 0
    assert agent.state["paused"] == ""
    repairs = agent.state["repairs"]
    agent.machine.sh("nft flush ruleset")
    agent.wait_repaired(repairs)


def test_a_file_that_a_user_could_change_is_not_followed(agent: RunningAgent, file: Path) -> None:
    """The last good file stays in force, and the error says who could change it; root's own file is followed again."""
    machine = agent.machine
    text = file.read_text()
    file.write_text(LOCAL_CHANGED)
    os.chown(file, USER, USER)
    agent.wait_for(lambda it: f"belongs to user ID {USER}" in it.state["error"])
    assert "here.app" not in machine.run("ls", "/run/netns").out
    os.chown(file, 0, 0)
    agent.wait_for(lambda it: not it.state["error"] and "here.app" in machine.run("ls", "/run/netns").out)
    file.chmod(0o666)
    agent.wait_for(lambda it: "other users can write" in it.state["error"])
    file.write_text(text)
    file.chmod(0o644)
    agent.wait_for(lambda it: not it.state["error"] and it.state["in_step"])
    assert quick_netctl(machine, "diff", file)[0].status == 0
    agent.stop()
    file.chmod(0o666)
    again = RunningAgent.start(machine, file).running.wait()
    assert again.status == 2
    assert "other users can write" in again.err


def test_a_user_gives_it_no_work(measured: RunningAgent, file: Path) -> None:
    """Files beside the topology, a network of the user's own, listening ports and signals to itself cause no cycle."""
    machine = measured.machine
    file.parent.chmod(0o1777)
    time.sleep(2)
    before = count_cycles(measured)
    beside = f"{file.parent}/.topology.yaml.swp"
    script = f"""
        for each in $(seq 60); do echo > {beside}; rm {beside}; echo > {file.parent}/x$each; done
        noise='for each in $(seq 30); do ip link add a type veth peer b && ip link delete a; done'
        unshare --user --map-root-user --net sh -c "$noise" || true
        for port in $(seq 40000 40010); do busybox timeout 1 busybox nc -l -p $port & done; wait
    """
    machine.run(*AS_USER, script, check=False)
    time.sleep(1)
    assert count_cycles(measured) - before <= 2  # a full reading may fall into this time


def test_the_server_of_metrics_holds_up_nothing(measured: RunningAgent) -> None:
    """Its user stops it, and others open connections without end: drift is repaired; then it answers with what is true."""
    machine = measured.machine
    server = machine.sh("pgrep -u 65534").split()[0]
    machine.run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "kill", "-STOP", server)

    def flood() -> int:
        become(USER)
        held = []
        for _ in range(200):
            one = socket.socket()
            one.settimeout(0.2)
            try:
                one.connect(("127.0.0.1", 9478))
                one.sendall(b"GET /")
            except OSError:
                break
            held.append(one)
        time.sleep(60)
        return len(held)

    flooding, repairs = machine.start(flood), measured.state["repairs"]
    machine.sh("ip -n here.web address delete 10.44.0.10/24 dev eth0")
    measured.wait_repaired(repairs)
    machine.run("kill", "-CONT", server)
    measured.wait_for(lambda it: int(machine.sh(f"ls /proc/{server}/task | wc -l")) > 10)
    assert int(machine.sh(f"ls /proc/{server}/task | wc -l")) <= CLIENTS_MAX + 1
    flooding.kill(signal.SIGKILL)
    measured.wait_for(lambda it: "netctl_repairs_total" in machine.run("sh", "-c", FETCH, check=False).out)


def test_texts_that_are_not_taken_are_left_out(furnished: Machine) -> None:
    """Publishing never waits for a server that stands still; it serves whole texts when it goes on, and the newest soon."""

    def publish() -> int:
        server = MetricsServer("127.0.0.1", 9479)
        pid = int(Path("/proc/thread-self/children").read_text().split()[0])
        os.kill(pid, signal.SIGSTOP)
        for _ in range(50):
            server.publish(b"x" * 100_000)
        os.kill(pid, signal.SIGCONT)
        found = b""
        while found != b"last":
            server.publish(b"last")
            with urllib.request.urlopen("http://127.0.0.1:9479/metrics", timeout=5) as answer:
                found = answer.read()
            assert found in (b"", b"last", b"x" * 100_000)
        server.close()
        return 0

    assert furnished.start(publish).wait(60).status == 0
