"""A machine with Docker and Compose, and one project in it that an import has put under netctl."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.harness.compose import run_compose
from tests.harness.dockerd import Dockerd, dockerd_in, kill_what_names
from tests.harness.machine import Machine
from tests.harness.netctl import Outcome

FILES = ("compose.yaml", "compose.netctl.yaml")
LIMIT_S = 30.0
GET = "printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {server} 80"
LOOK_UP = "$(awk '$2 == \"{name}\" {{print $1; exit}}' /etc/hosts)"
"""The static busybox of the tests resolves no name by itself: its wget ends with a segmentation fault."""


@contextlib.contextmanager
def machine_with_docker(folder: Path) -> Iterator[tuple[Machine, Dockerd]]:
    """A machine of a test's own, in whose network a dockerd and netctl's host are."""
    machine = Machine.make(folder)
    try:
        machine.sh("ip netns add x; ip netns delete x")
        with dockerd_in(f"t-dockerd-{secrets.token_hex(3)}", enter=machine.entering()) as daemon:
            yield machine, daemon
    finally:
        machine.end()


def read_name(daemon: Dockerd, container: str, server: str) -> str:
    """What the web server at `server` gives to the container as its host name: an address, or a name of its /etc/hosts."""
    address = server if server[0].isdigit() else LOOK_UP.format(name=server)
    return daemon.docker("exec", container, "sh", "-c", GET.format(server=address), check=False).rpartition("\n")[2].strip()


def wait_until(is_true: Callable[[], object], what: Callable[[], object] = str) -> None:
    """Return when it is so; `what` shows what there is if it is late."""
    deadline = time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@dataclass(slots=True)
class ComposeWorld:
    """One project in the folder; DOCKER_HOST leads to the daemon."""

    machine: Machine
    daemon: Dockerd
    folder: Path

    @property
    def topology(self) -> Path:
        return self.folder / "topology.yaml"

    def write(self, text: str) -> None:
        """Write the Compose file."""
        (self.folder / "compose.yaml").write_text(text)

    def netctl(self, *arguments: str | Path, status: int = 0) -> Outcome:
        """A command in the machine, which must end with the status."""
        done = self.machine.netctl(*arguments)
        assert done.status == status, done.out + done.err
        return done

    def compose(self, *words: str) -> str:
        """A command of Compose, with the override."""
        return run_compose(self.folder, *words, url=self.daemon.url, files=FILES)

    def rows(self) -> str:
        """What `netctl status` shows, whatever its status."""
        return self.machine.netctl("status", self.topology).out

    def run_elsewhere(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the machine's network."""
        return subprocess.run([*self.machine.entering(), *words], capture_output=True, text=True, check=False, timeout=60)

    def end(self) -> None:
        """Leave nothing of the project, also after a failure."""
        for running in self.machine.started:
            if running.status is None:
                running.kill(signal.SIGKILL)
                running.close()
        if self.topology.exists():
            self.machine.netctl("destroy", self.topology)
        self.daemon.remove_all()
        self.daemon.docker("network", "prune", "--force")

    def reboot(self) -> None:
        """A loss of power, and the start of the engine after it."""
        self.cut_power()
        self.daemon.start()

    def cut_power(self) -> None:
        """What a loss of power leaves: the data of the engine and the files, no process, no link, no rule, an empty /run."""
        names = self.daemon.docker("ps", "--quiet").split()
        pids = [int(self.daemon.docker("inspect", "--format", "{{.State.Pid}}", name)) for name in names]
        kill_what_names(self.daemon.root)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.daemon.processes[-1].wait()
        self.machine.sh(
            "for link in $(ip -o link | cut -d: -f2 | cut -d@ -f1); do ip link delete $link 2>/dev/null || :; done\n"
            "nft flush ruleset; rm -rf /run/netctl"
        )
        mounted = self.run_elsewhere("cat", "/proc/self/mounts").stdout
        for line in mounted.splitlines():
            if line.split()[1].startswith(f"{self.daemon.root}/exec"):
                self.run_elsewhere("umount", "--lazy", line.split()[1])
        shutil.rmtree(self.daemon.root / "exec", ignore_errors=True)
        (self.daemon.root / "pid").unlink(missing_ok=True)
