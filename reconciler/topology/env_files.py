"""Reads the files of environment variables that containers name by `env_file`, in the form that Compose reads.

The package python-dotenv parses them. A `$` stands for itself: no value is taken from another variable.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.topology.expand import runtime_of
from reconciler.topology.faults import FaultList
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.scalars import shorten

SIZE_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _FaultyFileError(Exception):
    """A file that cannot be used: what is wrong, and the advice."""

    message: str
    help_text: str


def path_of(topology_path: str, path: str) -> Path:
    """Where a file is: a relative path begins at the topology file's directory."""
    return Path(topology_path).parent / path


def read_env_files(model: TopologyModel, topology_path: str, faults: FaultList) -> Mapping[str, Mapping[str, str]]:
    """By container, the variables of its files; of two files, the later one goes first."""
    found: dict[str, dict[str, str]] = {}
    for name, container in model.containers.items():
        for number, file in enumerate(container.env_file):
            try:
                variables = dict(_read(path_of(topology_path, file.path), required=file.required))
                if runtime_of(container) == "lxc":
                    _check_lines(file.path, variables)
            except _FaultyFileError as error:
                here = ("containers", name, "env_file")
                faults.add((*here, number), error.message, error.help_text)
            else:
                found.setdefault(name, {}).update(variables)
    return found


def _check_lines(path: str, variables: Mapping[str, str]) -> None:
    for name, text in variables.items():
        if any(letter in text for letter in "\r\n"):
            message = f"{shorten(path)} has a line break in `{shorten(name)}`, which LXC's config cannot hold"
            raise _FaultyFileError(message, "put the value in a file of the image")


def _read(path: Path, *, required: bool) -> Iterator[tuple[str, str]]:
    from dotenv.parser import parse_stream

    text = _read_text(path, required=required)
    for binding in parse_stream(io.StringIO(text)):
        line = f"{path.name}, line {binding.original.line}"
        if binding.error:
            raise _FaultyFileError(f"cannot read {line}: it is not `NAME=value`", "correct the line, or begin it with `#`")
        if binding.key is None:
            continue
        if binding.value is None:
            message = f"{line} gives `{shorten(binding.key)}` no value"
            raise _FaultyFileError(message, "write NAME=value; netctl passes on none of its own environment")
        if "\0" in binding.key + binding.value or not binding.key:
            raise _FaultyFileError(f"{line} has a NUL, or no name", "correct the line")
        yield binding.key, binding.value


def _read_text(path: Path, *, required: bool) -> str:
    advice = "a relative path begins at the topology file's directory"
    try:
        if path.exists() and not path.is_file():
            raise _FaultyFileError(f"cannot read {path}: it is not a file", advice)
        with path.open("rb") as file:
            data = file.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        if not required:
            return ""
        raise _FaultyFileError(f"there is no file {path}", f"{advice}; write `required: false` if it may be missing") from None
    except OSError as error:
        raise _FaultyFileError(f"cannot read {path}: {error.strerror or error}", advice) from None
    if len(data) > SIZE_MAX_BYTES:
        raise _FaultyFileError(f"{path} is larger than 1 MiB", "name a file with NAME=value in each line")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _FaultyFileError(f"{path} is not text in UTF-8", "save it as UTF-8") from None
