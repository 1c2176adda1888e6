"""Namespaces are made whole, found again, entered without a trace, and removed without one."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import HostError
from reconciler.kernel import namespaces as module
from reconciler.kernel.namespaces import Namespaces, run_in_thread
from reconciler.kernel.netlink.dump import read_links
from reconciler.kernel.snapshot import check_namespaces
from reconciler.state.ref import netns_path_name, parse_path_name
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete
from reconciler.state.steps.step import StepError
from tests.harness.names import NETNS_ROOT
from tests.harness.netns import Namespace
from tests.harness.worlds.kernel import KernelWorld, picked


def path_of(world: KernelWorld, netns: str) -> Path:
    return NETNS_ROOT / netns_path_name(world.context.topology, netns)


@pytest.mark.parametrize("netns", ["container:web", "container:worker-3", "lab:alpha", "lab:outside"])
def test_file_name_and_back(netns: str) -> None:
    """A namespace's name survives the way over its file name."""
    assert parse_path_name("shop", netns_path_name("shop", netns)) == netns


@pytest.mark.parametrize("name", ["shop", "shop.", "shop2.web", "other.web", "shop.web.x", "shop-web"])
def test_file_of_others(name: str) -> None:
    """Files that are not the topology's are no namespace of it."""
    assert not parse_path_name("shop", name)


def addresses_of_v0(world: KernelWorld, web: Namespace) -> list[object]:
    shown: list[object] = picked(world.show("ip", "address", netns=web), ifname="v0")["addr_info"]
    return shown


@pytest.mark.kernel
@pytest.mark.parametrize("ipv6", [False, True])
def test_namespace_is_made_whole(world: KernelWorld, ipv6: bool) -> None:
    """A new namespace has its loopback up, IPv6 as asked for, and says which host it belongs to."""
    world.run(NetnsAdd("container:web", ipv6))
    web = Namespace(path_of(world, "container:web").name)
    lo = picked(world.show("ip", "address", netns=web), ifname="lo")
    assert "UP" in lo["flags"]
    assert {info["local"] for info in lo["addr_info"]} == {"127.0.0.1", "::1"}
    web.run("ping", "-c1", "-W2", "::1")
    web.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    web.run("ip", "link", "set", "v1", "up")
    web.run("ip", "link", "set", "v0", "up")
    conf = web.run("sysctl", "-n", *(f"net.ipv6.conf.v0.{key}" for key in ("disable_ipv6", "accept_dad", "accept_ra")))
    assert conf.stdout.split() == (["0", "0", "0"] if ipv6 else ["1", "1", "1"])
    deadline = time.monotonic() + 5
    while not (shown := addresses_of_v0(world, web)) and ipv6 and time.monotonic() < deadline:
        continue  # the kernel gives the link-local address when it has noticed the carrier
    assert bool(shown) == ipv6
    alias = read_links(world.namespaces.socket("container:web"))[1].alias
    assert alias == f"netctl:{world.context.topology}/host/local"
    assert world.namespaces.read_mounted() == (frozenset({"container:ns", "container:web"}), frozenset())


@pytest.mark.kernel
def test_many_are_made_and_removed(world: KernelWorld) -> None:
    """Two hundred in one batch, each one of its own, and nothing is left of them."""
    names = [f"container:c{i}" for i in range(200)]
    world.run(*(NetnsAdd(name, ipv6=False) for name in names))
    assert len({path_of(world, name).stat().st_ino for name in names}) == 200
    world.run(*(NetnsDelete(name) for name in names))
    assert world.namespaces.read_mounted() == (frozenset({"container:ns"}), frozenset())
    assert not [path for path in NETNS_ROOT.iterdir() if path.name.startswith(f"{world.context.topology}.c")]


@pytest.mark.kernel
def test_what_a_kill_left_is_taken_over(world: KernelWorld) -> None:
    """A file that stands for no namespace is no namespace, is mounted over; mounts on one another all go."""
    path = path_of(world, "container:web")
    path.touch()
    assert world.namespaces.read_mounted() == (frozenset({"container:ns"}), frozenset({"container:web"}))
    with pytest.raises(HostError):
        world.namespaces.socket("container:web")
    world.run(NetnsAdd("container:web", ipv6=False))
    assert "container:web" in world.namespaces.read_mounted()[0]
    world.own.run("mount", "--bind", str(path), str(path))
    world.run(NetnsDelete("container:web"))
    assert not path.exists()
    path.touch()
    world.namespaces.remove_stale_files()
    assert not path.exists()
    assert world.own.path.exists()


@pytest.mark.kernel
def test_namespace_that_is_there_is_not_replaced(world: KernelWorld) -> None:
    """A live namespace under the name is in use: the step is refused, and what is in it stays."""
    before = world.namespaces.identity("container:ns")
    with pytest.raises(StepError, match="ip netns delete"):
        world.run(NetnsAdd("container:ns", ipv6=False))
    assert world.namespaces.identity("container:ns") == before


@pytest.mark.kernel
def test_removing_what_is_gone(world: KernelWorld) -> None:
    """A namespace that is gone already is no fault, and the one beside it stays."""
    before = world.namespaces.identity("container:ns")
    world.run(NetnsDelete("container:nobody"))
    assert world.namespaces.identity("container:ns") == before


@pytest.mark.kernel
def test_namespace_that_cannot_be_made(world: KernelWorld, tmp_path: Path) -> None:
    """If a directory has the name, the step is named."""
    blocked = tmp_path / "netns"
    (blocked / f"{world.context.topology}.web").mkdir(parents=True)
    namespaces = Namespaces(replace(world.context, netns_directory=blocked))
    step = NetnsAdd("container:web", ipv6=False)
    try:
        with pytest.raises(StepError) as caught:
            namespaces.add([step])
    finally:
        namespaces.close()
        module._libc.umount2(os.fsencode(blocked), module.MNT_DETACH)
    assert caught.value.step == step


@pytest.mark.kernel
@pytest.mark.parametrize("sort", ["directory", "link"])
def test_a_name_that_something_else_has(world: KernelWorld, tmp_path: Path, sort: str) -> None:
    """A directory or a link is no namespace and no rest of a kill: it stays, and a check names it before any work."""
    directory = tmp_path / "netns"
    directory.mkdir()
    path = directory / f"{world.context.topology}.web"
    path.mkdir() if sort == "directory" else path.symlink_to("missing")
    namespaces = Namespaces(replace(world.context, netns_directory=directory))
    try:
        assert namespaces.read_mounted() == (frozenset(), frozenset())
        with pytest.raises(HostError, match="this name is taken"):
            check_namespaces(namespaces, [NetnsAdd("container:web", ipv6=False)])
        namespaces.remove_stale_files()
        assert path.is_symlink() or path.is_dir()
    finally:
        namespaces.close()


@pytest.mark.kernel
def test_entering_leaves_the_caller_where_it_was(world: KernelWorld) -> None:
    """Work runs inside, its result and its exceptions come out, and neither the caller nor the process has moved."""
    threads = set(threading.enumerate())
    before = Path("/proc/thread-self/ns/net").stat().st_ino
    inside = world.namespaces.run("", lambda: Path("/proc/thread-self/ns/net").stat().st_ino)
    assert inside == world.own.path.stat().st_ino
    assert Path("/proc/thread-self/ns/net").stat().st_ino == before == Path("/proc/self/ns/net").stat().st_ino
    with pytest.raises(ZeroDivisionError):
        world.namespaces.run("", lambda: 1 // 0)
    assert set(threading.enumerate()) <= threads


@pytest.mark.kernel
def test_restarted_container_is_noticed(world: KernelWorld) -> None:
    """A container whose namespace is another one than before gets a new socket; the old one is closed."""
    world.run(NetnsAdd("container:web", ipv6=False))
    first = world.namespaces.socket("container:web")
    assert world.namespaces.socket("container:web") is first
    other = Namespaces(world.context)
    other.remove([NetnsDelete("container:web")])
    other.add([NetnsAdd("container:web", ipv6=False)])
    other.close()
    second = world.namespaces.socket("container:web")
    assert second is not first
    assert first._socket.fileno() == -1


@pytest.mark.kernel
def test_engine_container_is_found_by_its_process(world: KernelWorld, make_namespace: Callable[[str], Namespace]) -> None:
    """The namespace of an engine's container is that of its first process, and is gone when the container is known to be."""
    process = world.own.start("sleep", "60")
    try:
        world.namespaces.set_pids({"web": process.pid})
        while Path(f"/proc/{process.pid}/ns/net").stat().st_ino != world.own.path.stat().st_ino:
            continue
        assert world.namespaces.identity("container:web") == world.namespaces.identity("")
        world.namespaces.set_pids({})
        with pytest.raises(HostError, match="no network namespace for container:web"):
            world.namespaces.identity("container:web")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.kernel
def test_limit_of_open_files_is_raised(world: KernelWorld) -> None:
    """Where more namespaces are wanted than the soft limit allows, the limit is raised; a few leave it alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def work() -> tuple[int, int]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        module._allow_descriptors(10)
        few = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        module._allow_descriptors(1000)
        return few, resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    try:
        few, many = run_in_thread(work)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert few == 1024
    assert many == 1000 + module.SPARE_DESCRIPTORS
