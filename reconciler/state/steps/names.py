"""The steps of names: resolvers, the files that they answer from, and the resolv.conf of containers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from shlex import join, quote

from reconciler.state.ref import names_path, resolv_path
from reconciler.state.resolver import CONFIG_MARK, LOOP, RESOLVER_MARK, ResolverConfig, mark_of
from reconciler.state.shell import HostShell
from reconciler.state.steps.backends import NAMES
from reconciler.state.steps.step import Step

FORMER = "# netctl keeps what was here before: "
"""The beginning of each line of an engine's own resolv.conf, below those of netctl."""
WRITTEN = "# written by netctl; the lines below are its own"
"""The first line of a resolv.conf of netctl's."""


@dataclass(frozen=True, slots=True)
class ResolverStart(Step):
    """Run dnsmasq for a view of a subnet, with a shell that starts it again, in the host's own namespace."""

    backend = NAMES
    subnet: str
    view: str
    config: ResolverConfig

    def commands(self, shell: HostShell) -> Iterator[str]:
        path = names_path(shell.topology, shell.host_key, self.subnet, self.view)
        mark = mark_of(shell.topology, shell.host_key, self.subnet, self.view)
        marks = [f"{RESOLVER_MARK}={mark}", f"{CONFIG_MARK}={self.config.to_text()}"]
        words = ["setsid", "env", *marks, "/bin/sh", "-c", LOOP, "sh", f"{path}.log", *self.config.words(path)]
        yield f"{shell.tool(self.netns, *words)} </dev/null >/dev/null 2>&1 &"


@dataclass(frozen=True, slots=True)
class ResolverStop(Step):
    """End a resolver: the shell first, which would start it again."""

    backend = NAMES
    subnet: str
    view: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        mark = f"{RESOLVER_MARK}={mark_of(shell.topology, shell.host_key, self.subnet, self.view)}"
        yield from _signal(shell, mark, "-KILL", "sh")
        yield from _signal(shell, mark, "-TERM", "dnsmasq")
        yield join(["rm", "-f", f"{names_path(shell.topology, shell.host_key, self.subnet, self.view)}.log"])


@dataclass(frozen=True, slots=True)
class NamesWrite(Step):
    """Replace the file of a view, and let its resolver read it, if it runs."""

    backend = NAMES
    subnet: str
    view: str
    lines: tuple[str, ...]

    def commands(self, shell: HostShell) -> Iterator[str]:
        path = names_path(shell.topology, shell.host_key, self.subnet, self.view)
        text = "".join(f"{line}\n" for line in self.lines)
        yield f"(umask 022; {join(['mkdir', '-p', path.rpartition('/')[0]])}; printf %s {quote(text)} >{quote(path)})"
        mark = f"{RESOLVER_MARK}={mark_of(shell.topology, shell.host_key, self.subnet, self.view)}"
        yield from _signal(shell, mark, "-HUP", "dnsmasq")


@dataclass(frozen=True, slots=True)
class NamesDelete(Step):
    """Delete the file of a view."""

    backend = NAMES
    subnet: str
    view: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        path = names_path(shell.topology, shell.host_key, self.subnet, self.view)
        yield join(["rm", "-f", path, f"{path}.log"])
        yield f"{join(['rmdir', '-p', path.rpartition('/')[0]])} 2>/dev/null || true"


@dataclass(frozen=True, slots=True)
class ResolvConfWrite(Step):
    """Write the resolv.conf of a container, and in place the one that its engine has mounted, if there is one."""

    backend = NAMES
    container: str
    runtime: str
    engine_name: str
    lines: tuple[str, ...]

    def commands(self, shell: HostShell) -> Iterator[str]:
        path = resolv_path(shell.topology, shell.host_key, self.container)
        text = "".join(f"{line}\n" for line in (WRITTEN, *self.lines))
        yield f"(umask 077; {join(['mkdir', '-p', path.rpartition('/')[0]])})"
        yield f"printf %s {quote(text)} >{quote(path)}"
        if self.runtime and (engine := shell.engines.get(self.container)):
            yield f'cat {quote(path)} >"/proc/$({engine.pid})/root/etc/resolv.conf"'


@dataclass(frozen=True, slots=True)
class ResolvConfDelete(Step):
    """Delete the file of a container, and restore the one of its engine, if that still runs."""

    backend = NAMES
    container: str
    runtime: str
    engine_name: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        path = resolv_path(shell.topology, shell.host_key, self.container)
        if self.runtime and (engine := shell.engines.get(self.container)):
            file = f'"/proc/$({engine.pid})/root/etc/resolv.conf"'
            yield f"former=$(sed -n {quote(f's/^{FORMER}//p')} {file}) && printf '%s\\n' \"$former\" >{file} || true"
        yield join(["rm", "-f", path])
        yield f"{join(['rmdir', path.rpartition('/')[0]])} 2>/dev/null || true"


def _signal(shell: HostShell, mark: str, number: str, program: str) -> Iterator[str]:
    """Send a signal to root's processes of a name that carry the mark, in the host's namespace."""
    pids = shell.tool("", "sh", "-c", f"exec pgrep --ns $$ --nslist net -x {program}")
    yield f"for pid in $({pids}); do"
    yield f"    ! grep -qzxF {quote(mark)} /proc/$pid/environ 2>/dev/null || kill {number} $pid 2>/dev/null || true"
    yield "done"
