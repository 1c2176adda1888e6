"""Changes of files and directories (inotify(7)), kernel settings among them.

A write to a file of /proc/sys is an event if it was made through this mount of /proc (fsnotify_modify in fs/read_write.c). So
a setting that an administrator changes is a hint; one that the kernel changes itself is not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping

from reconciler.kernel.events.source import Cause
from reconciler.kernel.namespaces import enter, run_in_thread
from reconciler.kernel.settings.sysctl import sysctl_path

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80  # linux/inotify.h
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IN_Q_OVERFLOW = 0x4000
CONTENT = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
EVENT = struct.Struct("=iIII")  # watch, mask, cookie, length of the name
READ_BYTES = 1 << 16
READS_MAX = 256
"""Of one `drain`."""

_libc = ctypes.CDLL(None, use_errno=True)


class FileEvents:
    """An inotify instance. `names` limits the events of a directory to these entries; empty means all."""

    def __init__(self, cause: Cause) -> None:
        """Nothing is watched yet. OSError if the user's limit of instances is reached."""
        self.cause = cause
        self._names: dict[int, frozenset[str]] = {}
        self._descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "inotify")

    def watch(self, path: str, mask: int = CONTENT, names: Collection[str] = ()) -> None:
        """Watch a directory. OSError if it is not there, or the user's limit of watches is reached."""
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask)
        if number < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
        self._names[number] = frozenset(names) | self._names.get(number, frozenset())  # one directory has one number

    def fileno(self) -> int:
        """The instance's descriptor."""
        return self._descriptor

    def drain(self) -> bool:
        """Take all events; whether one of them is of an entry that is watched."""
        found = False
        for _ in range(READS_MAX):
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                break
            found = found or any(self._is_wanted(*event) for event in parse_events(data))
        return found

    def _is_wanted(self, watch: int, mask: int, name: str) -> bool:
        names = self._names.get(watch, frozenset())
        return not names or name in names or bool(mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF))

    def close(self) -> None:
        """Close the instance, and with it all watches."""
        os.close(self._descriptor)


def parse_events(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Watch, mask and name of each event; the name is that of an entry of the watched directory, or ""."""
    offset = 0
    while offset + EVENT.size <= len(data):
        watch, mask, _, length = EVENT.unpack_from(data, offset)
        offset += EVENT.size
        yield watch, mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
        offset += length


def open_file_events(path: str, cause: Cause = Cause.FILE) -> FileEvents:
    """The changes of one file. Its directory is watched, because editors replace files; with a link, that of its target, too."""
    events = FileEvents(cause)
    try:
        for each in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
            # Kubernetes and others exchange a link to the directory that holds the file. Its owner and mode decide, too.
            events.watch(os.path.dirname(each), CONTENT | IN_ATTRIB, (os.path.basename(each), "..data"))
    except OSError:
        events.close()
        raise
    return events


def open_directory_events(path: str, cause: Cause, names: Collection[str] = ()) -> FileEvents:
    """The changes of a directory's entries."""
    events = FileEvents(cause)
    try:
        events.watch(path, names=names)
    except OSError:
        events.close()
        raise
    return events


def open_setting_events(keys: Mapping[str, Iterable[str]]) -> FileEvents:
    """Writes to kernel settings: keys by the path of the namespace. One thread enters them all; a missing file is left out."""
    events = FileEvents(Cause.SETTING)

    def body() -> None:
        for path, wanted in keys.items():
            by_directory: dict[str, list[str]] = {}
            for key in wanted:
                directory, name = os.path.split(sysctl_path(key))
                by_directory.setdefault(directory, []).append(name)
            with contextlib.suppress(FileNotFoundError):  # a namespace that has just gone
                enter(path)
                for directory, names in by_directory.items():
                    with contextlib.suppress(FileNotFoundError):
                        events.watch(directory, IN_MODIFY, names)

    try:
        run_in_thread(body)
    except OSError:
        events.close()
        raise
    return events
