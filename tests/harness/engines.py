"""Real engines for tests: Podman's service in a namespace, LXC in a directory, or all three in a machine of the test's own.

Docker's alone is in `dockerd`. What is started is ended, and what is made removed, also on failure. Each has an image in which
busybox is all there is.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.harness.dockerd import (
    IMAGE,
    Dockerd,
    dockerd_in,
    import_image,
    kill_what_names,
    make_rootfs,
    running_dockerd,
    unmount_and_remove,
)
from tests.harness.machine import Machine

START_TIMEOUT_S = 30.0
PODMAN_CONFIG = """\
[containers]
default_ulimits = []
cgroupns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"""
"""No higher limits than the tests have, no systemd, which may be missing, and locks outside of the machine's /dev/shm."""
PODMAN = ("podman", "--storage-driver", "vfs")
OTHER_RUNTIME = 'runtime = "runc"\n'
"""crun does without systemd, but not without its kind of cgroups. With controllers of the first version and a hierarchy of the
second one beside them it ends with "cgroups in hybrid mode not supported". The runc that dockerd brings along takes either."""


@dataclass(frozen=True)
class Engine:
    """An engine as the tests need it: `url` goes into the file, `image` is there, and its own commands are run by hand."""

    runtime: str
    url: str
    image: str
    run: Callable[..., str]
    """A container of another program: `run(name)` makes and starts one without a network; Docker and Podman take options, too."""
    restart: Callable[[str], object]
    stop: Callable[[str], object]
    exec: Callable[..., str]
    """The output of a command in a container."""
    names: Callable[[], list[str]]
    """Of all containers, running or not."""
    identity: Callable[[str], str]
    """Something that a container keeps through a restart, and another of its name has not."""
    pid: Callable[[str], str]
    """The first process of a container, as the engine's namespace numbers it."""
    remove: Callable[[str], object]


def _output(*command: str) -> str:
    """What a command prints, which must not fail."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout.strip()


# --- Docker -----------------------------------------------------------------------------------------------------------


def engine_of_docker(daemon: Dockerd) -> Engine:
    """A dockerd that runs."""
    return _docker_like("docker", daemon.url, daemon.docker)


def _docker_like(runtime: str, url: str, command: Callable[..., str]) -> Engine:
    return Engine(
        runtime,
        url,
        IMAGE,
        run=lambda name, *options: command("run", "--detach", "--network", "none", "--name", name, *options, IMAGE),
        restart=lambda name: command("restart", "--time", "0", name),
        stop=lambda name: command("stop", "--time", "0", name),
        exec=lambda name, *words: command("exec", name, *words),
        names=lambda: command("ps", "--all", "--format", "{{.Names}}").split(),
        identity=lambda name: command("inspect", "--format", "{{.Id}}", name),
        pid=lambda name: command("inspect", "--format", "{{.State.Pid}}", name),
        remove=lambda name: command("rm", "--force", name),
    )


@contextmanager
def running_docker() -> Iterator[Engine]:
    """A dockerd in a namespace of its own."""
    with running_dockerd() as daemon:
        yield engine_of_docker(daemon)


# --- Podman -----------------------------------------------------------------------------------------------------------


@contextmanager
def running_podman() -> Iterator[Engine]:
    """Podman's service, in a namespace of its own."""
    netns = f"t-podman-{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        with podman_in(("nsenter", f"--net=/run/netns/{netns}")) as engine:
            yield engine
    finally:
        subprocess.run(["ip", "netns", "delete", netns], check=True)


@contextmanager
def podman_in(enter: Sequence[str]) -> Iterator[Engine]:
    """Podman's service, wherever the command `enter` leads."""
    root = Path(tempfile.mkdtemp(prefix="t-podman-"))
    env = {**os.environ, "CONTAINERS_CONF": str(_write_podman_config(root))}
    podman = [*enter, *PODMAN, "--root", f"{root}/data", "--runroot", f"{root}/run", "--tmpdir", f"{root}/tmp"]
    url = f"unix://{root}/podman.sock"
    log = (root / "log").open("wb")
    process = None
    try:
        service = ["setpriv", "--pdeathsig=TERM", *podman, "system", "service", "--time", "0", url]
        process = subprocess.Popen(service, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        _wait_for(root / "podman.sock", process, root / "log")
        client = ["podman", "--remote", "--url", url]
        import_image(client)
        yield _docker_like("podman", url, lambda *words: _output(*client, *words))
    finally:
        if process:
            subprocess.run([*podman, "rm", "--all", "--force", "--time", "0"], env=env, capture_output=True, check=False)
            process.terminate()
            process.wait(10)
        log.close()
        kill_what_names(root)
        unmount_and_remove(root)


def _wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if socket.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"the engine did not start:\n{log.read_text()[-4000:]}")


def _write_podman_config(root: Path) -> Path:
    """Podman's own default of an OCI runtime where it works on this machine, else runc."""
    path = root / "containers.conf"
    path.write_text(PODMAN_CONFIG + ("" if is_default_runtime_good() else OTHER_RUNTIME))
    return path


@cache
def is_default_runtime_good() -> bool:
    """Whether a container starts with the OCI runtime that Podman takes by itself; any other fault is the tests' own to see."""
    root = Path(tempfile.mkdtemp(prefix="t-podman-"))
    try:
        (root / "containers.conf").write_text(PODMAN_CONFIG)
        make_rootfs(root / "rootfs")
        words = [*PODMAN, "--root", f"{root}/data", "--runroot", f"{root}/run", "--tmpdir", f"{root}/tmp"]
        words += ["run", "--rm", "--network", "none", "--rootfs", f"{root}/rootfs", "true"]
        env = {**os.environ, "CONTAINERS_CONF": f"{root}/containers.conf"}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
        return not (done.returncode and "OCI runtime error" in done.stderr)
    finally:
        kill_what_names(root)
        unmount_and_remove(root)


# --- LXC --------------------------------------------------------------------------------------------------------------


@contextmanager
def running_lxc(enter: Sequence[str] = ()) -> Iterator[Engine]:
    """A directory of LXC's, with a root filesystem beside it; its containers run where the command `enter` leads."""
    root = Path(tempfile.mkdtemp(prefix="t-lxc-"))
    path, rootfs = root / "containers", root / "rootfs"
    path.mkdir()
    make_rootfs(rootfs)

    def lxc(verb: str, name: str, *words: str) -> str:
        return _output(*enter, f"lxc-{verb}", "-P", str(path), "-n", name, *words)

    def run(name: str) -> str:
        (path / name).mkdir()
        shutil.copytree(rootfs, path / name / "rootfs", symlinks=True)
        lines = ["lxc.include = /usr/share/lxc/config/common.conf", "lxc.net.0.type = empty", "lxc.init.cmd = /bin/sleep 1000"]
        lines += [f"lxc.uts.name = {name}", f"lxc.rootfs.path = dir:{path}/{name}/rootfs"]
        (path / name / "config").write_text("\n".join(lines) + "\n")
        return lxc("start", name)

    def stop(name: str) -> None:
        lxc("stop", name, "--kill")

    def restart(name: str) -> None:
        stop(name)
        lxc("start", name)

    def identity(name: str) -> str:
        return str((path / name / "rootfs").stat().st_ino)

    def remove(name: str) -> None:
        stop(name)
        shutil.rmtree(path / name)

    try:
        yield Engine(
            "lxc", str(path), str(rootfs), run, restart, stop,
            exec=lambda name, *words: lxc("attach", name, "--clear-env", "--", *words),
            names=lambda: sorted(one.parent.name for one in path.glob("*/config")),
            identity=identity,
            pid=lambda name: lxc("info", name, "-pH"),
            remove=remove,
        )  # fmt: skip
    finally:
        for line in _output(*enter, "lxc-ls", "-P", str(path), "-1", "--running").splitlines():
            lxc("stop", line.strip(), "--kill")
        unmount_and_remove(root)
        shutil.rmtree(f"/run/lxc/lock{root}", ignore_errors=True)  # LXC's locks (lxclock.c)


RUNNING = {"docker": running_docker, "podman": running_podman, "lxc": running_lxc}


# --- all of them in one place -----------------------------------------------------------------------------------------


@contextmanager
def running_all(machine: Machine) -> Iterator[dict[str, Engine]]:
    """Docker's daemon, Podman's service and LXC on a machine of the test's own, where they do as on any host."""
    enter = machine.entering()
    name = f"t-dockerd-{secrets.token_hex(3)}"
    with dockerd_in(name, enter=enter) as daemon, podman_in(enter) as podman, running_lxc(enter) as lxc:
        yield {"docker": engine_of_docker(daemon), "podman": podman, "lxc": lxc}
