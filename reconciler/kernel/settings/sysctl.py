"""Kernel settings under /proc/sys, read and written inside a namespace; previous values of the host's are remembered.

A host's namespace existed before netctl, so the last topology that uses a changed setting must restore it.
/run/netctl/<host key>/sysctl has a line for each key and topology: the key, the topology, the value written and the
value before. Tabs separate them, so that the script of `diff --commands` can write it too. The line is written before
the change. After a kill the file may report a change that did not happen, which the next apply corrects. The opposite
cannot happen. A previous value is never overwritten, because the new one would be netctl's own. The host's lock
excludes other writers.

To write FORWARDING is to write the forwarding of every link (inet_forward_change, net/ipv4/devinet.c; addrconf_forward_change,
net/ipv6/addrconf.c). So the file also has a line for each link that differs before, with the key of the setting as its user.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.namespaces import Namespaces, enter, run_in_thread
from reconciler.kernel.run_directory.private import write_private
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.kinds.settings.sysctl import FORWARDING
from reconciler.state.ref import HOST
from reconciler.state.steps.namespaces import FILE_NAME, HEADING, SysctlRestore, SysctlWrite
from reconciler.state.steps.step import RefusedError, Step


@dataclass(frozen=True, slots=True)
class Remembered:
    """A sysctl of the host that topologies changed: the previous value, the one written, and the topologies that use it."""

    before: str
    written: str
    users: tuple[str, ...]


def sysctl_path(key: str) -> str:
    """The file of a key: dots become slashes, and a slash, which stands for a dot in a name, becomes a dot (sysctl(8))."""
    return "/proc/sys/" + key.translate(str.maketrans("./", "/."))


def read_sysctl(key: str) -> str | None:
    """The value in the calling thread's namespace, with single white space; None if the kernel has no such key."""
    try:
        with open(sysctl_path(key), "rb", buffering=0) as file:
            return " ".join(file.read().decode().split())
    except FileNotFoundError:
        return None


def write_sysctl(key: str, value: str) -> None:
    """Write the value in the calling thread's namespace. OSError if the kernel rejects it."""
    with open(sysctl_path(key), "wb", buffering=0) as file:
        file.write(value.encode())


def read_sysctls(namespaces: Namespaces, wanted: Mapping[str, Iterable[str]]) -> dict[str, dict[str, str]]:
    """The values of the requested keys by namespace, by one thread; a key that the kernel does not have is left out."""
    found: dict[str, dict[str, str]] = {}
    paths = {netns: namespaces.path(netns) for netns, keys in wanted.items() if keys}

    def body() -> None:
        for netns, path in paths.items():
            enter(path)
            values = ((key, read_sysctl(key)) for key in wanted[netns])
            found[netns] = {key: value for key, value in values if value is not None}

    if paths:
        try:
            run_in_thread(body)
        except OSError as error:
            raise HostError(f"cannot read kernel settings: {error.strerror or error}") from error
    return found


def run_sysctl_steps(namespaces: Namespaces, steps: Iterable[Step]) -> None:
    """Execute SysctlWrite and SysctlRestore in order, by one thread. StepError at the first that is rejected."""
    steps = tuple(steps)

    def body() -> None:
        inside: str | None = None
        for step in steps:
            try:
                if step.netns != inside:
                    enter(namespaces.path(step.netns))
                    inside = step.netns
                _run(namespaces.context, step)
            except OSError as error:
                key = step.key if isinstance(step, SysctlWrite | SysctlRestore) else ""
                # The file with the previous values may have failed, and a setting's own path says no more than its key.
                file = str(_path(namespaces.context))
                where = f"{file}: " if error.filename in (file, f"{file}.tmp") else ""
                raise RefusedError(step, f"cannot set {key}: {where}{error.strerror or error}") from error

    run_in_thread(body)


def _run(context: KernelContext, step: Step) -> None:
    if isinstance(step, SysctlRestore):
        restore_sysctl(context, step.key)
    elif isinstance(step, SysctlWrite) and step.remember and step.netns == HOST:
        remember_sysctl(context, step.key, step.value)
        write_sysctl(step.key, step.value)
    elif isinstance(step, SysctlWrite):
        with contextlib.suppress(FileNotFoundError) if step.if_there else contextlib.nullcontext():
            write_sysctl(step.key, step.value)
    else:
        raise TypeError(f"not a step of sysctl: {step}")


# --- notes ------------------------------------------------------------------------------------------------------------


def read_remembered(context: KernelContext) -> dict[str, Remembered]:
    """The host's file. HostError if it is malformed: an empty one would lose the previous values."""
    path = _path(context)
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    if lines[:1] != [HEADING] or any(line.count("\t") != 3 for line in lines[1:]):
        help_text = "repair or delete the file; it has the values of kernel settings before netctl"
        raise HostError(f"cannot parse {path}", help_text)
    remembered: dict[str, Remembered] = {}
    for line in lines[1:]:
        key, topology, written, before = line.split("\t")
        known = remembered.get(key, Remembered(before, written, ()))
        remembered[key] = Remembered(known.before, written, tuple(sorted({*known.users, topology})))
    return remembered


def value_without_netctl(remembered: Mapping[str, Remembered], key: str) -> str | None:
    """The value of a setting as it would be without netctl: the noted one, if the live one is what netctl wrote."""
    value, known = read_sysctl(key), remembered.get(key)
    return known.before if known is not None and known.written == value else value


def remember_sysctl(context: KernelContext, key: str, value: str) -> None:
    """Note the current value of the key, before it is changed. OSError if the kernel has no such key."""
    remembered = read_remembered(context)
    known = remembered.get(key)
    if known is None:
        before = read_sysctl(key)
        if before is None:
            raise FileNotFoundError(2, "this kernel has no such setting")
        known = Remembered(before, value, ())
        for each, held in _read_forwarding(key):
            if held != before:
                one = remembered.get(each, Remembered(held, held, ()))
                remembered[each] = replace(one, users=tuple(sorted({*one.users, key})))
    users = tuple(sorted({*known.users, context.topology}))
    remembered[key] = Remembered(known.before, value, users)
    _write(context, remembered)


def restore_sysctl(context: KernelContext, key: str) -> None:
    """Release a key. Restore the previous value if no other topology uses the key, and its value is still netctl's."""
    if key not in read_remembered(context):
        return
    remembered = read_remembered(context)
    known = remembered.get(key)
    if known is None:
        return
    users = tuple(user for user in known.users if user != context.topology)
    if users:
        remembered[key] = Remembered(known.before, known.written, users)
    else:
        if read_sysctl(key) == known.written:
            links = {each: one for each, one in remembered.items() if key in one.users and read_sysctl(each) == known.written}
            write_sysctl(key, known.before)
            for each, one in links.items():
                # A topology that uses it, too, restores it later.
                value = one.before if one.users == (key,) else one.written
                with contextlib.suppress(FileNotFoundError):  # the link was deleted in between
                    write_sysctl(each, value)
        rest = {each: replace(one, users=tuple(user for user in one.users if user != key)) for each, one in remembered.items()}
        remembered = {each: one for each, one in rest.items() if each != key and one.users}
    _write(context, remembered)


def _read_forwarding(key: str) -> Iterator[tuple[str, str]]:
    """The key and the value of each link's own forwarding, if `key` writes all of them."""
    if key not in FORWARDING:
        return
    family = 6 if ".ipv6." in key else 4
    for link in sorted(os.listdir(f"/proc/sys/net/ipv{family}/conf")):
        own = interface_key(family, link, "forwarding")
        if link != "all" and (value := read_sysctl(own)) is not None:
            yield own, value


def _path(context: KernelContext) -> Path:
    return context.host_directory / FILE_NAME


def _write(context: KernelContext, remembered: Mapping[str, Remembered]) -> None:
    """Replace the file as a whole, on disk before anything relies on it; without entries, delete it."""
    path = _path(context)
    if not remembered:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it contains the lock, or another program's file
            path.parent.rmdir()
        return
    lines = (f"{key}\t{user}\t{one.written}\t{one.before}\n" for key, one in sorted(remembered.items()) for user in one.users)
    write_private(path, f"{HEADING}\n{''.join(lines)}")
