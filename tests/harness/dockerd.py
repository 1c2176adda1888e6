"""A real dockerd for tests, in a network namespace of its own: the machine's firewall and its own engine are not touched.

`dockerd_in(netns)` starts one in a namespace that is there; `running_dockerd()` makes a namespace for it, too. Both end all
that they started, take away mounts and files, and do so on failure as well. The one image is busybox, made on the spot.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

IMAGE = "busybox:latest"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Dockerd:
    """A daemon that answers: its socket's URL, the name of its namespace, and its directory."""

    url: str
    netns: str
    root: Path
    enter: tuple[str, ...]
    """The command that leads there."""
    options: tuple[str, ...] = ()
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The last one is the daemon that runs."""

    def docker(self, *words: str, check: bool = True) -> str:
        """The output of a `docker` command line on this daemon."""
        result = subprocess.run(["docker", "-H", self.url, *words], capture_output=True, text=True, check=False, timeout=60)
        if check and result.returncode:
            raise AssertionError(f"docker {' '.join(words)}: {result.stderr}")
        return result.stdout.strip()

    def remove_all(self) -> None:
        """Remove every container, whatever made it."""
        names = self.docker("ps", "--all", "--quiet").split()
        if names:
            self.docker("rm", "--force", "--volumes", *names)

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        with (self.root / "dockerd.log").open("ab") as log:
            words = _command(self, self.options)
            self.processes.append(
                subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            )
        _wait_until_up(self, self.processes[-1])

    def restart(self) -> None:
        """End the daemon, as `systemctl restart docker` does, and start another."""
        self.processes[-1].terminate()
        self.processes[-1].wait(STOP_TIMEOUT_S)
        self.start()


@contextmanager
def running_dockerd() -> Iterator[Dockerd]:
    """A daemon in a new namespace, which goes with it."""
    netns = f"t-dockerd-{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        subprocess.run(["ip", "-n", netns, "link", "set", "lo", "up"], check=True)
        with dockerd_in(netns) as daemon:
            yield daemon
    finally:
        subprocess.run(["ip", "netns", "delete", netns], check=True)


@contextmanager
def dockerd_in(netns: str, *options: str, enter: Sequence[str] = (), config: Path | None = None) -> Iterator[Dockerd]:
    """A daemon in the namespace called `netns`, with the busybox image loaded. `options` go to dockerd.

    `enter` is a command that leads there and to more, such as a machine's processes and mounts. `config` is its file.
    """
    # A socket's path may have 107 bytes at most, so the directory stands at a short one.
    root = Path(tempfile.mkdtemp(prefix="t-dockerd-"))
    daemon = Dockerd(f"unix://{root}/docker.sock", netns, root, tuple(enter or ("nsenter", f"--net=/run/netns/{netns}")), options)
    text = config.read_text() if config else "{}"  # not the configuration of the machine's own dockerd
    (root / "daemon.json").write_text(text)
    try:
        daemon.start()
        import_image(["docker", "-H", daemon.url])
        yield daemon
    finally:
        try:
            if daemon.processes[-1].poll() is None:
                daemon.remove_all()
        finally:
            _stop(daemon.processes[-1], root)
            unmount_and_remove(root)


def _command(daemon: Dockerd, options: tuple[str, ...]) -> list[str]:
    root = daemon.root
    # `ip netns exec` would remount /sys and hide the cgroups. When the tests die, dockerd gets a signal and ends.
    words = ["setpriv", "--pdeathsig=TERM", *daemon.enter, "dockerd", "-H", daemon.url]
    words += ["--data-root", f"{root}/data", "--exec-root", f"{root}/exec", "--pidfile", f"{root}/pid"]
    words += ["--config-file", f"{root}/daemon.json", "--storage-driver", "vfs", "--containerd-namespace", daemon.netns]
    return [*words, "--exec-opt", "native.cgroupdriver=cgroupfs", *options]


def _wait_until_up(daemon: Dockerd, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if subprocess.run(["docker", "-H", daemon.url, "version"], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError("dockerd did not start:\n" + (daemon.root / "dockerd.log").read_text()[-4000:])


def import_image(command: list[str]) -> None:
    """Load the image into an engine, by its command line."""
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory, tarfile.open(fileobj=archive, mode="w") as tar:
        make_rootfs(Path(directory) / "rootfs")
        tar.add(Path(directory) / "rootfs", ".")
    words = [*command, "import", "--change", 'CMD ["sleep", "1000"]', "-", IMAGE]
    subprocess.run(words, input=archive.getvalue(), capture_output=True, check=True)


def make_rootfs(path: Path) -> None:
    """A root filesystem with busybox, and a link to it for each of its commands."""
    busybox = shutil.which("busybox")
    assert busybox, "the tests need a static busybox (Debian: busybox-static)"
    for directory in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (path / directory).mkdir(parents=True)
    shutil.copy2(busybox, path / "bin/busybox")
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            (path / "bin" / name).symlink_to("busybox")


def _stop(process: subprocess.Popen[bytes], root: Path) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    kill_what_names(root)


def kill_what_names(root: Path) -> None:
    """End what outlives an engine, and names our directory: a shim of a dockerd that was killed, a conmon of Podman's."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while (pids := _pids_that_name(root)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _pids_that_name(root: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and str(root).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def unmount_and_remove(root: Path) -> None:
    """Remove a directory with all that is mounted in it."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{root}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(root)
