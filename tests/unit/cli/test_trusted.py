"""The file that an agent follows: only root, the invoking user and its owner of the start may change it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.cli.trusted import check_trusted, find_trusted
from reconciler.errors import UsageError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
OTHER = 4242


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a directory of its own."""
    path = tmp_path / "folder" / "topology.yaml"
    path.parent.mkdir()
    path.write_text("name: here")
    return path


def test_a_file_of_roots_is_followed(file: Path) -> None:
    """So is one by a link, and in a directory where users replace only their own files, as /tmp."""
    file.parent.chmod(0o1777)
    (link := file.parent / "link").symlink_to("../folder/topology.yaml")
    for path in (file, link):
        check_trusted(str(path), find_trusted(str(path)))


def test_the_owner_of_the_start_is_trusted(file: Path) -> None:
    """Who starts an agent with a user's file trusts that user, with the group of the same number; then no other."""
    os.chown(file, OTHER, OTHER)
    file.chmod(0o664)
    users = find_trusted(str(file))
    check_trusted(str(file), users)
    os.chown(file, OTHER + 1, OTHER)
    with pytest.raises(UsageError, match=f"belongs to user ID {OTHER + 1}"):
        check_trusted(str(file), users)


def test_what_others_can_write_is_not_followed(file: Path) -> None:
    """A file, a directory above it, or a link on the way."""
    users = find_trusted(str(file))
    for path, wide, narrow in ((file, 0o646, 0o644), (file, 0o664, 0o644), (file.parent, 0o777, 0o755)):
        os.chown(path, 0, OTHER)
        path.chmod(wide)
        with pytest.raises(UsageError, match=f"other users can write {path} "):
            check_trusted(str(file), users)
        path.chmod(narrow)
        check_trusted(str(file), users)
    (link := file.parent / "link").symlink_to(file)
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(UsageError, match=f"{link} belongs to user ID {OTHER}"):
        check_trusted(str(link), users)


def test_a_missing_file_is_for_the_reader(file: Path) -> None:
    """It says so itself; a circle of links ends, too."""
    file.unlink()
    check_trusted(str(file), find_trusted(str(file)))
    file.symlink_to(file)
    check_trusted(str(file), find_trusted(str(file)))
