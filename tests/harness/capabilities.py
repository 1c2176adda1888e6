"""What the machine has of what tests need: found out once, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable

import pytest

from tests.harness.compose import has_compose
from tests.harness.mounts import REMEDY, is_chroot

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


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


def _has_chromium() -> bool:
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


def _is_debian_12() -> bool:
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME") == "bookworm"
    except OSError:  # it has no file of that kind
        return False


CAPABILITIES: dict[str, tuple[Callable[[], bool], str]] = {
    "root": (_has_root, "run the tests as root (sudo make test)"),
    "dockerd": (_has_dockerd, "run `.ci/setup --test`, which installs docker.io and iptables"),
    "podman": (lambda: _has_root() and shutil.which("podman") is not None, "run `.ci/setup --test`, which installs podman"),
    "lxc": (lambda: _has_root() and shutil.which("lxc-start") is not None, "run `.ci/setup --test`, which installs lxc"),
    "busybox": (lambda: shutil.which("busybox") is not None, "run `.ci/setup --test`, which installs busybox-static"),
    "groff": (lambda: shutil.which("groff") is not None, "run `.ci/setup --test`, which installs groff-base"),
    "qemu-user": (lambda: shutil.which("qemu-aarch64") is not None, "run `.ci/setup --test`, which installs qemu-user"),
    "nft": (lambda: shutil.which("nft") is not None, "run `.ci/setup --test`, which installs nftables"),
    "ping": (lambda: shutil.which("ping") is not None, "run `.ci/setup --test`, which installs iputils-ping"),
    "sshd": (lambda: shutil.which("sshd", path=SBIN) is not None, "run `make setup-test`, which installs openssh-server"),
    "sudo": (lambda: shutil.which("sudo") is not None, "run `make setup-test`, which installs sudo"),
    "openvswitch": (lambda: shutil.which("ovs-vswitchd") is not None, "install openvswitch-switch"),
    "dnsmasq": (lambda: shutil.which("dnsmasq") is not None, "run `.ci/setup --test`, which installs dnsmasq-base"),
    "compose": (has_compose, "install docker-compose of Debian 13; Debian 12 has version 1 only (tests/README.md)"),
    "udhcpc": (lambda: shutil.which("udhcpc") is not None, "run `.ci/setup --test`, which installs udhcpc"),
    "chromium": (_has_chromium, "run `make setup-test`, which installs chromium and chromium-driver"),
    "sctp": (_has_sctp, "a kernel with SCTP (CONFIG_IP_SCTP)"),
    "user namespaces": (_has_user_namespaces, "a kernel with user namespaces (user.max_user_namespaces above 0)"),
    "dummy": (lambda: _has_link_kind("dummy"), "a kernel with dummy links (CONFIG_DUMMY)"),
    "vrf": (lambda: _has_link_kind("vrf"), "a kernel with VRFs (CONFIG_NET_VRF)"),
    "wireguard": (lambda: _has_link_kind("wireguard"), "a kernel with WireGuard (CONFIG_WIREGUARD)"),
}
"""By name: how to find out, and what to do where it is missing."""

KERNEL_GAPS = frozenset({"sctp", "dummy", "vrf", "wireguard"})
"""What the kernel of the CI lacks, and no package brings: a test that needs one is skipped there too, and says so."""

RELEASE_GAPS = frozenset({"compose"})
"""What Debian 12 has in no package: .ci/setup fetches it from Debian 13, and a machine that cannot gets a skip as above."""

_found: dict[str, bool] = {}


def require_capability(name: str) -> None:
    """End the test here where the machine lacks `name`: it fails in CI, and is skipped with a reason elsewhere.

    Only a gap of CI's own kernel or release (KERNEL_GAPS, RELEASE_GAPS) is a skip in CI. In a chroot the test fails in any
    case (see `mounts`).
    """
    probe, remedy = CAPABILITIES[name]
    if _has_root() and is_chroot():
        pytest.fail(f"the tests on the real kernel do not run in a chroot, which they would leave: {REMEDY}", pytrace=False)
    if name not in _found:
        _found[name] = probe()
    if _found[name]:
        return
    message = f"this machine lacks {name}: {remedy}"
    is_gap = name in KERNEL_GAPS or (name in RELEASE_GAPS and _is_debian_12())
    if IN_CI and not is_gap:
        pytest.fail(message)
    pytest.skip(message)
