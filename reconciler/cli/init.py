"""`netctl init`: writes a first topology file, and says what to do with it. It needs no root and reads no host."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

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
DOCKER_TEXT = """\
# This machine, one subnet, two containers of Docker: a web server that the world reaches, and a client.
#
# netctl creates both, and makes their network itself. The images must be on the machine: docker pull busybox
version: 1
name: first                           # the owner mark of everything that is made

hosts:
  here: {connect: local}              # this machine

subnets:
  front: {cidr: 10.44.0.0/24}         # mode: nat, unless you write routed or isolated

containers:
  web:
    image: busybox:latest
    command: [httpd, -f, -p, "80"]    # numbers are quoted: a command is a list of texts
    restart: unless-stopped
    networks: {front: auto}           # an address that netctl chooses, and keeps
    ports: ["8080:80"]               # port 8080 of this machine leads to port 80
  client:
    image: busybox:latest
    command: [sleep, infinity]
    networks: {front: auto}
"""
SSH_TEXT = """\
# Two other machines, reached by your own ssh, and a subnet over both.
#
# Each needs python3 (3.11 or later) and libnftables1; nothing of netctl is installed there. `netctl validate` needs neither.
version: 1
name: first                           # the owner mark of everything that is made

hosts:
  alpha: {connect: ssh://root@alpha.example.net, address: 192.0.2.11}     # `address`: at which the other hosts reach it
  beta: {connect: ssh://root@beta.example.net, address: 192.0.2.12}

subnets:
  front: {cidr: 10.44.0.0/24}         # over several hosts: netctl makes a tunnel, or routes between neighbours

containers:
  web:
    host: alpha
    networks: {front: auto}           # an address that netctl chooses, and keeps
    ports: ["8080:80"]               # port 8080 of alpha leads to port 80; `image: nginx:1.27` runs a container of Docker
  client: {host: beta, networks: {front: auto}}
"""
KINDS: Mapping[str, tuple[str, str]] = {
    "lab": (TEXT, "one lab host, one subnet and two containers"),
    "docker": (DOCKER_TEXT, "this machine, one subnet and two containers of Docker"),
    "ssh": (SSH_TEXT, "two machines reached by ssh, a subnet over both, and a container on each"),
}
"""The texts by the kind of their hosts, each with what it describes."""
NEXT = """\
next:
  sudo netctl apply {file}      create all of it
  sudo netctl verify {file}     test with packets what the file allows
  sudo netctl destroy {file}    remove all of it"""

EXAMPLES = """\
  netctl init                         write topology.yaml, to start from
  netctl init shop.yaml               the same, under another name
  netctl init --kind docker           for containers of Docker on this machine
  netctl init --kind ssh              for other machines
"""


def add_arguments(parser: Parser) -> None:
    """FILE."""
    add_file(parser, may_lack=True)
    help_text = "what the hosts are: lab (namespaces of this machine; the default), docker (this machine), or ssh"
    parser.add_argument("--kind", choices=tuple(KINDS), default="lab", help=help_text)


def run(options: argparse.Namespace) -> int:
    """0 after the file is written; UsageError if it exists already, or cannot be written."""
    from reconciler.cli.common import print_json
    from reconciler.state.visible import visible_line

    options.file = options.file or DEFAULT_FILE  # never NETCTL_FILE, which names a file that exists
    text, described = KINDS[options.kind]
    _write_new(options.file, text)
    if options.json:
        print_json({"format_version": FORMAT_VERSION, "path": options.file})
    else:
        shown = visible_line(options.file)
        print(f"{shown} is written: a topology of {described}")
        print(NEXT.format(file=shown).replace(" topology.yaml", ""))
    return 0


def _write_new(path: str, text: str) -> None:
    """Write the file. O_EXCL never overwrites an existing file or symbolic link (open(2))."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise UsageError(f"cannot write {path}: it exists already", "give another name: netctl init FILE") from None
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot write {path}: {reason}", "give a name in a directory of yours: netctl init FILE") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


COMMAND = Command("init", "write a topology file to start from", EXAMPLES, add_arguments, run)
