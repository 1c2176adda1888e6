"""The hosts files under /run/netctl: kept the same file, and deleted by many threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.hosts_files import delete_hosts_file, read_hosts_files, write_hosts_file
from reconciler.state.ref import container_netns
from reconciler.state.steps.containers import HOSTS_END, HostsDelete


@pytest.fixture
def context(tmp_path: Path) -> KernelContext:
    return KernelContext("shop", "local", run_directory=tmp_path)


def test_a_change_keeps_the_file(context: KernelContext, tmp_path: Path) -> None:
    """What a container has mounted is what is written again; others' files are not read."""
    for name in ("web", "other"):
        write_hosts_file(context, name, ("127.0.0.1 localhost",))
    path = tmp_path / "local/shop.hosts/web"
    before = path.stat().st_ino
    write_hosts_file(context, "web", ("10.44.0.10 web",))
    assert path.stat().st_ino == before
    assert read_hosts_files(context, [container_netns("web")]) == {"container:web": ("10.44.0.10 web",)}


def test_lines_of_the_container_stay(context: KernelContext, tmp_path: Path) -> None:
    """A program of the container appends a line: no difference, and the line is there after a change."""
    write_hosts_file(context, "web", ("10.44.0.10 web",))
    path = tmp_path / "local/shop.hosts/web"
    with path.open("a") as file:
        file.write("10.9.9.9 added")
    assert read_hosts_files(context, [container_netns("web")]) == {"container:web": ("10.44.0.10 web",)}
    write_hosts_file(context, "web", ("10.44.0.11 web",))
    assert path.read_text().splitlines() == ["10.44.0.11 web", HOSTS_END, "10.9.9.9 added"]
    path.write_text("10.9.9.9 web\n" + path.read_text())
    assert read_hosts_files(context, [container_netns("web")]) == {"container:web": ("10.9.9.9 web", "10.44.0.11 web")}


def test_many_are_deleted_at_once(context: KernelContext, tmp_path: Path) -> None:
    """Each thread may find the directory gone, and the last file takes it along."""
    names = [f"c{number}" for number in range(200)]
    for name in names:
        write_hosts_file(context, name, ())
    steps = [HostsDelete(container_netns(name), name) for name in names]
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda step: delete_hosts_file(context, step), steps))
    assert not (tmp_path / "local/shop.hosts").exists()
