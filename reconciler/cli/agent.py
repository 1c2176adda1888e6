"""`netctl agent`: keeps the hosts of the file on this machine as the file says, until it is stopped."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, parse_name
from reconciler.cli.words import STANDARD_INPUT, default_file
from reconciler.errors import UsageError, translating
from reconciler.topology import DEFAULT_FILE

if TYPE_CHECKING:
    from reconciler.agent.loop import Loaded

VERBS = ("pause", "resume", "unit")
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
EXAMPLES = """\
  netctl agent shop.yaml              hold the hosts of the file that are on this machine
  netctl agent pause 10m              change nothing for ten minutes
  netctl agent resume                 go on
  netctl agent unit > /etc/systemd/system/netctl-agent.service
                                      print the unit for systemd
"""


def add_arguments(parser: Parser) -> None:
    """FILE or a verb, and which hosts."""
    help_text = f"the topology (default: {DEFAULT_FILE}), or {', '.join(VERBS)}"
    parser.add_argument("file", nargs="?", metavar="FILE", help=help_text)
    parser.add_argument("--file", "-f", dest="named", metavar="FILE", help="the same as FILE; NETCTL_FILE is the default")
    parser.add_argument("more", nargs="*", metavar="WORD", help="pause: how long (90s, 10m, 1h), and the file; resume: the file")
    parser.add_argument("--host", metavar="NAME", type=parse_name, action="append", help="hold this host only; may be repeated")
    parser.add_argument("--metrics", metavar="ADDRESS:PORT", type=_parse_endpoint, help="serve metrics for Prometheus there")
    parser.add_argument(
        "--hook", action="store_true", help="unit: for a host whose containers wait for the agent (`netctl hook`)"
    )
    parser.add_argument("--log", choices=("text", "json"), default="text", help="how events are printed on standard error")


def run(options: argparse.Namespace) -> int:
    """0 when it was stopped."""
    if options.file in VERBS:
        options.more += [options.named] if options.named else []
        with translating():  # such as a user's that cannot open the agent's files: nothing was changed
            return _VERBS[options.file](options)
    if options.named and options.file:
        options.more = [options.file]
    options.file = options.named or options.file or default_file()
    if options.file == STANDARD_INPUT:
        raise UsageError("`netctl agent` cannot follow standard input", "name a file, which it reads again when it changes")
    if options.more:
        raise UsageError(f"`netctl agent` knows no {options.more[0]!r}", "`netctl agent --help` shows how it is used")
    return _hold(options)


def _hold(options: argparse.Namespace) -> int:
    import gc
    from pathlib import Path

    from reconciler.agent.start import start_agent
    from reconciler.cli.answer import answer_diff
    from reconciler.cli.trusted import check_trusted, find_trusted

    gc.enable()  # unlike a command, it lives for long
    path = str(Path(options.file).absolute())
    command, is_json = f"netctl agent {options.file}", options.log == "json"
    users = find_trusted(path)

    def load() -> Loaded:
        check_trusted(path, users)
        return _load(path, options.host)

    with translating():
        agent = start_agent(load, answer_diff, command, is_json=is_json, metrics=options.metrics)
    agent.run()
    return 0


def _load(path: str, hosts: list[str] | None) -> Loaded:
    """The topology, and the hosts to hold: those on this machine, and the lab that they stand in."""
    from hashlib import sha256

    from reconciler.agent.loop import Loaded
    from reconciler.cli.common import check_name, dropped_targets
    from reconciler.fleet.target import targets_of
    from reconciler.topology.load import parse_topology
    from reconciler.topology.parsed_file import read_file

    content = read_file(path)
    topology = parse_topology(content, path)
    for host in hosts or ():
        check_name("host", host, topology.hosts)
    near = [name for name, host in topology.hosts.items() if host.connect.scheme != "ssh"]
    far = [host for host in hosts or () if host not in near]
    if far:
        raise UsageError(f"host {far[0]} is on another machine", f"run `netctl agent` on {far[0]}")
    if not near:
        help_text = "an agent holds hosts with `connect: local` or `connect: lab`"
        raise UsageError(f"no host of {path} is on this machine", help_text)
    chosen = {target.host: target for host in hosts or near for target in targets_of(topology, host)}
    dropped = () if hosts else dropped_targets(topology)
    return Loaded(topology, (*chosen.values(), *dropped), sha256(content).hexdigest())


def _pause(options: argparse.Namespace) -> int:
    from reconciler.agent.state import Pause, boot_s, write_pause

    if not options.more:
        raise UsageError("`netctl agent pause` needs a time", "such as: netctl agent pause 10m")
    duration_s = parse_duration(options.more[0])
    name = _held(options.more[1:])
    write_pause(name, Pause(f"by `netctl agent pause {options.more[0]}`", boot_s() + duration_s))
    print(f"The agent of {name} changes nothing for {options.more[0]}. `netctl agent resume` ends that.")
    return 0


def _resume(options: argparse.Namespace) -> int:
    from reconciler.agent.state import end_pause

    name = _held(options.more)
    print(f"The agent of {name} goes on." if end_pause(name) else f"The agent of {name} is not paused.")
    return 0


def _held(words: list[str]) -> str:
    """The topology of the file. HostError if no agent holds it."""
    from reconciler.agent.state import find_hosts, read_states
    from reconciler.errors import HostError
    from reconciler.topology.load import load_topology

    if len(words) > 1:
        raise UsageError(f"`netctl agent` knows no {words[1]!r}", "`netctl agent --help` shows how it is used")
    file = words[0] if words else default_file()
    name = load_topology(file).name
    if not read_states(name, find_hosts(name)):
        raise HostError(f"no agent holds {name} on this machine", f"start one: netctl agent {file}")
    return name


def _print_unit(options: argparse.Namespace) -> int:
    from reconciler.agent.unit import render_unit

    if len(options.more) > 1:
        raise UsageError(f"`netctl agent unit` knows no {options.more[1]!r}", "`netctl agent --help` shows how it is used")
    print(render_unit(options.more[0] if options.more else "", has_hook=options.hook), end="")
    return 0


def _parse_endpoint(text: str) -> tuple[str, int]:
    """`127.0.0.1:9478` or `[::1]:9478`; ArgumentTypeError."""
    from reconciler.state.uapi import PORT_MAX

    address, _, port = text.rpartition(":")
    if not address or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address with a port, such as 127.0.0.1:9478")
    return address.removeprefix("[").removesuffix("]"), int(port)


def parse_duration(text: str) -> float:
    """`90s`, `10m`, `1h` or `2d` in seconds. UsageError."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text, re.ASCII)
    if not found or not int(found[1]):
        raise UsageError(f"{text!r} is not a duration", "write a number with s, m, h or d, such as 10m")
    return float(int(found[1]) * UNITS_S[found[2]])


_VERBS = {"pause": _pause, "resume": _resume, "unit": _print_unit}
COMMAND = Command("agent", "keep the hosts on this machine as the file says", EXAMPLES, add_arguments, run, changes_hosts=True)
