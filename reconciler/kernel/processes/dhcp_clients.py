"""The DHCP clients of containers on a LAN: start them in their namespaces, find them by their mark, end them.

A client runs like a container's command (see `kinds.process`). Its script is a file under /run/netctl, because udhcpc
needs a path; the last client that ends deletes it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.kernel.context import KernelContext
from reconciler.kernel.namespaces import enter
from reconciler.kernel.processes.commands import DEFAULT_PATH, inheritable_descriptors, spawn, start_in_thread
from reconciler.kernel.processes.marks import Identity, Running, read_bearers, send_signal, wait_until_gone
from reconciler.kernel.run_directory.private import write_private
from reconciler.kinds.addressing.dhcp import DHCP_MARK
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.marks import bears_tag
from reconciler.kinds.links.veth import Veth
from reconciler.state.grammar import is_label, is_link_name
from reconciler.state.naming import parse_alias
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.snapshot import DhcpInfo, LinkInfo
from reconciler.state.steps.addresses import DhcpStart, DhcpStop
from reconciler.state.steps.step import Step, StepError

SCRIPT_NAME = "dhcp.sh"
SCRIPT = """\
#!/bin/sh
# netctl: what a lease says becomes the interface's address and routes (udhcpc(8)). The prefix lengths are numbers here.
set -f # what a server sends is words, and no pattern of file names
case "$1" in
deconfig)
    ip -4 route flush dev "$interface" proto dhcp
    ip -4 address flush dev "$interface" dynamic
    ;;
bound | renew)
    life=${lease:-86400}
    # A lease without end would look like an address of netctl's own.
    [ "${#life}" -lt 10 ] || life=999999999
    ip -4 address replace "$ip/${mask:-32}" dev "$interface" valid_lft "$life" preferred_lft "$life"
    ip -4 address show dev "$interface" dynamic | while read -r word address _; do
        [ "$word" != inet ] || [ "${address%/*}" = "$ip" ] || ip -4 address delete "$address" dev "$interface"
    done
    [ "$NETCTL_DEFAULT" = 1 ] || exit 0
    if [ -n "$staticroutes" ]; then # RFC 3442: where these are given, the router is not heeded
        set -- $staticroutes
        while [ $# -ge 2 ]; do
            if [ "$2" = 0.0.0.0 ]; then ip -4 route replace "$1" dev "$interface" proto dhcp
            else ip -4 route replace "$1" via "$2" dev "$interface" proto dhcp; fi
            shift 2
        done
        exit 0
    fi
    for each in $router; do
        ip -4 route replace default via "$each" dev "$interface" proto dhcp && break
    done
    ;;
esac
"""
STOP_TIMEOUT_S = 3.0
"""The time that a client may take to release its lease."""
KILL_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Client:
    """A live client of the topology, and its host (KernelContext.host_key)."""

    running: Running
    netns: Identity
    host: str
    container: str
    dev: str
    default: bool


def find_client() -> tuple[str, ...]:
    """The command of the DHCP client on this machine; empty if there is none."""
    path = os.environ.get("PATH", DEFAULT_PATH) + ":/usr/sbin:/sbin"
    if found := shutil.which("udhcpc", path=path):
        return (found,)
    busybox = shutil.which("busybox", path=path)
    if busybox is None:
        return ()
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, timeout=10, check=False)
    return (busybox, "udhcpc") if "udhcpc" in listed.stdout.split() else ()


def read_dhcp_clients(
    context: KernelContext, links: Mapping[str, Mapping[int, LinkInfo]], identity_of: Callable[[str], tuple[int, int]]
) -> tuple[DhcpInfo, ...]:
    """The clients of the host's containers with their namespaces among `links`; `identity_of` identifies a namespace.

    A client whose container has no namespace now is a leftover, too.
    """
    found = []
    for client in _clients_of(context):
        netns = container_netns(client.container)
        in_place = netns in links and client.netns == identity_of(netns)
        link = _link_of(context.topology, links, client) if in_place else None
        found.append(DhcpInfo(client.container, client.dev, client.default, in_place, link))
    # All clients of an interface are ended together, and a leftover must be ended.
    found.sort(key=lambda one: not one.in_place)
    return tuple({(one.container, one.dev): one for one in found}.values())


def _link_of(topology: str, links: Mapping[str, Mapping[int, LinkInfo]], client: Client) -> Ref | None:
    """The record that creates the interface of a client."""
    inside = {link.name: link for link in links[container_netns(client.container)].values()}
    link = inside.get(client.dev)
    if link is None:
        return None
    if link.kind == Macvlan.kind:
        return Macvlan.ref_of(container_netns(client.container), client.dev, dict(link.options).get("mode", ""))
    host_end = links.get(HOST, {}).get(link.peer)
    alias = parse_alias(host_end.alias) if host_end else None
    is_ours = host_end is not None and bears_tag(topology, host_end) and alias is not None and alias.name == client.container
    return Veth.ref_of(HOST, host_end.name) if host_end and is_ours else None


def read_clients(context: KernelContext) -> Iterator[Client]:
    """All live clients of the topology, on every host that shares the machine. One that ends meanwhile is left out.

    Root has started each of them: a mark of another user's process does not count.
    """
    prefix = f"{DHCP_MARK}={context.topology}/".encode()
    for bearer in read_bearers(context, prefix):
        parts = (bearer.value_of(DHCP_MARK) or "").split("/")
        if len(parts) == 5 and parts[0] == context.topology and is_label(parts[2]) and is_link_name(parts[3]):
            _, host, container, dev, default = parts
            yield Client(bearer.running, bearer.netns, host, container, dev, default == "1")


def _clients_of(context: KernelContext) -> Iterator[Client]:
    """The clients of this host: the hosts of a lab share the machine's processes."""
    return (client for client in read_clients(context) if client.host == context.host_key)


def run_dhcp_steps(context: KernelContext, steps: Sequence[Step], path_of: Callable[[str], str]) -> None:
    """Execute DhcpStart and DhcpStop in order; `path_of` returns the file of a namespace by its name. StepError."""
    for step in steps:
        if isinstance(step, DhcpStop):
            _stop(context, step)
        elif isinstance(step, DhcpStart):
            _start(context, step, path_of(step.netns))


def _start(context: KernelContext, step: DhcpStart, path: str) -> None:
    client = find_client()
    if not client:
        raise StepError(step, "there is no DHCP client on this host: apt-get install udhcpc")
    script = context.topology_directory / SCRIPT_NAME
    _write_script(script)
    # Until it has a lease, it sends three requests and waits ten seconds, repeatedly; at its end it releases the lease.
    words = (*client, "-f", "-R", "-i", step.dev, "-s", str(script), "-t", "3", "-T", "2", "-A", "10", "-O", "staticroutes")
    mark = f"{context.topology}/{context.host_key}/{step.container}/{step.dev}/{int(step.default)}"
    path_variable = os.environ.get("PATH", DEFAULT_PATH)
    env = {"PATH": path_variable, "NETCTL_DEFAULT": str(int(step.default)), DHCP_MARK: mark}
    inherited = inheritable_descriptors()

    def start() -> Iterator[int]:
        enter(path)
        yield spawn(context, f"{step.container}.log", words, env, inherited)

    try:
        start_in_thread(start)
    except OSError as error:
        raise StepError(step, f"cannot start {words[0]}: {error.strerror}") from error


def _write_script(script: Path) -> None:
    if not script.exists() or script.read_text() != SCRIPT:
        write_private(script, SCRIPT, mode=0o700)


def _stop(context: KernelContext, step: DhcpStop) -> None:
    """SIGTERM makes it release its lease, and its script delete the address; then SIGKILL."""
    clients = [one.running for one in _clients_of(context) if (one.container, one.dev) == (step.container, step.dev)]
    for client in clients:
        send_signal(client, signal.SIGTERM)
    left = wait_until_gone(clients, STOP_TIMEOUT_S)
    for client in left:
        send_signal(client, signal.SIGKILL)
    if still := wait_until_gone(left, KILL_TIMEOUT_S):
        raise StepError(step, f"the DHCP client {still[0].pid} does not end, not even by SIGKILL")
    if not any(read_clients(context)):
        (context.topology_directory / SCRIPT_NAME).unlink(missing_ok=True)
