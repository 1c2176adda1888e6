"""`netctl init`: writes a topology file to start from, and says what to do with it. Needs no root and looks at no host."""

from __future__ import annotations

import argparse
import os

from reconciler.cli.common import print_json
from reconciler.errors import UsageError
from reconciler.state.visible import visible_line
from reconciler.topology.yaml import STARTER

FORMAT_VERSION = 1
TEXT = f"""\
# One lab host and two containers. All three are network namespaces of this machine, so nothing has to be installed or pulled.
# For containers of an engine write `connect: local` in the host, and an `image:` in each container.
{STARTER}"""
NEXT = """\
next:
  sudo netctl apply {file}      create the host, the subnet and the containers
  sudo netctl verify {file}     probe with packets what the file promises
  sudo netctl destroy {file}    remove all of it"""


def run(options: argparse.Namespace) -> int:
    """0 after the file is written; UsageError if there is one already, or if it cannot be written."""
    _write_new(options.file)
    if options.json:
        print_json({"format_version": FORMAT_VERSION, "path": options.file})
    else:
        shown = visible_line(options.file)
        print(f"{shown} is written: a topology of one lab host, one subnet and two containers")
        print(NEXT.format(file=shown).replace(" topology.yaml", ""))
    return 0


def _write_new(path: str) -> None:
    """Write the file. O_EXCL: one that is there, or a symbolic link of that name, is never written over (open(2))."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise UsageError(f"cannot write {path}: it is there already", "give another name: netctl init FILE") from None
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot write {path}: {reason}", "give a name in a directory of yours: netctl init FILE") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TEXT)
