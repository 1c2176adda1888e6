"""What the tests share: names that nobody else has, namespaces that go away, and a look for leftovers at the end.

Tests run beside other things on the same machine, perhaps beside another run of themselves. So every topology and namespace
of a test has a name drawn at random, only what bears such a name is ever removed, and no test touches the machine's own network.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from reconciler.state.naming import group_of
from tests.harness.fixtures.dockerd import dockerd, dockerd_of_session  # noqa: F401  one daemon for tests of two floors
from tests.harness.matrix_summary import pytest_terminal_summary  # noqa: F401  the matrix, printed at the end
from tests.harness.mounts import REMEDY, is_chroot

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
NETNS_ROOT = Path("/run/netns")
RUN_ROOT = Path("/run/netctl")
MNT_DETACH = 2
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

# The thousands of netctl that the tests start would each compile all modules: a third of the CPU time of a short one.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile("netctl", deadline=None)  # no test is timed: the machine may be busy with other things
settings.load_profile("netctl")

_names: list[str] = []
"""Every name that this session has drawn; nothing that bears one may be left at its end."""
_left_by_workers: list[str] = []


# --- capabilities -----------------------------------------------------------------------------------------------------


def _has_root() -> bool:
    return os.geteuid() == 0


def _has_dockerd() -> bool:
    return _has_root() and shutil.which("dockerd") is not None and shutil.which("iptables") is not None


def _has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


def _has_user_namespaces() -> bool:
    return subprocess.run(["unshare", "-Unrm", "true"], capture_output=True, check=False).returncode == 0


def _has_link_kind(kind: str) -> bool:
    """Tried in a namespace that ends with the trial."""
    command = ["unshare", "--net", "ip", "link", "add", "try0", "type", kind]
    return _has_root() and subprocess.run(command, capture_output=True, check=False).returncode == 0


CAPABILITIES: dict[str, tuple[Callable[[], bool], str]] = {
    "root": (_has_root, "run the tests as root (sudo make test)"),
    "dockerd": (_has_dockerd, "run `.ci/setup --test`, which installs docker.io and iptables"),
    "podman": (lambda: _has_root() and shutil.which("podman") is not None, "run `.ci/setup --test`, which installs podman"),
    "lxc": (lambda: _has_root() and shutil.which("lxc-start") is not None, "run `.ci/setup --test`, which installs lxc"),
    "busybox": (lambda: shutil.which("busybox") is not None, "run `.ci/setup --test`, which installs busybox-static"),
    "nft": (lambda: shutil.which("nft") is not None, "run `.ci/setup --test`, which installs nftables"),
    "ping": (lambda: shutil.which("ping") is not None, "run `.ci/setup --test`, which installs iputils-ping"),
    "sshd": (lambda: shutil.which("sshd", path=SBIN) is not None, "run `make setup-test`, which installs openssh-server"),
    "sudo": (lambda: shutil.which("sudo") is not None, "run `make setup-test`, which installs sudo"),
    "openvswitch": (lambda: shutil.which("ovs-vswitchd") is not None, "install openvswitch-switch"),
    "dnsmasq": (lambda: shutil.which("dnsmasq") is not None, "run `.ci/setup --test`, which installs dnsmasq-base"),
    "udhcpc": (lambda: shutil.which("udhcpc") is not None, "run `.ci/setup --test`, which installs udhcpc"),
    "sctp": (_has_sctp, "a kernel with SCTP (CONFIG_IP_SCTP)"),
    "user namespaces": (_has_user_namespaces, "a kernel with user namespaces (user.max_user_namespaces above 0)"),
    "dummy": (lambda: _has_link_kind("dummy"), "a kernel with dummy links (CONFIG_DUMMY)"),
    "vrf": (lambda: _has_link_kind("vrf"), "a kernel with VRFs (CONFIG_NET_VRF)"),
    "wireguard": (lambda: _has_link_kind("wireguard"), "a kernel with WireGuard (CONFIG_WIREGUARD)"),
}
"""By name: how to find out, and what to do where it is missing."""

KERNEL_GAPS = frozenset({"sctp", "dummy", "vrf", "wireguard"})
"""What the kernel of the CI lacks, and no package brings: a test that needs one is skipped there too, and says so."""

_found: dict[str, bool] = {}


def require_capability(name: str) -> None:
    """End the test here where the machine lacks `name`: it fails in CI, and is skipped with a reason elsewhere.

    Only a gap of CI's own kernel (KERNEL_GAPS) is a skip in CI. In a chroot the test fails in any case (see `mounts`).
    """
    probe, remedy = CAPABILITIES[name]
    if _has_root() and is_chroot():
        pytest.fail(f"the tests on the real kernel do not run in a chroot, which they would leave: {REMEDY}", pytrace=False)
    if name not in _found:
        _found[name] = probe()
    if _found[name]:
        return
    message = f"this machine lacks {name}: {remedy}"
    if IN_CI and name not in KERNEL_GAPS:
        pytest.fail(message)
    pytest.skip(message)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `kernel` needs root, one marked `docker` a dockerd of its own. No fixture has begun yet."""
    if item.get_closest_marker("kernel"):
        require_capability("root")
    if item.get_closest_marker("docker"):
        require_capability("dockerd")


# --- names and namespaces ---------------------------------------------------------------------------------------------


UNSTARTABLE = f"[sleep, '{'9' * 140_000}']"
"""A `command` that only an apply finds to fail: an argument is longer than any program takes (MAX_ARG_STRLEN, execve(2))."""


def draw_name() -> str:
    """A topology's name that nothing on this machine bears: `t-` and four letters. Its leftovers are looked for at the end."""
    while True:
        name = "t-" + "".join(random.choices(string.ascii_lowercase, k=4))
        if name not in _names and not _read_leftovers(name):
            _names.append(name)
            return name


@pytest.fixture
def topology_name() -> Iterator[str]:
    """A name for one test's topology; whatever bears it afterwards is removed, however the test ended."""
    require_capability("root")
    name = draw_name()
    yield name
    remove_leftovers(name)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace that a test made under /run/netns."""

    name: str

    @property
    def path(self) -> Path:
        return NETNS_ROOT / self.name

    def run(
        self, *command: str, check: bool = True, text: str | None = None, timeout_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it; with `check`, a failure fails the test and shows what the command said."""
        entered = ["nsenter", f"--net={self.path}", *command]
        done = subprocess.run(entered, capture_output=True, text=True, input=text, timeout=timeout_s, check=False)
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} in {self.name} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in it that goes on; it is killed when the namespace is removed."""
        entered = ["nsenter", f"--net={self.path}", *command]
        return subprocess.Popen(entered, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def make_namespace(topology_name: str) -> Callable[..., Namespace]:
    """Makes namespaces named after the test's topology: `make_namespace("outside")`; they go away with the test."""

    def make(suffix: str) -> Namespace:
        namespace = Namespace(f"{topology_name}.{suffix}")
        subprocess.run(["ip", "netns", "add", namespace.name], check=True)
        namespace.run("ip", "link", "set", "lo", "up")
        return namespace

    return make


@pytest.fixture
def namespace(make_namespace: Callable[..., Namespace]) -> Namespace:
    """One empty namespace, its loopback up."""
    return make_namespace("ns")


# --- netctl as a user runs it -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a netctl ended, and what it said."""

    status: int
    out: str
    err: str


def run_netctl(*arguments: str | Path, timeout_s: float = 120, env: dict[str, str] | None = None) -> Outcome:
    """Run the command as a process of its own, its output in pipes; a defect that it meets fails the test, whatever its claim."""
    command = [sys.executable, "-m", "reconciler", *map(str, arguments)]
    variables = {**os.environ, "NO_COLOR": "1", **(env or {})}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env=variables, stdin=subprocess.DEVNULL, check=False
    )
    if any(words in done.stdout + done.stderr for words in ("Traceback (most recent call last)", "a defect of its own")):
        pytest.fail(f"{' '.join(command)} met a defect:\n{done.stderr}{done.stdout}")
    return Outcome(done.returncode, done.stdout, done.stderr)


# --- leftovers --------------------------------------------------------------------------------------------------------


def _bears(text: str, name: str) -> bool:
    """`t-abcd`, `t-abcd.web` and `netctl-t-abcd`, but not `t-abcde`."""
    return any(word == name or word.startswith((f"{name}.", f"{name}-", f"netctl-{name}")) for word in text.split("/"))


def _read_leftovers(name: str) -> list[str]:
    """Everything on the machine that bears the name, in a few words each."""
    found = [f"namespace {path}" for path in _list(NETNS_ROOT) if _bears(path.name, name)]
    found += [f"file {path}" for path in _list(RUN_ROOT) if _bears(path.name, name)]
    if _has_root() and shutil.which("ip"):
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
    if _has_root() and shutil.which("ip"):
        subprocess.run(["ip", "link", "delete", "group", str(group_of(name))], capture_output=True, check=False)
    for path in _list(RUN_ROOT):
        if _bears(path.name, name):
            shutil.rmtree(path, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The session fails where anything of its names is left on the machine; it is removed all the same.

    Where tests run side by side, each worker looks for its own, and the session that started them says so.
    """
    found = [f"{line} ({name})" for name in _names for line in _read_leftovers(name)]
    for name in _names if found else ():
        remove_leftovers(name)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leftovers"] = found
    elif found + _left_by_workers:
        print("".join(f"\nleft behind by the tests: {line}" for line in found + _left_by_workers))
        session.exitstatus = max(int(exitstatus), int(pytest.ExitCode.TESTS_FAILED))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: what it found."""
    _left_by_workers.extend(getattr(node, "workeroutput", {}).get("leftovers", ()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that starts a dockerd is a test on the real kernel. Long files begin first, and quick ones fill up the end.

    A file stays together, and keeps its order.
    """
    ranks: dict[Path, int] = {}
    for item in items:
        if item.get_closest_marker("docker"):
            item.add_marker("kernel")
        rank = 0 if item.get_closest_marker("long") else 1 if item.get_closest_marker("kernel") else 2
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])
