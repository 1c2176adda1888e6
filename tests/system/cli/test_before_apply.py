"""What would fail at apply is found before anything is touched; and what a container has without IPv6, or without a way out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.names import NETNS_ROOT
from tests.harness.netctl import run_netctl

pytestmark = pytest.mark.kernel


@pytest.fixture
def write(tmp_path: Path, topology_name: str) -> Iterator[Callable[[str], Path]]:
    """A file with one lab host, a NATed and a routed subnet, and the containers given."""
    path = tmp_path / "t.yaml"
    head = f"""\
version: 1
name: {topology_name}
hosts: {{alpha: {{connect: lab, address: 192.0.2.11}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}, open: {{cidr: 10.46.0.0/24, mode: routed}}}}
containers:
"""

    def body(containers: str) -> Path:
        path.write_text(head + containers)
        return path

    yield body
    run_netctl("destroy", "-q", path)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nonexistent", "no such file: /nonexistent"),
        ("nonexistent 5", "no such program in PATH: nonexistent"),
        ("/etc/passwd", "not executable: /etc/passwd"),
        ("/etc", "not a file: /etc"),
        ("./nonexistent", "no such file: ./nonexistent"),
    ],
)
def test_a_program_that_is_not_there(write: Callable[[str], Path], topology_name: str, command: str, said: str) -> None:
    """`diff` and `apply` end with 3 and one sentence without the PATH; nothing is made."""
    path = write(f"  web: {{command: {command}, networks: {{front: auto}}}}\n")
    for word in ("diff", "apply"):
        done = run_netctl(word, path)
        assert done.status == 3
        assert f"container web cannot run its command: {said}" in done.err
        assert "/usr" not in done.err
        assert "help: name a program of the host" in done.err
    assert not list(NETNS_ROOT.glob(f"{topology_name}.*"))


def test_without_root(write: Callable[[str], Path]) -> None:
    """The error for a user who is not root names sudo, whether a file of root's or the kernel refuses."""
    path = write("  web: {networks: {front: auto}}\n")
    # It may read everything, so that it finds this checkout wherever it is.
    right = "+dac_read_search"
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", right, "--ambient-caps", right]
    for word in ("diff", "apply", "status", "verify", "destroy"):
        command = [*user, sys.executable, "-m", "reconciler", word, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
        assert done.returncode == 3
        assert "needs root" in done.stderr
        assert "run it with sudo" in done.stderr


def test_a_container_without_ipv6_has_a_loopback(write: Callable[[str], Path]) -> None:
    """It reaches itself at ::1, and has nothing else of IPv6; IPv6 comes and goes with the subnet's; drift is repaired."""
    path = write("  web: {networks: {front: auto}}\n")

    def apply_and_read(text: str) -> list[str]:
        path.write_text(text)
        assert run_netctl("apply", "-q", path).status == 0
        assert run_netctl("diff", path).status == 0
        look = "ping -c1 -W2 ::1 >/dev/null && ip -6 -brief address"
        done = run_netctl("exec", "-f", path, "web", "--", "sh", "-c", look)
        assert done.status == 0, done.err
        return [line.split()[0].partition("@")[0] for line in done.out.splitlines()]

    single = path.read_text()
    assert apply_and_read(single) == ["lo"]
    run_netctl("exec", "-f", path, "web", "--", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    assert run_netctl("status", path).status == 1
    assert apply_and_read(single) == ["lo"]
    assert apply_and_read(single.replace("10.44.0.0/24", '[10.44.0.0/24, "fd00:44::/64"]')) == ["lo", "eth0"]
    assert apply_and_read(single) == ["lo"]


def test_a_container_without_a_default_route(write: Callable[[str], Path]) -> None:
    """`default: false` on its only network: it speaks to its subnet and its host, has no default route, and `verify` agrees."""
    alone = "{default: false}"
    path = write(
        f"  web: {{networks: {{front: {alone}}}}}\n  db: {{networks: {{front: auto}}}}\n  far: {{networks: {{open: {alone}}}}}\n"
    )
    assert run_netctl("apply", "-q", path).status == 0
    assert "default" not in run_netctl("exec", "-f", path, "web", "--", "ip", "route").out
    assert "default" in run_netctl("exec", "-f", path, "db", "--", "ip", "route").out
    done = run_netctl("verify", path)
    assert done.status == 0, done.out
