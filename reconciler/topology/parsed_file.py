"""A topology file that has been read and parsed, and not yet checked.

It is separate from `load` because it needs no pydantic. A command reads the hosts while the model is imported and the
file is checked (`topology.outline`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import UsageError
from reconciler.topology.old_names import rename_old_keys
from reconciler.topology.yaml import SIZE_MAX_BYTES, Document, parse_document

STANDARD_INPUT, STANDARD_INPUT_NAME = "-", "<stdin>"
"""The path that means standard input, and its name in messages."""


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The document, and the text for messages that show faulty lines; `path` is the file's name in messages."""

    path: str
    document: Document
    source: str


def read_parsed(path: str) -> ParsedFile:
    """The file at `path`, parsed. UsageError if it cannot be read."""
    return parse_file(read_file(path), STANDARD_INPUT_NAME if path == STANDARD_INPUT else path)


def parse_file(data: bytes, path: str) -> ParsedFile:
    """As `read_parsed`, for a file's bytes."""
    document, source = parse_document(data)
    rename_old_keys(document)
    return ParsedFile(path, document, source)


def read_file(path: str) -> bytes:
    """The content of the file. UsageError if it cannot be read."""
    help_text = "name the file: netctl COMMAND FILE; without a name it is topology.yaml in the current directory"
    start = f"{help_text}; `netctl init` writes one to start from"
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read(SIZE_MAX_BYTES + 1)
    try:
        with Path(path).open("rb") as file:
            return file.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", start) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot read {path}: {reason}", help_text) from None
