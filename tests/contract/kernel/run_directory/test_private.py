"""Files and directories for root alone, and what is refused in their place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import HostError
from reconciler.kernel.run_directory.private import (
    check_directories,
    make_directory,
    open_private,
    secure_directory,
    write_private,
)


@pytest.fixture(autouse=True)
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "netctl"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_new_ones_are_private_whatever_the_umask(run: Path) -> None:
    """Directories are 0700 and files 0600; a script keeps its owner's right to run it."""
    write_private(run / "local" / "note", "text")
    write_private(run / "shop" / "dhcp.sh", "text", mode=0o700)
    assert [mode(run), mode(run / "local"), mode(run / "local" / "note"), mode(run / "shop" / "dhcp.sh")] == [
        0o700,
        0o700,
        0o600,
        0o700,
    ]
    assert [each.name for each in (run / "local").iterdir()] == ["note"]


def test_wider_ones_are_tightened(run: Path) -> None:
    """What an earlier version left is closed with its directory, and a file that is opened by itself as well."""
    (run / "shop").mkdir(parents=True)
    (run / "shop").chmod(0o755)
    run.chmod(0o755)
    for name, bits in (("web.log", 0o644), ("dhcp.sh", 0o755)):
        (run / "shop" / name).touch()
        (run / "shop" / name).chmod(bits)
    make_directory(run / "shop")
    assert [mode(each) for each in (run, run / "shop", run / "shop" / "web.log", run / "shop" / "dhcp.sh")] == [
        0o700,
        0o700,
        0o600,
        0o700,
    ]
    (run / "shop" / "web.log").chmod(0o644)
    os.close(open_private(run / "shop" / "web.log", os.O_WRONLY | os.O_APPEND))
    assert mode(run / "shop" / "web.log") == 0o600


@pytest.mark.parametrize("check", [secure_directory, check_directories])
def test_what_others_could_have_made_is_refused(run: Path, check: object) -> None:
    """A link, and a directory that others can write: a sentence, and nothing is changed."""
    assert callable(check)
    target = run.with_name("target")
    target.mkdir()
    target.chmod(0o700)
    run.symlink_to(target)
    with pytest.raises(HostError, match="is a symbolic link"):
        check(run)
    run.unlink()
    run.mkdir()
    for bits in (0o777, 0o1777, 0o720):
        run.chmod(bits)
        with pytest.raises(HostError, match=f"can be written by other users .mode {bits:04o}."):
            check(run)
        assert mode(run) == bits


@pytest.mark.kernel
def test_another_users_is_refused(run: Path) -> None:
    """A directory of another user."""
    run.mkdir(mode=0o700)
    os.chown(run, 12345, 0)
    with pytest.raises(HostError, match="belongs to user ID 12345") as caught:
        secure_directory(run)
    assert "rm -r" in caught.value.help_text


def test_a_link_instead_of_a_file_is_not_followed(run: Path) -> None:
    """The target keeps what it has."""
    target = run.with_name("target")
    target.write_text("before")
    make_directory(run / "shop")
    (run / "shop" / "web.log").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        open_private(run / "shop" / "web.log", os.O_WRONLY | os.O_TRUNC)
    write_private(run / "shop" / "web.log", "after")
    assert target.read_text() == "before"
