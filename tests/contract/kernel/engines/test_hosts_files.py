"""The hosts files under /run/netctl: kept the same file, and deleted by many threads at once."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.hosts_files import delete_hosts_file, read_hosts_files, read_lines, write_hosts_file, write_lines
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


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_only_a_regular_file_is_read_or_written(tmp_path: Path, kind: str) -> None:
    """A link would lead to any file of the host, and a pipe would stop netctl: an error with advice, and nothing is read."""
    path, other = tmp_path / "hosts", tmp_path / "other"
    other.write_text("mine\n")
    if kind == "link":
        path.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert read_lines(path) == ()
    with pytest.raises(HostError) as caught:
        write_lines(path, ["192.0.2.1 web"])
    assert "remove what stands there" in caught.value.help_text
    assert other.read_text() == "mine\n"


def test_a_full_disk_leaves_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of a program below the mark would be lost otherwise."""
    path = tmp_path / "hosts"
    write_lines(path, ["192.0.2.1 web"])
    before = path.read_text()

    def refuse(descriptor: int, _start: int, length: int) -> None:
        os.ftruncate(descriptor, length)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(HostError) as caught:
        write_lines(path, ["192.0.2.1 web", "192.0.2.2 db"])
    assert "free space there" in caught.value.help_text
    assert path.read_text() == before
