"""The resolvers of a host: start them, find them by their mark, end them, and let them read their files again.

Only processes in the host's own namespace count, and only those that are called as a shell or dnsmasq is. Reading costs
nothing on a host without the directory of names. dnsmasq gives up root's rights, so its files stand outside of
/run/netctl.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.facts.listeners import TCP_LISTEN, read_descriptors
from reconciler.kernel.namespaces import enter
from reconciler.kernel.processes.commands import DEFAULT_PATH, inheritable_descriptors, spawn, start_in_thread
from reconciler.kernel.processes.marks import (
    Bearer,
    Identity,
    Running,
    identify,
    read_named_bearers,
    send_signal,
    wait_until_gone,
)
from reconciler.kernel.run_directory.private import replace_file
from reconciler.state.grammar import is_label
from reconciler.state.ref import names_path
from reconciler.state.resolver import (
    CONFIG_MARK,
    LOOP,
    RESOLVER_MARK,
    VIEW,
    ResolverConfig,
    ResolverInfo,
    mark_of,
    parse_mark,
)
from reconciler.state.steps.names import NamesDelete, NamesWrite, ResolverStart, ResolverStop
from reconciler.state.steps.step import Step, StepError

PROGRAM = "dnsmasq"
INSTALL = "install it: apt-get install dnsmasq-base"
START_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 2.0
STAYS_S = 0.2
"""One that cannot have its port ends sooner."""
POLL_S = 0.01
DIRECTORY_MODE, FILE_MODE = 0o755, 0o644
ALONE = ResolverConfig("lo", 0, "unknown", (), (), 0)
"""The configuration of a dnsmasq without its shell."""


@dataclass(frozen=True, slots=True)
class Found:
    """A process of a resolver: its shell, or a dnsmasq (`config` None)."""

    running: Running
    netns: Identity
    host_key: str
    subnet: str
    view: str
    config: ResolverConfig | None

    def of(self, step: ResolverStart | ResolverStop) -> bool:
        """Whether it belongs to the resolver of the step."""
        return (self.subnet, self.view) == (step.subnet, step.view)


def directory_of(context: KernelContext) -> Path:
    """The directory of the host's files of names."""
    return context.run_directory.with_name("netctl-dns") / context.host_key


def path_of(context: KernelContext, subnet: str, view: str) -> Path:
    """The file of a view."""
    return directory_of(context) / Path(names_path(context.topology, context.host_key, subnet, view)).name


# --- reading ----------------------------------------------------------------------------------------------------------


def read_resolvers(context: KernelContext) -> tuple[ResolverInfo, ...]:
    """The resolvers of the host; a dnsmasq that no shell would start again has the port 0."""
    configs: dict[tuple[str, str], ResolverConfig] = {}
    pids: dict[tuple[str, str], list[int]] = {}
    for one in _read_found(context):
        key = one.subnet, one.view
        pids.setdefault(key, []).append(one.running.pid)
        configs[key] = one.config or configs.get(key, ALONE)
    return tuple(ResolverInfo(*key, configs[key], tuple(sorted(pids[key]))) for key in sorted(configs))


def read_names(context: KernelContext) -> dict[tuple[str, str], tuple[str, ...]]:
    """The lines of the topology's files, by subnet and view. HostError if one cannot be read."""
    found = {}
    directory, prefix = directory_of(context), f"{context.topology}."
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        subnet, _, view = path.name.removeprefix(prefix).partition(".")
        if path.name.startswith(prefix) and re.fullmatch(VIEW, view):
            try:
                found[subnet, view] = tuple(path.read_text(encoding="utf-8").splitlines())
            except (OSError, UnicodeDecodeError) as error:
                raise HostError(f"cannot read the names in {path}: {error}", f"remove it: rm {path}") from error
    return found


def _read_found(context: KernelContext) -> Iterator[Found]:
    host = identify(context.own_netns)
    return (one for one in read_all_resolvers(context) if one.host_key == context.host_key and one.netns == host)


def read_all_resolvers(context: KernelContext) -> Iterator[Found]:
    """The processes of the topology's resolvers, on all hosts that share the machine; none if it never had names."""
    if not directory_of(context).parent.is_dir():
        return
    mark = f"{RESOLVER_MARK}={context.topology}/".encode()
    for name, bearer in read_named_bearers(mark, (PROGRAM, "sh")):
        owner = parse_mark(bearer.value_of(RESOLVER_MARK) or "")
        if owner and owner[0] == context.topology and is_label(owner[2]) and (name == PROGRAM or bearer.is_roots):
            config = _config_of(bearer) if name != PROGRAM else None
            if config or name == PROGRAM:
                yield Found(bearer.running, bearer.netns, *owner[1:], config)


def _config_of(bearer: Bearer) -> ResolverConfig | None:
    """The configuration that a shell holds; None for a child of it between fork and exec."""
    text = bearer.value_of(CONFIG_MARK)
    with contextlib.suppress(ProcessLookupError):
        if text is not None and os.getsid(bearer.running.pid) == bearer.running.pid:
            return ResolverConfig.parse(text)
    return None


# --- steps ------------------------------------------------------------------------------------------------------------


def check_resolvers(steps: Collection[Step]) -> None:
    """HostError if a resolver among the steps cannot be started because its program is missing."""
    if any(isinstance(step, ResolverStart) for step in steps) and not _find_program():
        raise HostError(f"there is no {PROGRAM} on this host, which answers for names", INSTALL)


def run_resolver_step(context: KernelContext, step: Step) -> bool:
    """Execute a step of a resolver or its file; False if it is another's. StepError."""
    match step:
        case ResolverStart():
            _start(context, step)
        case ResolverStop():
            _stop(context, step)
        case NamesDelete():
            path = path_of(context, step.subnet, step.view)
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.log").unlink(missing_ok=True)  # of one that was killed with its shell
            with contextlib.suppress(OSError):  # others are in it
                directory_of(context).rmdir()
                directory_of(context).parent.rmdir()
        case _:
            return False
    return True


def write_names(context: KernelContext, steps: Collection[NamesWrite]) -> None:
    """Replace the files, and let each resolver that runs read its file again: one signal for all changes. StepError."""
    for step in steps:
        path = path_of(context, step.subnet, step.view)
        try:
            _make_directory(path.parent)
            replace_file(path, "".join(f"{line}\n" for line in step.lines), mode=FILE_MODE)
        except OSError as error:
            raise StepError(step, f"cannot write {path}: {error.strerror}") from error
    keys = {(step.subnet, step.view) for step in steps}
    for one in _read_found(context) if keys else ():
        if one.config is None and (one.subnet, one.view) in keys:
            send_signal(one.running, signal.SIGHUP)


def _make_directory(directory: Path) -> None:
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)  # another host may delete the empty parent now
    for each in (directory.parent, directory):
        if each.is_symlink() or each.stat().st_uid != os.geteuid():
            raise HostError(f"{each} is not root's own directory", f"look at it, then remove it: rm -r {each}")
        each.chmod(DIRECTORY_MODE)


def _find_program() -> str | None:
    return shutil.which(PROGRAM, path=os.environ.get("PATH", DEFAULT_PATH) + ":/usr/local/sbin:/usr/sbin:/sbin")


def _start(context: KernelContext, step: ResolverStart) -> None:
    program = _find_program()
    if program is None:
        raise StepError(step, f"there is no {PROGRAM} on this host: apt-get install dnsmasq-base")
    _stop(context, step)  # one whose shell has ended would keep the port
    mark = mark_of(context.topology, context.host_key, step.subnet, step.view)
    env = {"PATH": os.environ.get("PATH", DEFAULT_PATH), RESOLVER_MARK: mark, CONFIG_MARK: step.config.to_text()}
    path = path_of(context, step.subnet, step.view)
    log = path.with_name(f"{path.name}.log")
    _, *words = step.config.words(str(path))
    line = ("/bin/sh", "-c", LOOP, "sh", str(log), program, *words)
    inherited = inheritable_descriptors()

    def start() -> Iterator[int]:
        enter(context.own_netns)
        yield spawn(context, str(log), line, env, inherited)

    try:
        start_in_thread(start)
    except OSError as error:
        raise StepError(step, f"cannot start {program}: {error.strerror}") from error
    _wait_until_up(context, step, log)


def _wait_until_up(context: KernelContext, step: ResolverStart, log: Path) -> None:
    """Return when the server listens, or has run for a moment: it waits itself for an address that its bridge lacks."""
    deadline = time.monotonic() + START_TIMEOUT_S
    since: dict[Running, float] = {}
    while time.monotonic() < deadline:
        servers = [one.running for one in _read_found(context) if one.config is None and one.of(step)]
        since = {one: since.get(one, time.monotonic()) for one in servers}
        if any(_listens(one.pid, step.config.port) or begun + STAYS_S < time.monotonic() for one, begun in since.items()):
            return
        time.sleep(POLL_S)
    said = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    _stop(context, step)
    reason = said.rpartition("\n")[2] or "it printed nothing"
    raise StepError(step, f"{PROGRAM} on {step.config.bridge} does not start: {reason}")


def _listens(pid: int, port: int) -> bool:
    """Whether the process holds a listening socket of TCP at the port."""
    inodes = set()
    for family in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            rows = Path(f"/proc/{pid}/net/{family}").read_text(encoding="ascii").splitlines()[1:]
            cells = [row.split() for row in rows]
            inodes |= {f"socket:[{row[9]}]" for row in cells if row[1].endswith(f":{port:04X}") and row[3] == TCP_LISTEN}
    with contextlib.suppress(OSError):
        return not inodes.isdisjoint(read_descriptors(pid))
    return False


def _stop(context: KernelContext, step: ResolverStart | ResolverStop) -> None:
    """The shell first, which would start another."""
    shells = [one.running for one in _read_found(context) if one.config and one.of(step)]
    for shell in shells:
        send_signal(shell, signal.SIGKILL)
    wait_until_gone(shells, STOP_TIMEOUT_S)
    servers = [one.running for one in _read_found(context) if one.of(step)]
    for server in servers:
        send_signal(server, signal.SIGTERM)
    left = wait_until_gone(servers, STOP_TIMEOUT_S)
    for server in left:
        send_signal(server, signal.SIGKILL)
    if still := wait_until_gone(left, STOP_TIMEOUT_S):
        raise StepError(step, f"the name server {still[0].pid} does not end, not even by SIGKILL")
    path = path_of(context, step.subnet, step.view)
    path.with_name(f"{path.name}.log").unlink(missing_ok=True)
