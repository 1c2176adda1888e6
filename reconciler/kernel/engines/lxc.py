"""LXC, by its command lines: containers made from a root filesystem or a template, with an empty network namespace.

A container of LXC is a directory with a file `config`; netctl's has another file that names its owner. No service runs.
Each container has a monitor process of its own, whose abstract socket exists only in the network namespace where it was
started. So all commands run in the machine's own namespace, as an administrator's do, also for hosts of the lab.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

from reconciler.errors import HostError
from reconciler.kernel.namespaces import enter, run_in_thread
from reconciler.kernel.run_directory.private import replace_file
from reconciler.state.container_spec import OWN, PARKED
from reconciler.state.grammar import is_label
from reconciler.state.lxc_config import (
    COMMAND_FILE,
    COMMON_CONFIG,
    MARK_FILE,
    TEMPLATE_DIRECTORY,
    Mark,
    init_words,
    is_template,
    move_rootfs,
    needs_command_file,
    parse_mark,
    render_command_file,
    render_config,
    render_mark,
    template_words,
)
from reconciler.state.members import Selector
from reconciler.state.ref import container_netns, hosts_path, netns_path
from reconciler.state.snapshot import ContainerInfo
from reconciler.state.spec_label import network_of, path_label_of
from reconciler.state.steps.containers import ContainerCreate

STOP_TIMEOUT_S = 10
"""The time that a container may take to end before it is killed."""
COMMAND_TIMEOUT_S = 600
"""A template may download its root filesystem."""


class LxcEngine:
    """LXC, for one topology on one host. Threads may share it."""

    def __init__(self, topology: str, host_key: str, directory: str, machine_netns: str) -> None:
        """`directory` holds the containers (lxc.lxcpath); `machine_netns` is the file of the machine's own namespace."""
        self._machine_netns = machine_netns
        self._topology = topology
        self._host_key = host_key
        self._path = Path(directory)

    def close(self) -> None:
        """It has no connection."""

    # --- reading ------------------------------------------------------------------------------------------------------

    def holds_any(self) -> bool:
        """Whether a container here carries the topology's mark, of any host."""
        return any(mark and mark.topology == self._topology for _, mark in self._read_marks())

    def read_containers(
        self,
        existing: Mapping[str, str],
        members: Mapping[str, Selector] | None = None,  # noqa: ARG002  LXC has no labels
    ) -> tuple[ContainerInfo, ...]:
        """The topology's containers on this host, parked ones too, and those of the `existing` that exist."""
        names = {engine_name: container for container, engine_name in existing.items()}
        pids = self._read_pids()
        found = []
        for name, mark in self._read_marks():
            ours = self._is_ours(mark)
            if ours and mark:
                pid, parked = pids.get(name, 0), mark.parked or not mark.complete
                network, share = network_of(mark.joins, mark.name, path_label_of(self._topology, mark.joins))
                info = ContainerInfo("lxc", mark.name, name, mark.spec, pid > 0, pid, existing=False, parked=parked)
                found.append(replace(info, network=network, share=share))
            elif name in names and name in pids:
                found.append(ContainerInfo("lxc", names[name], name, None, pids[name] > 0, pids[name], existing=True))
        return tuple(sorted(found, key=lambda info: (info.container, info.engine_name)))

    def read_foreign(self) -> tuple[tuple[str, str], ...]:
        """Name and state of the containers that are not the topology's, on this host or on another of the lab."""
        marks = dict(self._read_marks())
        pids = self._read_pids()
        foreign = (name for name in pids if (mark := marks.get(name)) is None or mark.topology != self._topology)
        return tuple((name, "running" if pids[name] else "stopped") for name in foreign)

    def _read_marks(self) -> list[tuple[str, Mark | None]]:
        """Every directory here, and its mark."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._path) if entry.is_dir())
        except FileNotFoundError:
            return []
        return [(name, self._read_mark(name)) for name in names]

    def _read_mark(self, name: str) -> Mark | None:
        """The mark of a directory; None if there is none, or if it was copied with the directory."""
        try:
            mark = parse_mark((self._path / name / MARK_FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return mark if mark and name.partition(PARKED)[0] == f"{mark.topology}-{mark.name}" else None

    def _read_pids(self) -> dict[str, int]:
        """Every container of LXC here, with the number of its first process, 0 if it does not run."""
        pids = {}
        for line in self._lxc("ls", "--fancy", "--fancy-format", "NAME,PID").splitlines()[1:]:
            name, _, pid = line.rpartition(" ") if line[-1:] != " " else line.rstrip().rpartition(" ")
            pids[name.strip()] = int(pid) if pid.isdigit() else 0
        return pids

    def _is_ours(self, mark: Mark | None) -> bool:
        return mark is not None and (mark.topology, mark.host) == (self._topology, self._host_key) and is_label(mark.name)

    # --- before an apply ----------------------------------------------------------------------------------------------

    def check(self, steps: Iterable[ContainerCreate]) -> None:
        """HostError that names every missing root filesystem and template."""
        missing = sorted({step.spec.image for step in steps if not self._find_parked(step) and not has_image(step.spec.image)})
        if missing:
            what = f"{len(missing)} images of LXC's are" if len(missing) > 1 else "an image of LXC's is"
            raise HostError(
                f"{what} not on the host: {', '.join(missing)}",
                f"name the directory of a root filesystem, an archive of one, or a template of {TEMPLATE_DIRECTORY}",
            )

    # --- steps --------------------------------------------------------------------------------------------------------

    def create(self, step: ContainerCreate) -> int:
        """Create and start a container in its namespace, or restore its parked twin; the number of its first process."""
        parked = self._find_parked(step)
        if parked:
            self._rename(parked, step.engine_name, parked=False)
        else:
            self._make(step)
        return self.start(step.engine_name)

    def _make(self, step: ContainerCreate) -> None:
        directory = self._path / step.engine_name
        mark = self._read_mark(step.engine_name)
        if self._is_ours(mark) and mark and not mark.complete:
            self._destroy(step.engine_name)
        if directory.exists():
            raise HostError(f"there is a container {step.engine_name} already, which is left alone")
        mark = Mark(self._topology, self._host_key, step.container, step.spec, complete=False, joins=self._joins(step))
        directory.mkdir(mode=0o770, parents=True)
        replace_file(directory / MARK_FILE, render_mark(mark))
        hosts = hosts_path(self._topology, self._host_key, step.owner) if mark.joins else ""
        common = Path(COMMON_CONFIG).exists()
        config = render_config(step.container, step.spec, str(directory), common=common, joins=mark.joins, hosts=hosts)
        if is_template(step.spec.image):
            self._lxc("create", "-n", step.engine_name, "--config", "/dev/null", "-t", *template_words(step.spec.image))
            config = (directory / "config").read_text(encoding="utf-8") + "\n" + config
        else:
            unpack(step.spec.image, directory / "rootfs")
        if needs_command_file(words := init_words(step.spec)):
            replace_file(directory / "rootfs" / COMMAND_FILE, render_command_file(words), mode=0o644)
        replace_file(directory / "config", config)
        replace_file(directory / MARK_FILE, render_mark(replace(mark, complete=True)))

    def start(self, engine_name: str) -> int:
        """Start a container of netctl's; the number of its first process. HostError also if it ends at once."""
        self._check_own(engine_name)
        self._place_rootfs(engine_name)
        self._lxc("start", "-n", engine_name)
        pid = self._lxc("info", "-n", engine_name, "--pid", "--no-humanize", check=False).strip()
        if not pid.isdigit():
            help_text = f"run `lxc-start -P {self._path} -n {engine_name} -F` to read why"
            raise HostError(f"container {engine_name} ended at once", help_text)
        return int(pid)

    def stop(self, engine_name: str) -> None:
        """Stop a container of netctl's; a stopped one is no error."""
        self._check_own(engine_name)
        if self._read_pids().get(engine_name):
            mark = self._read_mark(engine_name)
            timeout_s = mark.spec.stop_timeout if mark and mark.spec else None
            self._lxc("stop", "-n", engine_name, "--timeout", str(STOP_TIMEOUT_S if timeout_s is None else timeout_s))

    def park(self, engine_name: str) -> None:
        """Stop a container of netctl's and rename it, so that its name is free."""
        self.stop(engine_name)
        # A rollback parks the container that replaced a parked one.
        names = (f"{engine_name}{PARKED}{number}" for number in count(1))
        self._rename(engine_name, next(name for name in names if not (self._path / name).exists()), parked=True)

    def remove_parked(self) -> None:
        """Delete all containers of netctl's that are parked or incomplete."""
        for name, mark in self._read_marks():
            if mark and self._is_ours(mark) and (mark.parked or not mark.complete):
                self._destroy(name)

    def _find_parked(self, step: ContainerCreate) -> str:
        """The parked container of the same name, specification and network; "" if there is none."""
        wanted = step.container, step.spec, self._joins(step)
        for name, mark in self._read_marks():
            if mark and self._is_ours(mark) and mark.parked and (mark.name, mark.spec, mark.joins) == wanted:
                return name
        return ""

    def _joins(self, step: ContainerCreate) -> str:
        """The path of the namespace that a container joins; "" for one of its own."""
        return "" if step.network == OWN else netns_path(self._topology, container_netns(step.owner))

    def _check_own(self, engine_name: str) -> None:
        """HostError if a container is foreign: it is never changed."""
        if not self._is_ours(self._read_mark(engine_name)):
            raise HostError(f"container {engine_name} is not one of netctl's, so netctl does not change it")

    def _rename(self, engine_name: str, new_name: str, *, parked: bool) -> None:
        """Write the new name to the mark, then rename the directory; LXC's own renaming would copy the root filesystem."""
        mark = self._read_mark(engine_name)
        if mark is None or (self._path / new_name).exists():
            raise HostError(f"cannot rename container {engine_name} to {new_name}", f"look at {self._path}")
        replace_file(self._path / engine_name / MARK_FILE, render_mark(replace(mark, parked=parked)))
        (self._path / engine_name).rename(self._path / new_name)
        self._place_rootfs(new_name)

    def _place_rootfs(self, name: str) -> None:
        """Correct the root filesystem's path in the config: a kill may have left the one before a renaming."""
        config = self._path / name / "config"
        before = config.read_text(encoding="utf-8")
        after = move_rootfs(before, str(self._path / name))
        if after != before:
            replace_file(config, after)

    def _destroy(self, name: str) -> None:
        if self._read_pids().get(name):
            self._lxc("stop", "-n", name, "--kill")
        shutil.rmtree(self._path / name)

    # --- commands -----------------------------------------------------------------------------------------------------

    def _lxc(self, verb: str, *words: str, check: bool = True) -> str:
        """The output of a command; HostError with its own words if it fails."""
        command = [f"lxc-{verb}", "-P", str(self._path), *words]
        if shutil.which(command[0]) is None:
            raise HostError("LXC is not on the host", "apt-get install lxc")
        done = run_in_thread(lambda: run_in(self._machine_netns, command))
        if check and done.returncode:
            raise HostError(f"{command[0]} fails: {first_words(done).rpartition(': ')[2]}", shlex.join(command))
        return done.stdout


def run_in(netns: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in the network namespace at that path; for a thread that ends afterwards."""
    enter(netns)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL, check=False
    )


def first_words(done: subprocess.CompletedProcess[str]) -> str:
    """The first line of a failed command's message; its status without a message."""
    return next((line for line in done.stderr.splitlines() if line.strip()), f"status {done.returncode}")


def has_image(image: str) -> bool:
    """Whether a root filesystem or a template exists."""
    return Path(f"{TEMPLATE_DIRECTORY}/lxc-{template_words(image)[0]}" if is_template(image) else image).exists()


def unpack(image: str, rootfs: Path) -> None:
    """Copy a root filesystem, or unpack its archive: each container has its own. HostError with the command's words."""
    rootfs.mkdir()
    if Path(image).is_dir():
        command = ["cp", "--archive", "--reflink=auto", f"{image}/.", str(rootfs)]
    else:
        command = ["tar", "--extract", "--numeric-owner", "--file", image, "--directory", str(rootfs)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise HostError(f"cannot copy {image}: {first_words(done)}", shlex.join(command))
