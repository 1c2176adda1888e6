"""Machines for tests of ssh hosts: each a set of namespaces of its own (network, mounts, processes) with its own sshd and /run.

    controller 192.0.2.1 ── alpha 192.0.2.11 (a bridge in a namespace "lan" joins them) ── beta 192.0.2.12

The first process of a machine holds its namespaces; when it is killed, the kernel ends all that runs there. Nothing of the
real machine's ssh is used: keys, known_hosts and ssh_config are made here, and root's home is elsewhere for the controller.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.harness.netctl import Outcome

ROOT = Path(__file__).resolve().parents[3]
ADDRESSES = {"controller": "192.0.2.1", "alpha": "192.0.2.11", "beta": "192.0.2.12", "gamma": "192.0.2.13"}
SSHD_CONFIG = """\
Port 22
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PidFile /run/sshd.pid
{more}
"""
PROLOGUE = """\
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --rbind /sys/fs/cgroup /mnt  # where engines look for them
mount -t sysfs sysfs /sys
mount --rbind /mnt /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p -m 700 /run/sshd /run/netns /run/root /run/root/.ssh
sed 's,^root:.*,root:x:0:0:root:/run/root:/bin/sh,' /etc/passwd > /run/passwd
mount --bind /run/passwd /etc/passwd
cp "$1"/* /run/root/.ssh/ 2>/dev/null || :
{more}
exec sleep infinity
"""


@dataclass
class Machine:
    """A machine: `run` is inside all its namespaces."""

    name: str
    folder: Path
    init: subprocess.Popen[bytes]
    sshd: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The first process inside, as seen from here."""
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text().split()
        return int(children[0])

    def enter(self, *command: str | Path) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "--net", "--mount", "--pid", *map(str, command)]

    def run(
        self, *command: str | Path, check: bool = True, env: dict[str, str] | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        entered = self.enter(*command)
        done = subprocess.run(
            entered, capture_output=True, text=True, timeout=timeout_s, check=False, env=env, stdin=subprocess.DEVNULL
        )
        if check and done.returncode:
            pytest.fail(f"{command} on {self.name} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done

    def files(self) -> list[str]:
        """What is under /run/netctl and /run/netns, without the worker's code."""
        found = self.run("find", "/run/netctl", "/run/netns", "-mindepth", "1", check=False).stdout.split()
        return [path for path in found if "/.worker/" not in path]

    def pids(self, words: str) -> list[int]:
        """Processes inside whose command line has the words, by their numbers inside."""
        found = self.run("pgrep", "-f", "--", words, check=False).stdout.split()
        return [int(pid) for pid in found]

    def stop(self) -> None:
        self.init.kill()
        self.init.wait()
        if self.sshd:
            self.sshd.kill()
            self.sshd.wait()


@dataclass
class SshWorld:
    """The machines, joined by a bridge."""

    name: str
    folder: Path
    machines: dict[str, Machine] = field(default_factory=dict)

    def build(self, *hosts: str) -> None:
        self.namespace("lan")
        self.inside("lan", "ip", "link", "add", "lan", "up", "type", "bridge")
        keys = self.folder / "controller"
        keys.mkdir()
        self.key(keys / "id_ed25519")
        for host in hosts:
            folder = self.folder / host
            folder.mkdir()
            self.key(folder / "host_key")
            shutil.copy(keys / "id_ed25519.pub", folder / "authorized_keys")
        self.trust(*hosts)
        for name in ("controller", *hosts):
            self.start(name)
        for host in hosts:
            self.serve(host)

    def trust(self, *hosts: str, known: Sequence[str] | None = None) -> None:
        """The controller's ssh_config, and the hosts that it knows."""
        keys = self.folder / "controller"
        lines = []
        for host in hosts if known is None else known:
            public = (self.folder / host / "host_key.pub").read_text().split()
            lines.append(f"{ADDRESSES[host]} {public[0]} {public[1]}")
        (keys / "known_hosts").write_text("\n".join(lines) + "\n")
        config = [f"Host {host}\n  HostName {ADDRESSES[host]}" for host in hosts]
        (keys / "config").write_text("\n".join([*config, "Host *\n  IdentityFile ~/.ssh/id_ed25519", ""]))
        if "controller" in self.machines:
            self.machines["controller"].run("cp", keys / "known_hosts", keys / "config", "/run/root/.ssh/")

    @staticmethod
    def key(path: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], check=True)

    def namespace(self, name: str) -> str:
        full = f"{self.name}.{name}"
        subprocess.run(["ip", "netns", "add", full], check=True)
        self.inside(name, "ip", "link", "set", "lo", "up")
        return full

    def inside(self, name: str, *command: str) -> None:
        subprocess.run(["nsenter", f"--net=/run/netns/{self.name}.{name}", *command], check=True, capture_output=True)

    def start(self, name: str, more: str = "") -> None:
        """A machine: its namespaces, its cable, its processes."""
        full = self.namespace(name)
        self.inside("lan", "ip", "link", "add", name, "master", "lan", "up", "type", "veth", "peer", "eth0", "netns", full)
        self.inside(name, "ip", "link", "set", "eth0", "up")
        self.inside(name, "ip", "address", "add", f"{ADDRESSES[name]}/24", "dev", "eth0")
        self.inside(name, "ip", "route", "add", "default", "via", ADDRESSES["controller"])
        script = PROLOGUE.format(more=more)
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", str(self.folder / name)]
        init = subprocess.Popen(["nsenter", f"--net=/run/netns/{full}", *command])
        machine = self.machines[name] = Machine(name, self.folder / name, init)
        # Its first process becomes `sleep` when all is mounted; the words of the script are in the command line of sh, too.
        wait_for(lambda: read(f"/proc/{machine.pid}/cmdline").startswith(b"sleep"))

    def serve(self, host: str, more: str = "") -> None:
        """Start the machine's sshd."""
        machine = self.machines[host]
        if machine.sshd:
            return
        config = machine.folder / "sshd_config"
        config.write_text(SSHD_CONFIG.format(address=ADDRESSES[host], folder=machine.folder, more=more))
        command = machine.enter("/usr/sbin/sshd", "-D", "-e", "-f", config)
        with (machine.folder / "sshd.log").open("ab") as log:
            machine.sshd = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(lambda: ":22 " in machine.run("ss", "-lnt").stdout)

    def stop_serving(self, host: str) -> None:
        """No sshd listens any more; sessions that are open live on."""
        machine = self.machines[host]
        assert machine.sshd
        machine.run("sh", "-c", "kill $(cat /run/sshd.pid)")
        machine.sshd.wait()
        machine.sshd = None

    def cut(self, host: str) -> None:
        """Pull the cable."""
        self.inside("lan", "ip", "link", "set", host, "down")

    def repair(self, host: str) -> None:
        self.inside("lan", "ip", "link", "set", host, "up")

    def start_netctl(self, *arguments: str | Path, program: Sequence[str] = ("-m", "reconciler")) -> subprocess.Popen[str]:
        command = self.machines["controller"].enter(sys.executable, *program, *arguments)
        env = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(ROOT), "HOME": "/run/root"}
        return subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )

    def netctl(self, *arguments: str | Path, timeout_s: float = 120) -> Outcome:
        """Run netctl on the controller."""
        with self.start_netctl(*arguments) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                out, err = process.communicate()
                pytest.fail(f"netctl {arguments} did not end: {out}{err}")
        if "Traceback (most recent call last)" in out + err or "defect in netctl" in err:
            pytest.fail(f"netctl {arguments} met a defect:\n{err}{out}")
        return Outcome(process.returncode, out, err)

    def stop(self) -> None:
        for machine in self.machines.values():
            machine.stop()


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def wait_for(condition: object, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if condition():  # type: ignore[operator]
                return
        except (IndexError, OSError):
            pass
        time.sleep(0.02)
    pytest.fail("what was waited for did not come")
