"""`netctl init` writes a file to start from, and never over one that is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reconciler.topology.yaml import STARTER, parse_document
from tests.harness.netctl import run_netctl


def test_the_file_is_valid_and_the_next_steps_are_printed(tmp_path: Path) -> None:
    """What is written passes `validate`; the commands that are printed name the file."""
    path = tmp_path / "shop.yaml"
    done = run_netctl("init", path)
    assert (done.status, done.err) == (0, "")
    assert parse_document(path.read_bytes())[0].tree == parse_document(STARTER.encode())[0].tree
    assert re.findall(r"netctl ([a-z]+) (\S+)", done.out) == [(word, str(path)) for word in ("apply", "verify", "destroy")]
    assert run_netctl("validate", path).status == 0
    assert json.loads(run_netctl("init", "--json", tmp_path / "b.yaml").out) == {
        "format_version": 1,
        "path": str(tmp_path / "b.yaml"),
    }


@pytest.mark.parametrize("kind", ["docker", "ssh"])
def test_other_kinds_of_hosts(tmp_path: Path, kind: str) -> None:
    """A file for containers of Docker, or for machines reached by ssh, is valid, and has a comment for each decision."""
    path = tmp_path / "topology.yaml"
    assert run_netctl("init", "--kind", kind, path).status == 0
    checked = run_netctl("validate", path)
    assert (checked.status, checked.err) == (0, "")
    assert path.read_text().count("#") >= 6


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "directory"])
def test_nothing_is_written_over(tmp_path: Path, kind: str) -> None:
    """Whatever has the name stays as it is, and what a link leads to, too."""
    path, other = tmp_path / "topology.yaml", tmp_path / "other"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(other)
    if kind == "link":
        other.write_text("mine")
    done = run_netctl("init", path)
    assert done.status == 2
    assert "it exists already" in done.err
    assert "help: give another name" in done.err
    assert kind != "file" or path.read_text() == "mine"
    assert other.exists() == (kind == "link")


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    """A directory that is not there is reported as that."""
    done = run_netctl("init", tmp_path / "no" / "topology.yaml")
    assert done.status == 2
    assert "No such file or directory" in done.err


def test_a_user_without_a_file_is_pointed_to_it(tmp_path: Path) -> None:
    """Without a file, and with an empty one, the help names `netctl init`; an empty one shows a whole topology, too."""
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert "`netctl init`" in run_netctl("validate", tmp_path / "none.yaml").err
    told = run_netctl("validate", empty).err
    assert "`netctl init`" in told
    shown = "\n".join(line.strip() for line in told.splitlines()[-len(STARTER.splitlines()) :]) + "\n"
    assert shown == STARTER
