"""The hosts files under /run/netctl: kept the same file, and deleted by many threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.hosts_files import delete_hosts_file, read_hosts_files, write_hosts_file
from reconciler.state.ref import container_netns
from reconciler.state.steps.containers import HostsDelete


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


def test_many_are_deleted_at_once(context: KernelContext, tmp_path: Path) -> None:
    """Each thread may find the directory gone, and the last file takes it along."""
    names = [f"c{number}" for number in range(200)]
    for name in names:
        write_hosts_file(context, name, ())
    steps = [HostsDelete(container_netns(name), name) for name in names]
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda step: delete_hosts_file(context, step), steps))
    assert not (tmp_path / "local/shop.hosts").exists()
