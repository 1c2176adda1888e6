"""A topology on two machines that are reached by ssh: applied, changed, verified, destroyed; and what stops it before."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.worlds.ssh import ADDRESSES, SshWorld

pytestmark = pytest.mark.kernel
Write = Callable[..., Path]


def test_from_nothing_to_nothing(world: SshWorld, shop: Path, write: Write) -> None:
    """Apply, again, one change, verify, destroy: each does what it says on both machines, and the last leaves no file at all.

    The worker's code goes there once, is root's alone, and goes with the last topology.
    """
    alpha, beta = world.machines["alpha"], world.machines["beta"]
    done = world.netctl("apply", shop)
    assert done.status == 0, done.err
    assert f"/run/netns/{world.name}.web" in alpha.files()
    assert f"/run/netns/{world.name}.db" in beta.files()
    code = alpha.run("find", "/run/netctl/.worker", "-maxdepth", "1", "-mindepth", "1", "-printf", "%f %u %m\n").stdout
    assert code.split()[1:] == ["root", "700"]
    assert alpha.run("ls", "/sys/class/net").stdout.split() != beta.run("ls", "/sys/class/net").stdout.split()

    again = world.netctl("apply", shop)
    assert (again.status, again.out) == (0, "Nothing to do: the hosts are as the file says.\n")
    assert world.netctl("diff", shop).status == 0
    assert world.netctl("status", shop).status == 0
    checked = world.netctl("verify", shop)
    assert checked.status == 0, checked.out

    inside = world.netctl("exec", "--file", shop, "web", "--", "sh", "-c", 'ip -br address show "$1"; exit 42', "sh", "eth0")
    assert inside.status == 42, inside.err
    assert "10.44.0.2/24" in inside.out
    assert "192.0.2.12" in world.netctl("exec", "--file", shop, "--host", "beta", "--", "ip", "address").out

    process = alpha.pids("sleep infinity")
    changed = world.netctl("apply", write("8080:80", "8081:80"))
    assert changed.status == 0, changed.err
    assert "host beta" not in changed.out
    assert alpha.pids("sleep infinity") == process
    script = world.netctl("diff", "--commands", write()).out
    assert "ssh root@alpha sh -s <<'THERE'\nset -eu\nnft -f - <<'EOF'\n" in script
    assert "8081" in alpha.run("nft", "list", "map", "inet", f"netctl-{world.name}", "published4").stdout
    assert code == alpha.run("find", "/run/netctl/.worker", "-maxdepth", "1", "-mindepth", "1", "-printf", "%f %u %m\n").stdout

    gone = world.netctl("destroy", shop)
    assert gone.status == 0, gone.err
    for machine in (alpha, beta):
        assert machine.run("ls", "-A", "/run/netctl", check=False).returncode != 0
        assert machine.files() == []
        assert world.name not in machine.run("nft", "list", "tables").stdout
        assert machine.run("sysctl", "-n", "net.ipv4.ip_forward").stdout == "0\n"
        assert sorted(machine.run("ls", "/sys/class/net").stdout.split()) == ["eth0", "lo"]


def test_a_damaged_code_is_replaced(world: SshWorld, shop: Path) -> None:
    """What lies in the directory is not what its name says: it is not run, and brought again."""
    alpha = world.machines["alpha"]
    assert world.netctl("apply", shop).status == 0
    found = alpha.run("find", "/run/netctl/.worker", "-path", "*/reconciler/worker/work.py").stdout.strip()
    alpha.run("sh", "-c", f"echo 'raise SystemExit(1)' >> {found}")
    assert world.netctl("diff", shop).status == 0
    assert alpha.run("grep", "-r", "raise SystemExit(1)", "/run/netctl/.worker", check=False).stdout == ""


def test_every_machine_that_cannot_be_had_is_named_before_any_is_touched(world: SshWorld, shop: Path) -> None:
    """One has another host key, on the other nothing listens: status 3, both are named, neither is changed."""
    world.trust("alpha", "beta", known=("alpha",))
    known = world.machines["controller"].run("cat", "/run/root/.ssh/known_hosts").stdout
    key = (world.folder / "beta" / "host_key.pub").read_text().split()[1]
    world.machines["controller"].run("sh", "-c", f"echo '{ADDRESSES['alpha']} ssh-ed25519 {key}' > /run/root/.ssh/known_hosts")
    world.stop_serving("beta")
    done = world.netctl("apply", shop)
    assert done.status == 3
    assert "alpha: ssh://root@alpha: its host key differs from the one in known_hosts" in done.err
    assert "beta: ssh://root@beta: nothing listens at its ssh port" in done.err
    assert "ssh-keygen -R alpha" in done.err
    assert world.machines["alpha"].files() == world.machines["beta"].files() == []

    world.machines["controller"].run("sh", "-c", f"echo '{known.strip()}' > /run/root/.ssh/known_hosts")
    world.serve("beta")
    done = world.netctl("apply", shop)
    assert done.status == 3
    assert "ssh://root@beta: its host key is not known here" in done.err
    assert "alpha" not in done.err
    assert world.machines["alpha"].files() == []


def test_one_host_is_enough_where_only_one_is_meant(world: SshWorld, shop: Path, write: Write) -> None:
    """--host applies to one machine though another does not answer, which is said where they share a subnet.

    The status of all is 3.
    """
    world.stop_serving("beta")
    done = world.netctl("apply", "--host", "alpha", shop)
    assert done.status == 0, done.err
    assert "beta" not in done.err
    shared = write("networks: {back: auto}", "networks: {front: auto}")
    done = world.netctl("apply", "--host", "alpha", shared)
    assert done.status == 0, done.err
    assert "warning: beta is left out: its live addresses are not known" in done.err
    assert world.netctl("status", shop).status == 3


def test_a_key_that_is_not_let_in(world: SshWorld, shop: Path) -> None:
    """A user whose key the machine does not know: status 3, and what to try."""
    keys = world.machines["alpha"].folder / "authorized_keys"
    text = keys.read_text()
    keys.write_text("")
    try:
        done = world.netctl("apply", shop)
    finally:
        keys.write_text(text)
    assert done.status == 3
    assert "alpha: ssh://root@alpha: it rejects the available keys" in done.err
    assert "`ssh root@alpha` must work without a password" in done.err
    assert world.machines["beta"].files() == []


def test_machines_that_lack_something_are_all_named(world: SshWorld, shop: Path) -> None:
    """One machine has no python3, the other no libnftables: status 3, and what to install, for both in one run."""
    world.stop_serving("alpha")
    world.serve("alpha", more="SetEnv PATH=/run/nothing")
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    library = next(line.split()[-1] for line in listed.splitlines() if "libnftables.so.1" in line)
    beta = world.machines["beta"]
    beta.run("mount", "--bind", "/dev/null", library)
    try:
        done = world.netctl("apply", shop)
    finally:
        beta.run("umount", library)
        world.stop_serving("alpha")
    assert done.status == 3
    assert "alpha: ssh://root@alpha: it has no python3" in done.err
    assert "beta: ssh://root@beta: the library libnftables.so.1 is missing there" in done.err
    assert "on that host: apt-get install python3 libnftables1" in done.err
