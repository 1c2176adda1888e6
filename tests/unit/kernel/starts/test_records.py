"""The records of starts: which are true, which wait, and that an answer reaches the start that it is for."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.kernel.engines.docker_containers import Listed
from reconciler.kernel.engines.docker_starts import with_starts
from reconciler.kernel.starts import program
from reconciler.kernel.starts.docker_files import parse_stored, read_image_labels
from reconciler.kernel.starts.records import forget_gone, read_starts, write_answer
from reconciler.state.starts import StartAnswer

IDENTITY = "a" * 64


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "run/hook"
    path.mkdir(mode=0o700, parents=True)
    path.parent.chmod(0o700)
    return path


def write(directory: Path, **fields: object) -> int:
    """A record of this process, which waits as long as the descriptor is open."""
    pid = os.getpid()
    record = {"identity": IDENTITY, "name": "web", "pid": pid, "began": program.read_start_time(pid), "root": "/r", "hook": pid}
    return program.write_record(str(directory / IDENTITY), json.dumps({**record, **fields}).encode() + b"\n")


def test_a_start_waits_as_long_as_its_hook(directory: Path) -> None:
    """The lock on the file says that it waits; the process says that the record is true."""
    descriptor = write(directory)
    (start,) = read_starts(directory)
    assert (start.waits, start.pid) == (True, os.getpid())
    os.close(descriptor)
    (start,) = read_starts(directory)
    assert (start.waits, start.pid) == (False, os.getpid())


def test_a_later_process_of_the_same_number_is_another(directory: Path) -> None:
    """A record whose process has ended is of no start that runs."""
    os.close(write(directory, began=1))
    (start,) = read_starts(directory)
    assert (start.is_alive, start.pid) == (False, 0)
    forget_gone({IDENTITY}, directory)
    assert len(read_starts(directory)) == 1
    forget_gone(set(), directory)
    assert read_starts(directory) == ()


def test_an_answer_is_for_one_start(directory: Path) -> None:
    """A later start of the same container does not get the answer to the one before; a reason cannot be a line of its own."""
    descriptor = write(directory)
    (start,) = read_starts(directory)
    write_answer("shop", StartAnswer(replace(start.waiting, began=1), "wired"), directory)
    assert read_starts(directory)[0].answered == ()
    write_answer("shop", StartAnswer(start.waiting, "refused", "it is\nlab wired"), directory)
    assert read_starts(directory)[0].answered == ("shop",)
    os.close(descriptor)
    write_answer("lab", StartAnswer(start.waiting, "wired"), directory)
    assert read_starts(directory)[0].answered == ("shop",), "it waits no longer"


@pytest.mark.parametrize("text", ["", "{", "[]\n", '{"identity": "b"}\n', '{"identity": 1, "pid": "x"}\n'])
def test_garbage_is_no_record(directory: Path, text: str) -> None:
    """Only root can write there, and a damaged file must not stop the agent."""
    (directory / IDENTITY).write_text(text)
    (directory / ("b" * 64)).mkdir()
    (directory / ("c" * 64)).symlink_to("/dev/zero")
    os.mkfifo(directory / ("d" * 64))
    (directory / "other").write_text("{}")
    assert read_starts(directory) == ()


def test_what_the_hook_knows_is_newer_than_the_engine(directory: Path) -> None:
    """A container runs as long as its process does, and the engine is not asked for one that started by the hook."""
    listed = Listed(IDENTITY, "web", "exited", {})
    os.close(write(directory))
    (found,) = with_starts([listed], read_starts(directory))
    assert (found.state, found.pid) == ("running", os.getpid())
    os.close(write(directory, began=1))
    (found,) = with_starts([replace(listed, state="running")], read_starts(directory))
    assert (found.state, found.pid) == ("exited", 0)
    other = replace(listed, identity="b" * 64)
    assert with_starts([other], read_starts(directory)) == (other,)


def test_the_labels_of_an_image_are_in_its_file(tmp_path: Path) -> None:
    """While dockerd is silent, they say whether the labels of a container are its image's."""
    path = tmp_path / "image/overlay2/imagedb/content/sha256" / IDENTITY
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"config": {"Labels": {"a": "b"}}}))
    assert read_image_labels(str(tmp_path), f"sha256:{IDENTITY}") == {"a": "b"}
    assert read_image_labels(str(tmp_path), "sha256:../x") == read_image_labels(str(tmp_path), "sha256:b") == {}


def test_a_stored_process_of_another_container_does_not_count() -> None:
    """Docker's file may be of the time before a boot: then another process has the number."""
    state = {"Running": True, "Pid": os.getpid()}
    found = parse_stored({"ID": IDENTITY, "Name": "/web", "State": state, "Config": {"Labels": {"a": "b"}}, "HostsPath": "/h"})
    assert (found.name, found.state, found.pid, found.labels, found.hosts_path) == ("web", "exited", 0, {"a": "b"}, "/h")
