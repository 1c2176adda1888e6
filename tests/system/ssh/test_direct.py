"""Moving the uplink of a machine by which it is reached: by ssh from elsewhere, over that very uplink."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.worlds.ssh import Machine, SshWorld, wait_for

pytestmark = pytest.mark.kernel

FILE = """\
version: 1
name: {name}
hosts: {{alpha: {{connect: ssh://root@alpha, address: 192.0.2.11}}}}
subnets: {{lan: {{cidr: 192.0.2.0/24, mode: direct}}}}
containers: {{web: {{networks: {{lan: 192.0.2.50}}}}}}
"""
ONE_LOGIN = """
add table bridge door
add chain bridge door knock
add rule bridge door knock limit rate over 1/hour burst 1 packets drop
add chain bridge door arriving { type filter hook prerouting priority 0; }
add rule bridge door arriving iifname "controller" tcp dport 22 tcp flags & (syn | ack) == syn jump knock
"""
"""A switch that lets one new connection to an sshd pass and drops all further ones; open ones live on."""


@pytest.fixture
def lan(world: SshWorld) -> Iterator[Path]:
    """The file; before and afterwards alpha has nothing of it."""
    path = world.folder / "direct.yaml"
    path.write_text(FILE.format(name=world.name))
    yield path
    world.repair("alpha")
    world.inside("lan", "nft", "add table bridge door; delete table bridge door")
    done = world.netctl("destroy", path)
    assert done.status == 0, done.err
    assert world.machines["alpha"].files() == []


class Shell:
    """A shell on alpha by ssh, open for as long as it is wanted."""

    def __init__(self, world: SshWorld) -> None:
        """Log in."""
        command = world.machines["controller"].enter("env", "HOME=/run/root", "ssh", "-F", "/run/root/.ssh/config")
        options = ["-o", "UserKnownHostsFile=/run/root/.ssh/known_hosts", "-i", "/run/root/.ssh/id_ed25519", "root@alpha", "cat"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([*command, *options], stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def answers(self, words: str) -> bool:
        """Whether what is typed comes back, by the connection that has been open from the beginning."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{words}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline() == f"{words}\n"

    def close(self) -> None:
        """Log out."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def shell(world: SshWorld, lan: Path) -> Iterator[Shell]:
    """A user is logged in on alpha, over the uplink that is about to move."""
    opened = Shell(world)
    assert opened.answers("before")
    yield opened
    opened.close()


def place_of(machine: Machine) -> str:
    """Where the machine's addresses and routes are; whether the cable is plugged in does not matter."""
    routes = machine.run("ip", "-4", "route", "show", "table", "all").stdout
    return machine.run("ip", "-4", "-o", "address").stdout + routes.replace("linkdown ", "")


def test_the_session_lives_on_and_a_new_one_confirms(world: SshWorld, lan: Path, shell: Shell) -> None:
    """To a bridge and back: a user who is logged in stays so, and the containers are on the LAN."""
    alpha, controller = world.machines["alpha"], world.machines["controller"]
    before = place_of(alpha)
    applied = world.netctl("apply", lan)
    assert applied.status == 0, applied.err
    assert shell.answers("between")
    assert f"b-{world.name}-lan"[:8] in place_of(alpha)
    controller.run("ping", "-c", "1", "-W", "2", "192.0.2.50")
    assert world.netctl("diff", lan).status == 0
    assert world.netctl("destroy", lan).status == 0
    assert shell.answers("after")
    assert place_of(alpha) == before


def test_a_move_without_confirmation_is_rolled_back(world: SshWorld, lan: Path, shell: Shell) -> None:
    """The uplink moves, and no new connection is let in after it: all is as before, though the old connections live."""
    alpha = world.machines["alpha"]
    before = place_of(alpha)
    world.inside("lan", "nft", ONE_LOGIN)
    done = world.netctl("apply", lan)
    assert done.status == 4, done.err
    assert "alpha" in done.err
    assert "every host is as it was before" in done.err
    assert place_of(alpha) == before
    assert shell.answers("still here")


def test_a_cable_that_is_pulled_in_the_middle(world: SshWorld, lan: Path) -> None:
    """The switch shuts the port as soon as the uplink is in a bridge: the machine is as before by itself."""
    alpha = world.machines["alpha"]
    before = place_of(alpha)
    process = world.start_netctl("apply", "--rollback-after", "5", lan)
    wait_for(lambda: process.poll() is not None or "-lan" in alpha.run("ip", "-4", "-o", "address").stdout)
    if process.poll() is not None:
        pytest.fail(f"it was too quick: {process.communicate()}")
    world.cut("alpha")
    assert process.wait(60) in (4, 5)
    process.communicate()
    wait_for(lambda: place_of(alpha) == before, timeout_s=20)
    world.repair("alpha")
    assert world.netctl("apply", lan).status == 0
