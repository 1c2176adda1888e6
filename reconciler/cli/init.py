"""`netctl init`: writes a first topology file, and says what to do with it. It needs no root and reads no host."""

from __future__ import annotations

import argparse
import os

from reconciler.cli.parser import Command, Parser, add_file
from reconciler.errors import UsageError
from reconciler.topology import DEFAULT_FILE

FORMAT_VERSION = 1
TEXT = """\
# One host, one subnet, two containers.
#
# All of them are network namespaces of this machine, so nothing has to be installed or pulled. For containers of an engine
# write `connect: local` in the host, and an `image:` in each container.
version: 1
name: first                           # the owner mark of everything that is made

hosts:
  here: {connect: lab, address: 192.0.2.11}     # `lab`: a namespace that plays a machine; `local` is this machine itself

subnets:
  front: {cidr: 10.44.0.0/24}         # mode: nat, unless you write routed or isolated

containers:
  one: {networks: {front: auto}}      # an address that netctl chooses, and keeps
  two: {networks: {front: auto}}
"""
"""The content of `yaml.STARTER`, in the style of the examples."""
NEXT = """\
next:
  sudo netctl apply {file}      create the host, the subnet and the containers
  sudo netctl verify {file}     test with packets what the file allows
  sudo netctl destroy {file}    remove all of it"""

EXAMPLES = """\
  netctl init                         write topology.yaml, to start from
  netctl init shop.yaml               the same, under another name
"""


def add_arguments(parser: Parser) -> None:
    """FILE."""
    add_file(parser, may_lack=True)


def run(options: argparse.Namespace) -> int:
    """0 after the file is written; UsageError if it exists already, or cannot be written."""
    from reconciler.cli.common import print_json
    from reconciler.state.visible import visible_line

    options.file = options.file or DEFAULT_FILE  # never NETCTL_FILE, which names a file that exists
    _write_new(options.file)
    if options.json:
        print_json({"format_version": FORMAT_VERSION, "path": options.file})
    else:
        shown = visible_line(options.file)
        print(f"{shown} is written: a topology of one lab host, one subnet and two containers")
        print(NEXT.format(file=shown).replace(" topology.yaml", ""))
    return 0


def _write_new(path: str) -> None:
    """Write the file. O_EXCL never overwrites an existing file or symbolic link (open(2))."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise UsageError(f"cannot write {path}: it exists already", "give another name: netctl init FILE") from None
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot write {path}: {reason}", "give a name in a directory of yours: netctl init FILE") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TEXT)


COMMAND = Command("init", "write a topology file to start from", EXAMPLES, add_arguments, run)
