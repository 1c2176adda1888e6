"""The resolv.conf of containers: netctl's file under /run/netctl, and the one in a container of an engine.

The path of a container's own file is resolved inside its root directory and without symbolic links (openat2(2)). Root
of the container may have put any link there. The file is written in place, because an engine mounts the file itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.docker import DockerEngine
from reconciler.kernel.engines.engine import engine_of
from reconciler.kernel.run_directory.private import secure_directory
from reconciler.state.engines import HOLDING
from reconciler.state.ref import container_netns, resolv_path
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


_READ_ONLY = f"mount a file at /{INSIDE} of the container, or write `dns: false` there"


@dataclass(frozen=True, slots=True)
class Inside:
    """The file as a container sees it: `path` on the host if its engine says so, else in the root directory of `pid`."""

    pid: int = 0
    path: Path | None = None

    def read(self) -> str:
        """Its text; "" if there is none. OSError if it is no plain file."""
        try:
            descriptor = self._open(os.O_RDONLY)
        except FileNotFoundError:
            return ""
        try:
            return os.read(descriptor, SIZE_MAX).decode("utf-8", "replace")
        finally:
            os.close(descriptor)

    def write(self, text: str) -> None:
        """Write it in place, and create it if there is none. OSError."""
        descriptor = self._open(os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(descriptor, text.encode(), 0)
            os.ftruncate(descriptor, len(text.encode()))
        finally:
            os.close(descriptor)

    def _open(self, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NONBLOCK
        if self.path:
            found = os.open(self.path, flags | os.O_NOFOLLOW, FILE_MODE)
        else:
            root = os.open(f"/proc/{self.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                found = _open_under(root, flags)
            finally:
                os.close(root)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise OSError(errno.EINVAL, "is no plain file", f"/{INSIDE}")
        return found


def _open_under(root: int, flags: int) -> int:
    """Open the file below a root directory, which no link leads out of (openat2(2))."""
    mode = FILE_MODE if flags & os.O_CREAT else 0
    how = _OpenHow(flags, mode, _NO_MAGICLINKS | _NO_SYMLINKS | _IN_ROOT)
    libc = ctypes.CDLL(None, use_errno=True)
    found = int(libc.syscall(_SYS_OPENAT2, root, INSIDE.encode(), ctypes.byref(how), ctypes.sizeof(how)))
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"/{INSIDE}")
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
        return _lines_of(Inside(pid).read())
    return ()


def write_resolv_confs(context: KernelContext, steps: Collection[ResolvConfWrite]) -> None:
    """Write the files, in each container too that has one of its own. StepError."""
    places = _find_places(context, steps)
    for step in steps:
        text = "".join(f"{line}\n" for line in (WRITTEN, *step.lines))
        path = _path(context, step.container)
        try:
            secure_directory(path.parent.parent)
            path.parent.mkdir(mode=0o755, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(FILE_MODE)
            if inside := places.get((step.runtime, step.engine_name)):
                inside.write(text + _former(inside.read()))
        except OSError as error:
            advice = f"; {_READ_ONLY}" if error.errno == errno.EROFS else ""
            raise StepError(step, f"cannot write {error.filename or path}: {error.strerror}{advice}") from error


def _former(text: str) -> str:
    """What was there before netctl, as lines to keep."""
    lines = text.splitlines()
    if lines[:1] == [WRITTEN]:
        return "".join(f"{line}\n" for line in lines if line.startswith(FORMER))
    return "".join(f"{FORMER}{line}\n" for line in lines)


def delete_resolv_confs(context: KernelContext, steps: Collection[ResolvConfDelete]) -> None:
    """Restore what was there before, in each container that still runs, and delete netctl's file."""
    places = _find_places(context, steps)
    for step in steps:
        if inside := places.get((step.runtime, step.engine_name)):
            with contextlib.suppress(OSError):  # it has just ended, or its root has removed the file
                lines = inside.read().splitlines()
                if lines[:1] == [WRITTEN]:
                    kept = (line.removeprefix(FORMER) for line in lines if line.startswith(FORMER))
                    inside.write("".join(f"{line}\n" for line in kept))
        path = _path(context, step.container)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            path.parent.rmdir()


def _find_places(context: KernelContext, steps: Iterable[ResolvConfWrite | ResolvConfDelete]) -> dict[tuple[str, str], Inside]:
    """The file in each container that a step names, by its engine and its name there; without those that do not run."""
    wanted: dict[str, dict[str, str]] = {}
    for step in steps:
        if step.runtime:
            wanted.setdefault(step.runtime, {})[step.container] = step.engine_name
    places: dict[tuple[str, str], Inside] = {}
    for runtime, names in wanted.items():
        engine = engine_of(context, runtime)
        with contextlib.suppress(HostError):  # an engine that does not run has no container to write in
            if isinstance(engine, DockerEngine) and runtime == HOLDING:
                for name in names.values():
                    places[runtime, name] = Inside(path=engine.find_resolv_conf(name))
                continue
            found = engine.read_containers(names)
            places |= {(runtime, one.engine_name): Inside(one.pid) for one in found if one.pid}
    return {key: inside for key, inside in places.items() if inside.pid or inside.path}


def _path(context: KernelContext, container: str) -> Path:
    return context.run_directory / Path(resolv_path(context.topology, context.host_key, container)).relative_to("/run/netctl")
