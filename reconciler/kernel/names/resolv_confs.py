"""The resolv.conf of containers: netctl's file under /run/netctl, and the one in a container of an engine.

The path of a container's own file is resolved inside its root directory and without symbolic links (openat2(2)). Root
of the container may have put any link there. The file is written in place, because an engine mounts the file itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.engine import engine_of, read_holders
from reconciler.kernel.run_directory.private import secure_directory
from reconciler.state.engines import HOLDING
from reconciler.state.ref import container_netns, container_of, resolv_path
from reconciler.state.snapshot import ContainerInfo, HolderInfo, ResolvConfInfo
from reconciler.state.steps.names import FORMER, WRITTEN, ResolvConfDelete, ResolvConfWrite
from reconciler.state.steps.step import StepError

FILE_MODE = 0o644
SIZE_MAX = 1 << 16
INSIDE = "etc/resolv.conf"
_SYS_OPENAT2 = 437  # the same number on every architecture (linux/unistd.h)
_NO_MAGICLINKS, _NO_SYMLINKS, _IN_ROOT = 0x02, 0x04, 0x10  # RESOLVE_ in linux/openat2.h


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _open_inside(pid: int, flags: int) -> int:
    """A descriptor of the resolv.conf in the root directory of a process. OSError if it is no plain file."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(flags | os.O_CLOEXEC | os.O_NONBLOCK, 0, _NO_MAGICLINKS | _NO_SYMLINKS | _IN_ROOT)
        libc = ctypes.CDLL(None, use_errno=True)
        found = int(libc.syscall(_SYS_OPENAT2, root, INSIDE.encode(), ctypes.byref(how), ctypes.sizeof(how)))
        if found < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"/{INSIDE}")
    finally:
        os.close(root)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(0, "is no plain file", f"/{INSIDE}")
    return found


def read_resolv_confs(
    context: KernelContext, containers: Iterable[ContainerInfo], holders: Mapping[str, HolderInfo]
) -> tuple[ResolvConfInfo, ...]:
    """The files of this host's containers; without lines if the container itself has others."""
    directory = _path(context, "any").parent
    if not directory.is_dir():
        return ()
    engines = {container_netns(one.container): (one.runtime, one.engine_name, one.pid) for one in containers if not one.parked}
    engines |= {netns: (one.runtime, one.engine_name, one.pid) for netns, one in holders.items()}
    found = []
    for path in sorted(directory.iterdir()):
        netns = container_netns(path.name)
        runtime, engine_name, pid = engines.get(netns, ("", "", 0))
        lines = _lines_of(path.read_text(encoding="utf-8", errors="replace"))
        if pid and _read_inside(pid) != lines:
            lines = ()
        found.append(ResolvConfInfo(netns, lines, runtime, engine_name))
    return tuple(found)


def _lines_of(text: str) -> tuple[str, ...]:
    """The lines of netctl's in a file; none if it has not written it."""
    first, *rest = text.splitlines() or [""]
    return tuple(line for line in rest if not line.startswith(FORMER)) if first == WRITTEN else ()


def _read_inside(pid: int) -> tuple[str, ...]:
    with contextlib.suppress(OSError):
        return _lines_of(_read_text(pid))
    return ()


def _read_text(pid: int) -> str:
    descriptor = _open_inside(pid, os.O_RDONLY)
    try:
        return os.read(descriptor, SIZE_MAX).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def _write_inside(pid: int, text: str) -> None:
    descriptor = _open_inside(pid, os.O_WRONLY)
    try:
        os.pwrite(descriptor, text.encode(), 0)
        os.ftruncate(descriptor, len(text.encode()))
    finally:
        os.close(descriptor)


def write_resolv_confs(context: KernelContext, steps: Collection[ResolvConfWrite]) -> None:
    """Write the files, in each container too that has one of its own. StepError."""
    pids = _read_pids(context, steps)
    for step in steps:
        text = "".join(f"{line}\n" for line in (WRITTEN, *step.lines))
        path = _path(context, step.container)
        try:
            secure_directory(path.parent.parent)
            path.parent.mkdir(mode=0o755, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(FILE_MODE)
            if pid := pids.get((step.runtime, step.engine_name)):
                _write_inside(pid, text + _former(_read_text(pid)))
        except OSError as error:
            raise StepError(step, f"cannot write {error.filename or path}: {error.strerror}") from error


def _former(text: str) -> str:
    """What was there before netctl, as lines to keep."""
    lines = text.splitlines()
    if lines[:1] == [WRITTEN]:
        return "".join(f"{line}\n" for line in lines if line.startswith(FORMER))
    return "".join(f"{FORMER}{line}\n" for line in lines)


def delete_resolv_confs(context: KernelContext, steps: Collection[ResolvConfDelete]) -> None:
    """Restore what was there before, in each container that still runs, and delete netctl's file."""
    pids = _read_pids(context, steps)
    for step in steps:
        if pid := pids.get((step.runtime, step.engine_name)):
            with contextlib.suppress(OSError):  # it has just ended, or its root has removed the file
                lines = _read_text(pid).splitlines()
                if lines[:1] == [WRITTEN]:
                    kept = (line.removeprefix(FORMER) for line in lines if line.startswith(FORMER))
                    _write_inside(pid, "".join(f"{line}\n" for line in kept))
        path = _path(context, step.container)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            path.parent.rmdir()


def _read_pids(context: KernelContext, steps: Iterable[ResolvConfWrite | ResolvConfDelete]) -> dict[tuple[str, str], int]:
    """The first process of each container that a step names, by its engine and its name there."""
    wanted: dict[str, dict[str, str]] = {}
    for step in steps:
        if step.runtime:
            wanted.setdefault(step.runtime, {})[step.container] = step.engine_name
    pids: dict[tuple[str, str], int] = {}
    for runtime, names in wanted.items():
        with contextlib.suppress(HostError):  # an engine that does not run has no container to write in
            found = engine_of(context, runtime).read_containers(names)
            pids |= {(runtime, one.engine_name): one.pid for one in found}
            if runtime == HOLDING:
                pids |= {(runtime, one.engine_name): one.pid for one in read_holders(context, {runtime: names})}
    return pids


def path_for(topology: str, host_key: str, netns: str) -> str:
    """The file of a namespace's container."""
    return resolv_path(topology, host_key, container_of(netns))


def _path(context: KernelContext, container: str) -> Path:
    return context.run_directory / Path(resolv_path(context.topology, context.host_key, container)).relative_to("/run/netctl")
