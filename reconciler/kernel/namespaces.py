"""Network namespaces: finding, entering, creating and deleting them. Every module of `kernel/` that needs one uses this.

A short-lived thread enters a namespace, never a fork. The call setns(2) moves one thread only, and a socket stays in
the namespace where it was created. A thread costs 50 µs, a process 20 ms. The kernel identifies a namespace by the
inode of its file on nsfs. This shows that a container was restarted in between.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from reconciler.errors import HostError, help_for
from reconciler.kernel.context import KernelContext
from reconciler.kernel.netfilter.table_memo import TableMemo
from reconciler.kernel.netlink.encode import encode_loopback_up
from reconciler.kernel.netlink.memo import DumpMemo
from reconciler.kernel.netlink.rtnetlink import RouteSocket
from reconciler.kernel.run_directory.flock import lock_among_root
from reconciler.state.naming import Alias
from reconciler.state.ref import HOST, container_of, is_container_netns, netns_path_name, parse_path_name
from reconciler.state.steps.namespaces import PROMPT, SILENT, NetnsAdd, NetnsDelete
from reconciler.state.steps.step import StepError

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # linux/sched.h
MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 0x100000  # linux/mount.h
MNT_DETACH = 2  # umount2(2)

MAKERS = 2
"""Threads that create namespaces: the kernel takes a millisecond for each, and creates two at a time.

A third thread would wait for its locks.
"""

LEAST_DESCRIPTORS = 48
"""The descriptors that the process needs besides the sockets."""
SPARE_DESCRIPTORS = 400
"""Descriptors to spare besides the sockets: namespaces for a message, files, the controller's streams."""

_libc = ctypes.CDLL(None, use_errno=True)  # os.setns and os.unshare came with Python 3.12


def _call(name: str, *arguments: object) -> None:
    """Call a function of libc that returns 0; OSError if it does not."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def run_in_thread(work: Callable[[], T]) -> T:
    """The result of `work` in a new thread, which may enter another namespace; its exceptions are raised here."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as failure:  # noqa: BLE001  raised again in the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def enter(path: str) -> None:
    """Move the calling thread into the namespace; for threads that end afterwards, and for a process at its very start."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


def leave_for_new() -> None:
    """Move the calling thread into a new namespace without a name, which lives as long as a thread or a descriptor is in it.

    HostError if the kernel creates none.
    """
    try:
        _call("unshare", CLONE_NEWNET)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # namespaces(7): /proc/sys/user has a limit of each type
            help_text = "raise the limit: sysctl -w user.max_net_namespaces=NUMBER; list the existing ones with lsns -t net"
            raise HostError("cannot create a network namespace: user.max_net_namespaces is reached", help_text) from error
        help_text = help_for(error) or "netctl needs a kernel with CONFIG_NET_NS"
        raise HostError(f"cannot create a network namespace: {error.strerror}", help_text) from error


class Namespaces:
    """The namespaces of one host by their names (`state.ref`), and an open route socket in each.

    A socket keeps its namespace alive, so `remove` and `close` close it. Two threads must not use it at once.
    """

    def __init__(self, context: KernelContext) -> None:
        """It opens nothing before it is needed."""
        self._context = context
        self._pids: dict[str, int] = {}
        self._sockets: dict[str, tuple[tuple[int, int], RouteSocket]] = {}
        self._memos: dict[str, DumpMemo] | None = None
        self.tables: TableMemo | None = None
        """The same of nftables."""

    @property
    def context(self) -> KernelContext:
        """The context of the namespaces."""
        return self._context

    def remember_dumps(self) -> None:
        """From here on, parse only what has changed since the last reading: for a process that reads again and again."""
        self._memos, self.tables = {}, TableMemo()

    def set_pids(self, pids: Mapping[str, int]) -> None:
        """The first process of each engine container that runs in a namespace of its own, by its name in the topology."""
        self._pids = dict(pids)

    def add_pids(self, pids: Mapping[str, int]) -> None:
        """The same, for containers that were started since; the others stay known."""
        self._pids.update(pids)

    def path(self, netns: str) -> str:
        """The file that represents the namespace; it may not exist."""
        if netns == HOST:
            return self._context.own_netns
        if pid := self._pids.get(container_of(netns), 0):
            return f"/proc/{pid}/ns/net"
        # Thousands of times in a reading, so it is joined as text.
        return f"{self._context.netns_directory}/{netns_path_name(self._context.topology, netns)}"

    def identity(self, netns: str) -> tuple[int, int]:
        """Device and inode of the namespace: equal as long as it is the same namespace. HostError if it does not exist."""
        try:
            status = os.stat(self.path(netns))
        except OSError as error:
            raise HostError(f"no network namespace for {netns or 'the host'}: {self.path(netns)}: {error.strerror}") from error
        return status.st_dev, status.st_ino

    def open(self, netns: str) -> int:
        """A descriptor of the namespace, for the caller to close. HostError if it does not exist."""
        self.identity(netns)
        return os.open(self.path(netns), os.O_RDONLY | os.O_CLOEXEC)

    def run(self, netns: str, work: Callable[[], T]) -> T:
        """The result of `work` inside the namespace, in a thread of its own. Sockets that `work` opens stay there."""
        self.identity(netns)

        def body() -> T:
            self._enter(netns)
            return work()

        return run_in_thread(body)

    def socket(self, netns: str) -> RouteSocket:
        """A route socket in the namespace as it is now: a restarted container has another one than before."""
        identity = self.identity(netns)
        known, route_socket = self._sockets.get(netns, (None, None))
        if route_socket is None or known != identity:
            return self.open_sockets((netns,))[netns]
        return route_socket

    def open_sockets(self, names: Iterable[str]) -> dict[str, RouteSocket]:
        """Route sockets in many namespaces by one thread (11 µs each). Open and valid ones are reused."""
        wanted = {name: self.identity(name) for name in names}
        stale = [name for name, identity in wanted.items() if self._sockets.get(name, (None,))[0] != identity]
        for name in stale:
            self.forget(name)
        _allow_descriptors(len(wanted))

        def body() -> None:
            for name in stale:
                self._enter(name)
                self._sockets[name] = (wanted[name], self._new_socket(name))

        if stale:
            run_in_thread(body)
        return {name: self._sockets[name][1] for name in wanted}

    def _new_socket(self, netns: str) -> RouteSocket:
        """A route socket in the namespace of the calling thread, which is this one."""
        memo = None if self._memos is None else self._memos.setdefault(netns, DumpMemo())
        return RouteSocket(restless=is_container_netns(netns), memo=memo)

    def _enter(self, netns: str) -> None:
        """Move the calling thread there. HostError if that is no namespace, or no longer one."""
        try:
            enter(self.path(netns))
        except OSError as error:
            where = f"the network namespace of {netns or 'the host'}"
            raise HostError(f"cannot enter {where}: {self.path(netns)}: {error.strerror}", help_for(error)) from error

    def forget(self, netns: str) -> None:
        """Close the open files of the namespace."""
        _, route_socket = self._sockets.pop(netns, (None, None))
        if route_socket:
            route_socket.close()

    def close(self) -> None:
        """Close all sockets."""
        if self._memos is not None:
            self._memos = {name: memo for name, memo in self._memos.items() if name in self._sockets}
        for name in tuple(self._sockets):
            self.forget(name)

    def read_mounted(self) -> tuple[frozenset[str], frozenset[str]]:
        """The names of the topology's namespaces under /run/netns, and of its files there that are no namespaces.

        A kill between a file's creation and the mount leaves such a file. All are the topology's own by their names,
        but they may be another host's: the lab's hosts share the directory (see `snapshot.choose_own`). A directory
        or a symbolic link is neither: netctl makes none.
        """
        mounted: set[str] = set()
        empty: set[str] = set()
        try:
            device = os.stat(self._context.netns_directory).st_dev
            entries = list(os.scandir(self._context.netns_directory))
        except FileNotFoundError:
            return frozenset(), frozenset()
        for entry in entries:
            name = parse_path_name(self._context.topology, entry.name)
            if name and entry.is_file(follow_symlinks=False):  # what is below a mount is a file, too
                # `os.stat` and not `entry.stat`: scandir returns the file beneath the mount.
                is_mounted = os.stat(entry.path).st_dev != device
                (mounted if is_mounted else empty).add(name)
        return frozenset(mounted), frozenset(empty)

    def add(self, steps: Iterable[NetnsAdd]) -> None:
        """Create namespaces, complete before they are visible: the mount is last. StepError if one cannot be created.

        The alias of `lo` names the host of each, because the hosts of a lab share /run/netns.
        """
        steps = tuple(steps)
        if not steps:
            return
        for step in steps:
            self._pids.pop(container_of(step.netns), None)  # it now has a file
        _allow_descriptors(len(steps) + len(self._sockets))
        with _locked(self._context.netns_directory) as directory:
            _share(directory)
            with ThreadPoolExecutor(MAKERS) as pool:  # its threads end with it, as they must: they have left their namespace
                list(pool.map(self._add_each, [part for first in range(MAKERS) if (part := steps[first::MAKERS])]))

    def check_free(self, netns: str) -> None:
        """HostError if something other than a file has the name that a new namespace needs."""
        path = self._context.netns_directory / netns_path_name(self._context.topology, netns)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise HostError(f"cannot create the namespace {path}: this name is taken", f"look at it: ls -ld {path}")

    def remove_stale_files(self) -> None:
        """Delete files that kills left in /run/netns: those of the topology's that are no namespaces."""
        if not self.read_mounted()[1]:
            return
        with _locked(self._context.netns_directory) as directory:  # none of them can be mounted meanwhile
            for name in self.read_mounted()[1]:
                (directory / netns_path_name(self._context.topology, name)).unlink(missing_ok=True)

    def _add_each(self, steps: Iterable[NetnsAdd]) -> None:
        """Create namespaces in a thread that ends afterwards. No other thread uses the data of the same namespace."""
        owner = str(Alias(self._context.topology, "host", self._context.host_key))
        for step in steps:
            path = self._context.netns_directory / netns_path_name(self._context.topology, step.netns)
            if _is_namespace(path):
                remedy = f"if it is unused: ip netns delete {path.name}"
                raise StepError(step, f"the namespace {path.name} exists already; {remedy}")
            self.forget(step.netns)
            try:
                leave_for_new()
                for key, value in PROMPT if step.ipv6 else SILENT:
                    _write_if_there(f"/proc/sys/{key}", value)
                status = os.stat("/proc/thread-self/ns/net")
                opened = self._new_socket(step.netns)
                self._sockets[step.netns] = ((status.st_dev, status.st_ino), opened)
                self._sockets[step.netns][1].request([encode_loopback_up(owner)])
                _mount(path)
            except OSError as error:
                self.forget(step.netns)
                raise StepError(step, f"cannot create the namespace {path}: {error.strerror}") from error

    def remove(self, steps: Iterable[NetnsDelete]) -> None:
        """Unmount and delete namespaces; a missing one is no error. StepError if one cannot be deleted."""
        for step in steps:
            path = self._context.netns_directory / netns_path_name(self._context.topology, step.netns)
            self.forget(step.netns)
            try:
                _unmount(path)
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StepError(step, f"cannot delete the namespace {path}: {error.strerror}") from error


def _allow_descriptors(count: int) -> None:
    """Raise the limit of open files if so many sockets need it (getrlimit(2)); a process of root may use the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and count + SPARE_DESCRIPTORS > soft:
        wanted = count + SPARE_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, count + SPARE_DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        if wanted < count + LEAST_DESCRIPTORS:
            needed = count + LEAST_DESCRIPTORS
            raise HostError(f"cannot open {needed} files at once: the limit is {hard}", f"raise it: ulimit -n {needed}")


@contextmanager
def _locked(directory: Path) -> Iterator[Path]:
    """The directory, created if missing and locked as ip-netns(8) does it: two concurrent mounts of it would hide files."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lock_among_root(descriptor)  # every user can open the directory
        yield directory
    finally:
        os.close(descriptor)


def _share(directory: Path) -> None:
    """Make the directory a shared mount, as ip-netns(8) does, so that an unmount here applies in every mount namespace."""
    target = os.fsencode(directory)
    try:
        _call("mount", b"", target, b"none", MS_SHARED | MS_REC, None)
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: it is no mount point yet
            raise HostError(f"cannot make {directory} a shared mount: {error.strerror}", help_for(error)) from error
        _call("mount", target, target, b"none", MS_BIND | MS_REC, None)
        _call("mount", b"", target, b"none", MS_SHARED | MS_REC, None)


def _is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted there; a plain file is the rest of a kill."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def _mount(path: Path) -> None:
    """Mount the calling thread's namespace at `path`, where at most a file exists that a kill left."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444))
    _call("mount", b"/proc/thread-self/ns/net", os.fsencode(path), b"none", MS_BIND, None)


def _unmount(path: Path) -> None:
    """Remove every mount at `path`; none is no error (EINVAL: a plain file; ENOENT: nothing)."""
    while _libc.umount2(os.fsencode(path), MNT_DETACH) == 0:
        pass
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOENT):
        raise OSError(number, os.strerror(number))


def _write_if_there(path: str, value: str) -> None:
    """Write a sysctl of the calling thread's namespace; a kernel without IPv6 has no such file."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
