"""`netctl exec CONTAINER -- CMD`: runs a command of this machine in a container's network namespace.

It enters only the network: the command and its libraries are this machine's, so an image needs no tools of its own.
netctl becomes the command (execvp), so signals, terminal and exit status are the command's. On another machine it
becomes ssh, and the command is one of that machine's.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_file_option, parse_name
from reconciler.errors import HostError, UsageError, help_for

if TYPE_CHECKING:
    from reconciler.kernel.namespaces import Namespaces
    from reconciler.topology.types import Host, Topology

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""The statuses of a shell for these errors."""
LAB_MEMBERS = ("router", "outside")
"""The namespaces of a lab that are no host of the file: its router, and the world outside."""
EXAMPLES = """\
  netctl exec web ip address          run a command in a container's network
  netctl exec web sh -c 'ip route; ss -lnt'
  netctl exec --host alpha ss -lnt    in a host's own network
  netctl exec --host outside curl -m 3 http://192.0.2.11:8080
                                      in the lab's world outside; its router is `router`
The command is one of this machine's, not of the container's image. The exit status is its own.
"""


def add_arguments(parser: Parser) -> None:
    """The file, the namespace and the command."""
    add_file_option(parser)
    help_text = "a host's own network namespace, not a container's; of a lab, also router and outside"
    parser.add_argument("--host", metavar="NAME", type=parse_name, help=help_text)
    parser.add_argument(
        "container", nargs="?", metavar="CONTAINER", help="as in the file; of replicas and services, as in worker-2"
    )
    parser.add_argument("words", nargs="*", metavar="-- CMD", help="the command and its arguments")


def run(options: argparse.Namespace) -> int:
    """It does not return if the command was found."""
    from reconciler.cli.common import check_name, load
    from reconciler.state.ref import HOST, container_netns

    words = list(options.words)
    if options.host and options.container:  # with --host, no container precedes the command
        words.insert(0, options.container)
    elif not options.host and not options.container:
        help_text = "write netctl exec CONTAINER -- CMD, or netctl exec --host NAME -- CMD"
        raise UsageError("`netctl exec` needs a container", help_text)
    if not words:
        raise UsageError("`netctl exec` needs a command", "write it after `--`: netctl exec web -- ip address")
    topology = load(argparse.Namespace(file=options.file))
    if options.host:
        check_name("host", options.host, (*topology.hosts, *LAB_MEMBERS) if _has_lab(topology) else topology.hosts)
    if options.container and not options.host:
        topology = _with_members(topology, options.container)
        check_name("container", options.container, topology.containers)
        options.container = topology.containers[options.container].share or options.container
    if options.host in LAB_MEMBERS and options.host not in topology.hosts:
        _enter(_member_path(topology, options.host), options.host)
        return _become(words)
    host = topology.hosts[options.host or topology.containers[options.container].host]
    if host.connect.scheme == "ssh":
        netns = HOST if options.host else container_netns(options.container)
        return _become(_remote_words(topology, host, netns, words))
    path = _host_path(topology, options.host) if options.host else _container_path(topology, options.container)
    _enter(path, options.host or options.container)
    if not options.host:
        _show_names(topology, options.container)
    return _become(words)


def _with_members(topology: Topology, name: str) -> Topology:
    """The topology with the members that its hosts have, if the name may be one of theirs."""
    if name in topology.containers or not topology.may_have(name):
        return topology
    from reconciler.compile.members import expand_members
    from reconciler.fleet.fleet import Fleet
    from reconciler.fleet.target import targets_of

    origins = {
        origin for origin, pattern in topology.patterns.items() if name == origin or pattern.selector.may_name(origin, name)
    }
    hosts = {topology.patterns[origin].container.host for origin in origins}
    targets = tuple(target for host in hosts for target in targets_of(topology, host) if target.host == host)
    with Fleet.start(sum(target.ssh is None for target in targets)) as fleet:
        fleet.greet(targets, "netctl exec")
        return expand_members(topology, fleet.read(lock=False))[0]


def _has_lab(topology: Topology) -> bool:
    return any(host.connect.scheme == "lab" for host in topology.hosts.values())


def _member_path(topology: Topology, member: str) -> str:
    from reconciler.state.ref import lab_netns, netns_path

    return netns_path(topology.name, lab_netns(member))


def _host_path(topology: Topology, name: str) -> str:
    from reconciler.state.ref import HOST

    return _namespaces(topology, topology.hosts[name]).path(HOST)


def _container_path(topology: Topology, name: str) -> str:
    from reconciler.state.ref import container_netns

    container = topology.containers[name]
    namespaces = _namespaces(topology, topology.hosts[container.host])
    if container.spec.runtime != "netns":
        from reconciler.kernel.engines.engine import engine_of, read_holders
        from reconciler.kernel.snapshot import find_own_pids

        existing = {name: container.engine_name} if container.existing else {}
        engine = engine_of(namespaces.context, container.spec.runtime)
        mounted = namespaces.read_mounted()[0]
        wanted = {container.spec.runtime: existing}
        holders = {container_netns(info.container): info for info in read_holders(namespaces.context, wanted)}
        found = find_own_pids(engine.read_containers(existing), holders, mounted)
        if not found.get(name) and container_netns(name) not in mounted:
            raise HostError(f"container {name} does not run", "run `netctl apply` to start it")
        namespaces.set_pids(found)
    return namespaces.path(container_netns(name))


def _remote_words(topology: Topology, host: Host, netns: str, words: list[str]) -> list[str]:
    """The command line that runs the words on another machine; the command is that machine's."""
    from reconciler.cli.diff import shell_of
    from reconciler.fleet.ssh import render_exec
    from reconciler.fleet.target import targets_of
    from reconciler.state.process_mark import bind_words
    from reconciler.state.ref import HOST, container_of, resolv_path

    target = next(target for target in targets_of(topology, host.name) if target.host == host.name)
    if netns != HOST and topology.dns:
        words = [*bind_words(resolv_path(topology.name, target.host_key, container_of(netns))), *words]
    command = shell_of(topology, target).tool(netns, *words)
    return render_exec(host.connect, command, terminal=sys.stdin.isatty() and sys.stdout.isatty())


def _host_key(topology: Topology, host: Host) -> str:
    return f"{topology.name}.lab.{host.name}" if host.connect.scheme == "lab" else "local"


def _namespaces(topology: Topology, host: Host) -> Namespaces:
    from dataclasses import replace

    from reconciler.fleet.target import engines_of
    from reconciler.kernel.context import KernelContext
    from reconciler.kernel.namespaces import Namespaces

    key = _host_key(topology, host)
    context = KernelContext(topology.name, key, engines=tuple(engines_of(host).items()))
    if host.connect.scheme == "lab":
        context = replace(context, own_netns=f"/run/netns/{key}")
    return Namespaces(context)


def _enter(path: str, name: str) -> None:
    from reconciler.kernel.namespaces import enter

    try:
        enter(path)
    except FileNotFoundError:
        raise HostError(f"{name} has no network namespace: {path} does not exist", "run `netctl apply` to create it") from None
    except PermissionError:
        raise HostError("a network namespace can be entered by root only", "run it with sudo") from None
    except OSError as error:
        raise HostError(f"cannot enter {path}: {error.strerror}", help_for(error)) from error


def _show_names(topology: Topology, name: str) -> None:
    """Let the command see the container's resolv.conf, if it has one of netctl's."""
    from reconciler.kernel.names.private_view import show_resolv_conf
    from reconciler.state.ref import resolv_path

    if topology.dns is None:
        return
    host = topology.hosts[topology.containers[name].host]
    try:
        show_resolv_conf(resolv_path(topology.name, _host_key(topology, host), name))
    except OSError as error:
        raise HostError(f"cannot show {name}'s {error.filename}: {error.strerror}", help_for(error)) from error


def _become(words: list[str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(words[0], words)  # noqa: S606  there is no shell, and that is the point
    except FileNotFoundError:
        print(f"error: there is no command {words[0]!r} on this machine", file=sys.stderr)
        return NOT_FOUND
    except OSError as error:
        print(f"error: cannot run {words[0]}: {error.strerror}", file=sys.stderr)
        return NOT_EXECUTABLE


COMMAND = Command("exec", "run a command in a container's network namespace", EXAMPLES, add_arguments, run, takes_words=True)
