"""The file of a saved plan: as a whole or not at all, for its owner alone, and believed from its owner or root alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from reconciler.cli.planfile import check_approver, save_plan
from reconciler.errors import UsageError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_it_is_private_whatever_was_there(tmp_path: Path, before: int | None) -> None:
    """A wider file in its place is replaced, and no draft is left."""
    path = tmp_path / "plan.json"
    if before is not None:
        path.write_text("before")
        path.chmod(before)
    save_plan(str(path), "text")
    assert (mode(path), path.read_text(), os.listdir(tmp_path)) == (0o600, "text", ["plan.json"])  # noqa: PTH208


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the plan of before stays, and no draft."""
    path = tmp_path / "plan.json"
    path.write_text("before")

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UsageError, match=r"cannot save the plan in .*: No space left"):
        save_plan(str(path), "text")
    assert (path.read_text(), os.listdir(tmp_path)) == ("before", ["plan.json"])  # noqa: PTH208


@pytest.mark.parametrize("name", ["no/such/folder", "a\0b", "folder"])
def test_a_name_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    """It is a sentence."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot save the plan"):
        save_plan(str(tmp_path / name), "text")


def test_links_of_ones_own_are_followed(tmp_path: Path) -> None:
    """The link stays, and leads to the plan; a link to nothing makes the file; links in a circle are a sentence."""
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(tmp_path / "plan.json")
    for _ in range(2):
        save_plan(str(tmp_path / "one"), "text")
        assert (tmp_path / "one").is_symlink()
        assert (tmp_path / "plan.json").read_text() == "text"
        assert mode(tmp_path / "plan.json") == 0o600
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(UsageError, match="too many links"):
        save_plan(str(tmp_path / "round"), "text")


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    """`--plan /dev/stdout`, or a named pipe: it stays what it is."""
    reading, writing = os.pipe()
    save_plan(f"/proc/self/fd/{writing}", "text")
    os.close(writing)
    assert os.read(reading, 100) == b"text"
    os.close(reading)


@pytest.mark.parametrize(
    ("kind", "uid", "bits", "words"),
    [
        (stat.S_IFREG, os.geteuid(), 0o600, ""),
        (stat.S_IFREG, 0, 0o644, ""),
        (stat.S_IFREG, 0, 0o664, "other users can write"),
        (stat.S_IFREG, 0, 0o602, "other users can write"),
        (stat.S_IFREG, 12345, 0o600, "belongs to user ID 12345"),
        (stat.S_IFIFO, 12345, 0o600, "belongs to user ID 12345"),
        (stat.S_IFCHR, 12345, 0o620, ""),
    ],
)
def test_who_may_have_written_an_approval(kind: int, uid: int, bits: int, words: str) -> None:
    """Root and the invoking user; a terminal is where the invoking user types."""
    status = os.stat_result((kind | bits, 1, 1, 1, uid, 0, 0, 0, 0, 0))
    if not words:
        check_approver("plan.json", status)
        return
    with pytest.raises(UsageError, match=words) as caught:
        check_approver("plan.json", status)
    assert caught.value.exit_status == 2


def test_the_caller_of_sudo_is_the_invoking_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under sudo a plan of the caller's is an approval; for a user without root, the variable says nothing."""
    status = os.stat_result((stat.S_IFREG | 0o600, 1, 1, 1, 12345, 0, 0, 0, 0, 0))
    monkeypatch.setenv("SUDO_UID", "12345")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    check_approver("plan.json", status)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError):
        check_approver("plan.json", status)
