"""Machines that leave the file, or are gone when a topology is destroyed: found by what the others remember, or named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.worlds.ssh import SshWorld

pytestmark = pytest.mark.kernel
Write = Callable[..., Path]

OPERATOR = """\
echo 'operator:x:4711:4711::/run:/bin/sh' >> /etc/passwd
cp /etc/shadow /run/shadow
echo 'operator:*:1::::::' >> /run/shadow
mount --bind /run/shadow /etc/shadow
touch /run/sudoers
chmod 440 /run/sudoers
mount --bind /run/sudoers /etc/sudoers
"""
WITHOUT_BETA = (
    "  beta: {connect: ssh://root@beta, address: 192.0.2.12}\n",
    "",
    "  db: {host: beta, networks: {back: auto}}\n",
    "",
)


def test_a_machine_that_leaves_the_file_is_pruned(world: SshWorld, shop: Path, write: Write) -> None:
    """It is not in the file any more: diff and apply find it, and leave nothing there; then no host remembers it."""
    beta = world.machines["beta"]
    assert world.netctl("apply", shop).status == 0
    path = write(*WITHOUT_BETA)
    shown = world.netctl("diff", path)
    assert shown.status == 1
    assert "host beta\n  - host" in shown.out
    done = world.netctl("apply", path)
    assert done.status == 0, done.err
    assert beta.run("ls", "/run/netctl", check=False).returncode != 0
    assert beta.files() == []
    assert world.netctl("diff", path).status == 0
    assert not [name for name in world.machines["alpha"].files() if name.endswith(".peers")]


def test_a_machine_that_left_the_file_and_does_not_answer_is_named(world: SshWorld, shop: Path, write: Write) -> None:
    """Apply says what stays where, does the rest, and still remembers: when the machine is back, it is pruned."""
    beta = world.machines["beta"]
    assert world.netctl("apply", shop).status == 0
    path = write(*WITHOUT_BETA)
    world.stop_serving("beta")
    done = world.netctl("apply", path)
    assert done.status == 0, done.err
    assert "warning: beta is left out: it is no longer in the file, and its resources of the topology remain" in done.err
    assert f"/run/netns/{world.name}.db" in beta.files()
    world.serve("beta")
    assert world.netctl("apply", path).status == 0
    assert beta.files() == []


def test_a_controller_that_was_never_there_warns_and_does_not_go(world: SshWorld, shop: Path, write: Write) -> None:
    """If only another machine remembers it, it is named and left as it is; with --yes it is pruned, and no host remembers it."""
    beta, controller = world.machines["beta"], world.machines["controller"]
    assert world.netctl("apply", shop).status == 0
    controller.run("rm", f"/run/netctl/local/{world.name}.peers")
    path = write(*WITHOUT_BETA)
    for words in (("diff", path), ("apply", path), ("apply", path)):
        done = world.netctl(*words)
        assert done.status == 0, done.err
        assert f"host alpha says that {world.name} is also on beta (ssh://root@beta)" in done.err
        assert f"netctl destroy --name {world.name} --host ssh://root@beta" in done.err
        assert f"/run/netns/{world.name}.db" in beta.files()
    done = world.netctl("apply", "--yes", path)
    assert done.status == 0, done.err
    assert beta.files() == []
    assert "says that" not in world.netctl("apply", path).err


def test_destroy_where_a_machine_is_gone(world: SshWorld, shop: Path) -> None:
    """Without --keep-going nothing is touched. With it the rest is removed; status 5 names what is left, and the way to it."""
    alpha, beta = world.machines["alpha"], world.machines["beta"]
    assert world.netctl("apply", shop).status == 0
    world.stop_serving("beta")
    refused = world.netctl("destroy", shop)
    assert refused.status == 3
    assert f"/run/netns/{world.name}.web" in alpha.files()
    done = world.netctl("destroy", "--keep-going", shop)
    assert done.status == 5
    assert "beta (ssh://root@beta)" in done.err
    assert f"netctl destroy --name {world.name} --host ssh://root@beta" in done.err
    assert alpha.files() == []
    assert f"/run/netns/{world.name}.db" in beta.files()
    world.serve("beta")
    last = world.netctl("destroy", "--name", world.name, "--host", "ssh://root@beta")
    assert last.status == 0, last.err
    assert beta.files() == []
    assert "note: " in last.err
    assert "alpha (ssh://root@alpha)" in last.err


def test_two_names_of_one_machine(world: SshWorld, shop: Path, write: Write) -> None:
    """Each would remove what the other makes: refused before anything is touched."""
    path = write("ssh://root@beta", f"ssh://root@{'192.0.2.11'}", "address: 192.0.2.12", "address: 192.0.2.99")
    done = world.netctl("apply", path)
    assert done.status == 3
    assert "hosts alpha and beta are the same machine" in done.err
    assert world.machines["alpha"].files() == []


def test_an_ordinary_user_becomes_root_by_sudo(world: SshWorld, shop: Path, write: Write) -> None:
    """Who logs in without being root works through sudo, where that asks no password; where it does, that is a sentence."""
    from tests.harness.capabilities import require_capability

    require_capability("sudo")
    alpha = world.machines["alpha"]
    alpha.run("sh", "-c", OPERATOR)
    path = write("ssh://root@alpha", "ssh://operator@alpha")
    refused = world.netctl("apply", path)
    assert refused.status == 3
    assert "ssh://operator@alpha: its user cannot become root" in refused.err
    alpha.run("sh", "-c", "echo 'operator ALL=(root) NOPASSWD: /usr/bin/python3*' > /run/sudoers")
    done = world.netctl("apply", path)
    assert done.status == 0, done.err
    assert f"/run/netns/{world.name}.web" in alpha.files()
    peers = json.loads(world.machines["beta"].run("cat", f"/run/netctl/local/{world.name}.peers").stdout)
    assert peers == {"alpha": "ssh://operator@alpha"}
    gone = world.netctl("destroy", path)
    assert gone.status == 0, gone.err
    assert alpha.files() == []
