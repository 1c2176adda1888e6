"""The first program on an ssh host: it becomes root, receives the worker's code, checks it, and becomes the worker.

It runs on the remote host, which has nothing of this package yet: `fleet.ssh` sends this file's text. So it imports
only what comes with Python. Its syntax is that of Python 3.6, so that an older one can report that it is too old. The
remote command line is LOADER, a constant, which reads one line of Python from standard input. No name from a topology
is ever part of it.

The code is in /run/netctl/.worker/<hash>/, which only root can read. The name is the hash of its contents, which is
checked before each use. A process that uses a directory holds a shared lock on it, so no other process deletes it under
a worker.

It prints on standard output, each on a line that begins with `netctl ` (a login shell may print before):

    {"say": "again"}    send this program once more: the next process to read it is root
    {"say": "code"}     send the code: its length in ten digits, then a zip file
    {"say": "ready"}    from here on the worker speaks (`worker.channel`)
    {"say": "error", "message": …, "help": …}
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
from typing import NoReturn

RUN = "/run/netctl"
CODE = RUN + "/.worker"  # no topology and no host has a name that begins with a dot
SILENCE_S = 60
"""A controller that sends nothing for this time is lost. Its connection may look open for hours (a lost network)."""
LOADER = f'import io;exec("import signal;signal.alarm({SILENCE_S})");exec(io.FileIO(0,closefd=False).readline())'
LIBRARY = "libnftables.so.1"
INSTALL = "on that host: apt-get install python3 libnftables1"
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def render_program(source: str, code_hash: str) -> bytes:
    """This file as the one line that LOADER reads."""
    return f"g={{'__name__':'bootstrap'}};exec({source!r},g);g['main']({code_hash!r})\n".encode()


def hash_files(files: "dict[str, bytes]") -> str:
    """The name of a set of files, by their paths and contents."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.encode() + b"\0" + hashlib.sha256(files[path]).digest())
    return total.hexdigest()


def main(code_hash: str) -> None:
    """Become the worker. It does not return."""
    if sys.version_info < (3, 11):
        fail(f"its python3 is {sys.version.split()[0]}, and netctl needs 3.11 or later", INSTALL)
    if os.geteuid() != 0:
        become_root()
    # A non-interactive login has no sbin in its path, but iptables is there.
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":" + SYSTEM_PATH
    check_library()
    try:
        directory, lock = open_code(code_hash)
    except OSError as error:
        fail(f"cannot store the worker's code in {CODE}: {error.strerror}", "make room in /run: netctl needs some megabytes")
    signal.alarm(0)
    say({"say": "ready"})
    sys.path.insert(0, directory)
    from reconciler.worker.remote import main as serve

    serve(lambda: remove_code(lock))


def become_root() -> None:
    """Start again as root, by sudo without a password; messages of sudo go to standard error."""
    sudo = shutil.which("sudo")
    if sudo is None:
        fail("netctl needs root there, and the host has no sudo", "connect as root (ssh://root@…), or install sudo on that host")
    say({"say": "again"})
    signal.alarm(0)  # it would outlast execve(2), and sudo may stay as the worker's parent
    os.execv(sudo, [sudo, "-n", "--", sys.executable, "-I", "-S", "-c", LOADER])  # noqa: S606


def check_library() -> None:
    """End here if libnftables is missing: every command needs it."""
    import ctypes

    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        fail(f"the library {LIBRARY} is missing there", INSTALL)


def open_code(code_hash: str) -> "tuple[str, int]":
    """The directory with the code, complete and matching its name; and the descriptor whose lock prevents its deletion."""
    path = os.path.join(CODE, code_hash)
    while True:
        root = open_root()
        try:
            descriptor = open_directory(path)
            if descriptor is not None and hash_files(read_tree(path)) == code_hash:
                return path, descriptor
            if descriptor is not None:  # damaged
                os.close(descriptor)
                shutil.rmtree(path)
            receive(code_hash, path)
        finally:
            os.close(root)


def open_root() -> int:
    """The directory of all codes, locked: only one process at a time looks for code, adds or deletes it."""
    while True:
        secure_run()
        with contextlib.suppress(FileExistsError):
            os.mkdir(CODE, 0o700)
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(CODE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            status = os.fstat(descriptor)
            if status.st_uid != 0 or status.st_mode & 0o077:
                fail(f"{CODE} is not root's alone", f"remove it: rm -r {CODE}")
            if is_at(descriptor, CODE):
                return descriptor
            os.close(descriptor)


def secure_run() -> None:
    """Create the directory of netctl's files; only root has access, as `kernel.run_directory.private` requires."""
    os.makedirs(RUN, 0o700, exist_ok=True)
    if os.path.islink(RUN):
        fail(RUN + " is a symbolic link", "remove it: rm " + RUN)
    descriptor = os.open(RUN, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != 0 or status.st_mode & 0o022:
            fail(RUN + " belongs to another user, or can be written by one", "look at it, then remove it: rm -r " + RUN)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def open_directory(path: str) -> "int | None":
    """A directory of code under a shared lock; None if it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def is_at(descriptor: int, path: str) -> bool:
    """Whether the open directory is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def read_tree(directory: str) -> "dict[str, bytes]":
    """All files, except those that Python has compiled."""
    files = {}
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, directory)] = file.read()
    return files


def receive(code_hash: str, path: str) -> None:
    """Request the code, check it, and move it to `path` as a whole; delete older code."""
    import zipfile

    say({"say": "code"})
    data = read_exactly(int(read_exactly(10)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    if hash_files(files) != code_hash or any(name.startswith("/") or ".." in name.split("/") for name in files):
        fail("the worker's code arrived damaged", "try again")
    temporary = tempfile.mkdtemp(dir=CODE)
    for name, content in files.items():
        target = os.path.join(temporary, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(content)
    os.rename(temporary, path)
    for name in os.listdir(CODE):
        if name != code_hash:
            remove_unused(os.path.join(CODE, name))


def remove_unused(path: str) -> bool:
    """Delete a directory of code, unless another process uses it. The caller holds the lock of CODE."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(path)
    return True


def remove_code(lock: int) -> None:
    """Delete all code if no topology has anything under /run/netctl."""
    if not os.path.isdir(CODE) or os.listdir(RUN) != [os.path.basename(CODE)]:
        return
    root = open_root()
    os.close(lock)
    if os.listdir(RUN) == [os.path.basename(CODE)] and all(remove_unused(os.path.join(CODE, name)) for name in os.listdir(CODE)):
        os.rmdir(CODE)
        with contextlib.suppress(OSError):  # another process has just opened it
            os.rmdir(RUN)
    os.close(root)


def read_exactly(count: int) -> bytes:
    """The next bytes of standard input, and not one more: the worker reads the rest."""
    parts = []
    while count:
        signal.alarm(SILENCE_S)
        part = os.read(0, min(count, 1 << 20))
        if not part:
            os._exit(1)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def say(message: "dict[str, str]") -> None:
    """Send one line to the controller."""
    os.write(1, b"netctl " + json.dumps(message).encode() + b"\n")


def fail(message: str, help_text: str) -> NoReturn:
    """Report the error, and end."""
    say({"say": "error", "message": message, "help": help_text})
    os._exit(3)
