"""Names that nothing on this machine bears, and what is left under them.

Tests run beside other things on the same machine, perhaps beside another run of themselves. So every topology and namespace
of a test has a name drawn at random, and only what bears such a name is ever removed.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import string
import subprocess
import time
from pathlib import Path

from reconciler.state.naming import group_of

NETNS_ROOT = Path("/run/netns")
RUN_ROOTS = (Path("/run/netctl"), Path("/run/netctl-dns"))
MNT_DETACH = 2

drawn: list[str] = []
"""Every name that this session has drawn; nothing that bears one may be left at its end."""


def draw_name() -> str:
    """A topology's name that nothing on this machine bears: `t-` and four letters. Its leftovers are looked for at the end."""
    while True:
        name = "t-" + "".join(random.choices(string.ascii_lowercase, k=4))
        if name not in drawn and not read_leftovers(name):
            drawn.append(name)
            return name


def _bears(text: str, name: str) -> bool:
    """`t-abcd`, `t-abcd.web` and `netctl-t-abcd`, but not `t-abcde`."""
    return any(word == name or word.startswith((f"{name}.", f"{name}-", f"netctl-{name}")) for word in text.split("/"))


def read_leftovers(name: str) -> list[str]:
    """Everything on the machine that bears the name, in a few words each."""
    found = [f"namespace {path}" for path in _list(NETNS_ROOT) if _bears(path.name, name)]
    found += [f"file {path}" for root in RUN_ROOTS for path in _list(root) if _bears(path.name, name)]
    if os.geteuid() == 0 and shutil.which("ip"):
        command = ["ip", "-o", "link", "show", "group", str(group_of(name))]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        found += [f"link in the machine's own namespace: {line}" for line in shown.stdout.splitlines()]
    return found + [f"process {pid} {words}" for pid, words in _read_processes(name)]


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _read_processes(name: str) -> list[tuple[int, str]]:
    """Processes inside a namespace that bears the name, and dockerds and containerds whose files are named after it."""
    inodes = {path.stat().st_ino for path in _list(NETNS_ROOT) if _bears(path.name, name)}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            inode = (entry / "ns/net").stat().st_ino
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it ended, or is not ours to look at
        is_engine = "dockerd" in words or "containerd" in words
        if inode in inodes or (is_engine and any(_bears(word, name) for word in words.replace("=", " ").split())):
            found.append((int(entry.name), words))
    return found


def remove_leftovers(name: str) -> None:
    """Remove what bears the name, which only this session's tests can have made: processes, namespaces, links, files."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        processes = _read_processes(name)
        for pid, _ in processes:
            try:
                os.kill(pid, sent)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 5
        while processes and _read_processes(name) and time.monotonic() < deadline:
            time.sleep(0.05)
    libc = ctypes.CDLL(None)
    for path in _list(NETNS_ROOT):
        if _bears(path.name, name):
            while libc.umount2(os.fsencode(path), MNT_DETACH) == 0:
                pass
            path.unlink(missing_ok=True)
    if os.geteuid() == 0 and shutil.which("ip"):
        subprocess.run(["ip", "link", "delete", "group", str(group_of(name))], capture_output=True, check=False)
    for path in (path for root in RUN_ROOTS for path in _list(root)):
        if _bears(path.name, name):
            shutil.rmtree(path, ignore_errors=True)
