"""A machine with Docker whose containers start only with their network: netctl's runtime is installed for its dockerd."""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import furnish, write
from tests.harness.worlds.compose import ComposeWorld

LIMIT_S = 30.0
TEXT = """\
version: 1
name: {name}
hosts: {{one: {{connect: local, docker: "{url}"}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  web: {{existing: {{compose: shop/web}}, networks: {{front: auto}}}}
  named: {{existing: named, networks: {{front: 10.44.0.10}}}}
  fixed: {{existing: {{label: "part=fixed"}}, networks: {{front: 10.44.0.20}}}}
"""
FIRST = "ip -4 -o address show dev eth0; ip route; cat /sys/class/net/eth0/carrier; echo end; "
"""The first instructions of a program that needs its network."""
CONFIG = '{"debug": false}\n'


@dataclass(slots=True)
class StartsWorld:
    """The machine, its dockerd, and a topology with a service, a name and a label."""

    machine: Machine
    daemon: Dockerd
    file: Path
    started: list[str] = field(default_factory=list)

    @property
    def records(self) -> Path:
        """The directory of the records, as this side sees it."""
        return Path(f"/proc/{self.machine.first}/root/run/netctl/.hook")

    def agent(self) -> RunningAgent:
        """Start an agent."""
        return RunningAgent.start(self.machine, self.file)

    def run(self, name: str, *options: str, command: str = "sleep 1000", wait_for: str = "here") -> None:
        """Start a container whose first instructions print its network; returns as `docker run --detach` does."""
        self.daemon.docker(*self.words(name, *options, command=command, wait_for=wait_for))

    def words(self, name: str, *options: str, command: str = "sleep 1000", wait_for: str = "here") -> list[str]:
        """The command line of `run`."""
        labels = ["--label", f"netctl.wait-for={wait_for}"] if wait_for else []
        head = ["run", "--detach", "--runtime", "netctl", "--network", "none", "--name", name, *labels, *options]
        return [*head, "busybox", "sh", "-c", FIRST + command]

    def member(self, number: int) -> list[str]:
        """The options that make a container one of the service."""
        labels = {"project": "shop", "service": "web", "container-number": str(number)}
        return [word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")]

    def starts_wired(self, name: str) -> int:
        """How often the program has started; each time its address, its route and its carrier must have been there."""
        logs = self.daemon.docker("logs", name)
        ends = logs.splitlines().count("end")
        logs = logs[
            : logs.rfind("end\n") if logs.endswith("end\n") else logs.rfind("end") + 3
        ]  # without a start that is not done
        assert logs.count("inet 10.44.0.") == logs.count("default via 10.44.0.1") == logs.splitlines().count("1") == ends, logs
        return ends

    def wait_started(self, name: str, starts: int) -> None:
        """Until the program has started so often, each time with its network."""
        self.wait_until(lambda: self.starts_wired(name) >= starts, lambda: self.daemon.docker("ps", "--all"))

    def waiting(self) -> str:
        """What `netctl hook show` prints."""
        return quick_netctl(self.machine, "hook", "show")[0].out

    def wait_until(self, is_true: Callable[[], object], what: Callable[[], object] = str) -> None:
        """Return when it is so."""
        deadline = time.monotonic() + LIMIT_S
        while not is_true():
            assert time.monotonic() < deadline, what()
            time.sleep(0.02)

    def cut_power(self) -> None:
        """What a loss of power leaves; dockerd is not started again."""
        ComposeWorld(self.machine, self.daemon, self.machine.folder).cut_power()

    def restart_engine(self) -> None:
        """End dockerd, as `systemctl restart docker` does, and start another."""
        self.machine.sh(f"kill $(cat {self.daemon.root}/pid)")
        self.daemon.processes[-1].wait(30)
        self.daemon.start()

    def start_engine(self) -> threading.Thread:
        """Start dockerd, which answers only when all containers have started."""
        thread = threading.Thread(target=self.daemon.start)
        thread.start()
        return thread

    def end(self) -> None:
        """Leave no process of netctl's, no container and nothing of the topology."""
        for running in self.machine.started:
            if running.status is None:
                running.kill(signal.SIGKILL)
                running.close()
        self.release()
        quick_netctl(self.machine, "destroy", self.file)
        self.daemon.remove_all()
        self.machine.sh("rm -rf /run/netctl")

    def release(self) -> None:
        """End the starts that still wait."""
        for line in self.waiting().splitlines():
            if " kill " in line:
                self.machine.sh(f"kill {line.rpartition(' ')[2]} || :")


@contextlib.contextmanager
def starts_world(folder: Path, *options: str) -> Iterator[StartsWorld]:
    """A machine with the hook."""
    machine = Machine.make(folder)
    try:
        machine.sh("ip netns add x; ip netns delete x")
        furnish(machine)
        config = folder / "daemon.json"
        config.write_text(CONFIG)
        installed = quick_netctl(machine, "hook", "install", "--config-file", str(config), "--directory", str(folder / "hook"))[0]
        assert installed.status == 0, installed.err
        with dockerd_in(f"t-dockerd-{secrets.token_hex(3)}", *options, enter=machine.entering(), config=config) as daemon:
            yield StartsWorld(machine, daemon, write(machine, TEXT.format(name="here", url=daemon.url)))
    finally:
        machine.end()
