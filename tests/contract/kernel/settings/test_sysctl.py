"""Kernel settings are written in their namespace, and those of a host come back when the last topology goes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from reconciler.errors import HostError
from reconciler.kernel.executor import KernelHost
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.settings.sysctl import read_remembered, read_sysctls, sysctl_path
from reconciler.state.steps.namespaces import FILE_NAME, HEADING, NetnsAdd, SysctlRestore, SysctlWrite
from reconciler.state.steps.step import StepError
from tests.harness.worlds.kernel import KernelWorld

FORWARD = "net.ipv4.ip_forward"


def live(world: KernelWorld, key: str = FORWARD) -> str:
    return world.own.run("sysctl", "-n", key).stdout.strip()


def other_topology(world: KernelWorld) -> KernelWorld:
    context = replace(world.context, topology=world.context.topology + "x")
    namespaces = Namespaces(context)
    return replace(world, context=context, namespaces=namespaces, host=KernelHost(namespaces))


def test_key_with_a_dot_in_a_name() -> None:
    """A slash in a key stands for a dot in an interface's name, as sysctl(8) has it."""
    assert sysctl_path("net.ipv4.conf.eth0/1.forwarding") == "/proc/sys/net/ipv4/conf/eth0.1/forwarding"


@pytest.mark.kernel
def test_written_in_the_right_namespace(world: KernelWorld) -> None:
    """Settings go to the namespace of their step, and are read from there; a key that is not there reads as nothing."""
    world.run(NetnsAdd("container:web", ipv6=True))
    world.run(
        SysctlWrite("container:web", "net.ipv4.ip_default_ttl", "77", remember=False),
        SysctlWrite("", "net.ipv4.ip_default_ttl", "78", remember=False),
    )
    keys = ("net.ipv4.ip_default_ttl", "net.ipv4.no_such_thing", "net.ipv4.ip_local_port_range")
    found = read_sysctls(world.namespaces, {"container:web": keys, "": keys})
    assert found["container:web"] == {"net.ipv4.ip_default_ttl": "77", "net.ipv4.ip_local_port_range": "32768 60999"}
    assert found[""]["net.ipv4.ip_default_ttl"] == "78"
    assert not read_remembered(world.context)


@pytest.mark.kernel
def test_remembered_and_restored(world: KernelWorld) -> None:
    """The value before is in the file while we use the setting, is never written over, comes back, and the file goes."""
    world.own.run("sysctl", "-qw", f"{FORWARD}=0")
    for _ in range(2):
        world.run(SysctlWrite("", FORWARD, "1", remember=True))
    assert live(world) == "1"
    lines = (world.context.host_directory / FILE_NAME).read_text().splitlines()
    assert lines == [HEADING, f"{FORWARD}\t{world.context.topology}\t1\t0"]
    world.run(SysctlRestore("", FORWARD), SysctlRestore("", FORWARD))
    assert live(world) == "0"
    assert not world.context.host_directory.exists()


@pytest.mark.kernel
def test_last_user_restores(world: KernelWorld) -> None:
    """While another topology uses the setting it stays; with the last one the first value comes back."""
    world.own.run("sysctl", "-qw", f"{FORWARD}=0")
    other = other_topology(world)
    world.run(SysctlWrite("", FORWARD, "1", remember=True))
    other.run(SysctlWrite("", FORWARD, "1", remember=True))
    world.run(SysctlRestore("", FORWARD))
    assert live(world) == "1"
    assert read_remembered(world.context)[FORWARD].users == (other.context.topology,)
    other.run(SysctlRestore("", FORWARD))
    assert live(world) == "0"


@pytest.mark.kernel
@pytest.mark.parametrize(("key", "family"), [(FORWARD, 4), ("net.ipv6.conf.all.forwarding", 6)])
def test_links_that_forwarded_before_go_on(world: KernelWorld, key: str, family: int) -> None:
    """The setting writes that of every link; each gets back its own, unless it was changed since or is gone."""
    world.own.run("sysctl", "-qw", f"{key}=0")
    for link in ("one", "two", "gone", "plain"):
        world.own.run("ip", "link", "add", link, "type", "bridge")
        forwards = str(int(link != "plain"))
        world.own.run("sysctl", "-qw", f"net.ipv{family}.conf.{link}.forwarding={forwards}")
    other = other_topology(world)
    for user in (world, other, world):
        user.run(SysctlWrite("", key, "1", remember=True))
    world.own.run("sysctl", "-qw", f"net.ipv{family}.conf.two.forwarding=0")
    world.own.run("ip", "link", "delete", "gone")
    for user in (world, other):
        assert live(world, f"net.ipv{family}.conf.plain.forwarding") == "1"
        user.run(SysctlRestore("", key))
    found = {link: live(world, f"net.ipv{family}.conf.{link}.forwarding") for link in ("one", "two", "plain", "default")}
    assert found == {"one": "1", "two": "0", "plain": "0", "default": "0"}
    assert live(world, key) == "0"
    assert not world.context.host_directory.exists()


@pytest.mark.kernel
def test_a_link_of_both(world: KernelWorld) -> None:
    """A link's own setting that a topology uses, too, gets back its first value, in whatever order the two are used."""
    own = "net.ipv4.conf.one.forwarding"
    world.own.run("sysctl", "-qw", f"{FORWARD}=0")
    world.own.run("ip", "link", "add", "one", "type", "bridge")
    ways = tuple(itertools.permutations((FORWARD, own)))
    for before, begun, released in itertools.product("01", ways, ways):
        world.own.run("sysctl", "-qw", f"{own}={before}")
        for key in begun:
            world.run(SysctlWrite("", key, "1", remember=True))
        for key in released:
            world.run(SysctlRestore("", key))
        assert live(world, own) == before
        assert live(world) == "0"
        assert not world.context.host_directory.exists()


@pytest.mark.kernel
def test_value_that_others_changed_stays(world: KernelWorld) -> None:
    """A setting that another program has changed since is not netctl's any more: it stays as it is."""
    key = "net.ipv4.ip_default_ttl"
    world.run(SysctlWrite("", key, "70", remember=True))
    world.own.run("sysctl", "-qw", f"{key}=71")
    world.run(SysctlRestore("", key))
    assert live(world, key) == "71"
    assert not read_remembered(world.context)


@pytest.mark.kernel
def test_noted_ahead_of_the_change(world: KernelWorld) -> None:
    """Where the kernel refuses the value, the file has noted it already, and a restore leaves the value as it was."""
    step = SysctlWrite("", FORWARD, "not a number", remember=True)
    with pytest.raises(StepError, match="ip_forward") as caught:
        world.run(step)
    assert caught.value.step == step
    assert FORWARD in read_remembered(world.context)
    before = live(world)
    world.run(SysctlRestore("", FORWARD))
    assert live(world) == before


@pytest.mark.kernel
@pytest.mark.parametrize("remember", [False, True])
def test_key_that_is_not_there(world: KernelWorld, remember: bool) -> None:
    """A setting that the kernel does not have is a StepError, and is not remembered."""
    with pytest.raises(StepError, match="no_such_thing"):
        world.run(SysctlWrite("", "net.ipv4.no_such_thing", "1", remember=remember))
    assert not read_remembered(world.context)


@pytest.mark.parametrize("text", ["", "{}\n", f"{HEADING}\nnet.x\n", f"{HEADING}\nnet.x t 1 0\n", "net.x\tt\t1\t0\n"])
def test_file_that_cannot_be_understood(world: KernelWorld, text: str) -> None:
    """A damaged file is an error that names it, and never an empty memory."""
    world.context.host_directory.mkdir(parents=True)
    (world.context.host_directory / FILE_NAME).write_text(text)
    with pytest.raises(HostError, match=r"cannot parse .*sysctl"):
        read_remembered(world.context)
