"""The files of an LXC container that netctl creates, as text: config, mark, command; and the arguments of lxc-create.

`kernel.engines.lxc` writes them, and the command lines of a step print them. The functions are pure, except that they
look whether a mounted path is a file or a directory.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.state.container_spec import ContainerSpec
from reconciler.state.jsontext import parse_json
from reconciler.state.ref import hosts_path
from reconciler.state.shell import join, quote
from reconciler.state.spec_label import LABEL_MAX_BYTES, parse_spec, render_spec

MARK_FILE = "netctl.json"
"""A file in the container's directory: its owner, and its specification. LXC ignores files that it does not know."""
COMMON_CONFIG = "/usr/share/lxc/config/common.conf"
COMMAND_FILE = ".netctl-command"
"""A file in the root filesystem, used if the command has words that LXC would split: it splits at spaces and knows no quotes."""
LINE_ENDS = "\n\r\0"
"""Characters that a line of a config must not contain."""
TEMPLATE_DIRECTORY = "/usr/share/lxc/templates"
LXC_KEYS = (
    *("image", "command", "env", "volumes", "restart", "entrypoint", "user", "working_dir", "cap_drop", "tmpfs", "ulimits"),
    *("memory", "cpus", "pids_limit", "stop_signal", "stop_timeout", "hostname"),
)
"""The keys of a spec for which LXC has a setting (lxc.container.conf(5)), or netctl a way of its own."""
NUMERIC_USER = r"[0-9]+(:[0-9]+)?"
"""A user as LXC takes it (lxc.init.uid)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The content of MARK_FILE. `complete` is false while netctl creates the container."""

    topology: str
    host: str
    name: str
    spec: ContainerSpec | None
    complete: bool = True
    parked: bool = False
    joins: str = ""
    """The path of the network namespace that it joins; "" for one of its own."""


def render_mark(mark: Mark) -> str:
    """The text of MARK_FILE."""
    spec = render_spec(mark.spec) if mark.spec else ""
    fields = {"topology": mark.topology, "host": mark.host, "name": mark.name, "spec": spec}
    return json.dumps({**fields, "complete": mark.complete, "parked": mark.parked, "network": mark.joins}) + "\n"


def parse_mark(text: str) -> Mark | None:
    """The mark in the text of MARK_FILE; None if it is none of netctl's."""
    try:
        data = parse_json(text, LABEL_MAX_BYTES)
        topology, host, name = (str(data[key]) for key in ("topology", "host", "name"))
        complete, parked, joins = bool(data["complete"]), bool(data["parked"]), str(data.get("network", ""))
        return Mark(topology, host, name, parse_spec(str(data["spec"])), complete, parked, joins)
    except (ValueError, KeyError, TypeError):
        return None


def is_template(image: str) -> bool:
    """Whether `image` names a template of LXC, and not the path of a root filesystem."""
    return not image.startswith("/")


def template_words(image: str) -> tuple[str, ...]:
    """The template and its options for lxc-create(1): `busybox`, or `download:debian/bookworm/amd64`."""
    template, _, rest = image.partition(":")
    parts = rest.split("/") if rest else []
    options = [word for option, part in zip(("--dist", "--release", "--arch"), parts, strict=False) for word in (option, part)]
    return (template, "--", *options) if options else (template,)


def render_config(container: str, spec: ContainerSpec, directory: str, *, common: bool, joins: str = "", hosts: str = "") -> str:
    """The config of a container with a root filesystem (lxc.container.conf(5)), or the lines added to a template's config.

    `joins` is the path of its network namespace, "" for one of its own; `hosts` that of its /etc/hosts, "" for its own.
    """
    lines = []
    if not is_template(spec.image):
        lines += [f"lxc.include = {COMMON_CONFIG}"] if common else []
    if spec.hostname or not is_template(spec.image):
        lines.append(f"lxc.uts.name = {spec.hostname or container}")
    if not is_template(spec.image):
        lines.append(rootfs_line(directory))
    # The first line resets the network of a template or of the machine's default.conf.
    lines += ["lxc.net =", "lxc.net.0.type = empty"]
    lines += [f"lxc.namespace.share.net = {joins}"] if joins else []
    if joins and not init_words(spec):
        # An init configures the interfaces that it finds: a DHCP client, for one, deletes all addresses first.
        lines.append("lxc.cap.drop = net_admin")
    if init_words(spec):
        lines += [f"lxc.init.cmd = {render_init(init_words(spec))}", f"lxc.signal.halt = {spec.stop_signal or 'SIGTERM'}"]
    elif spec.stop_signal:
        lines.append(f"lxc.signal.halt = {spec.stop_signal}")
    lines += _render_options(spec)
    lines += [f"lxc.environment = {_keep_blanks(f'{name}={value}')}" for name, value in spec.env]
    lines += [f"lxc.mount.entry = {render_mount(volume)}" for volume in spec.volumes]
    if hosts and not spec.has_own_hosts:
        lines.append(f"lxc.mount.entry = {_escape(hosts)} etc/hosts none bind,create=file 0 0")
    if spec.restart != "no":
        lines.append("lxc.start.auto = 1")
    for line in lines:
        check_line(line)
    return "\n".join(lines) + "\n"


def init_words(spec: ContainerSpec) -> tuple[str, ...]:
    """The words of a container's first process; empty for the init of its root filesystem."""
    return (*spec.entrypoint, *spec.command)


def _render_options(spec: ContainerSpec) -> Iterator[str]:
    """The lines for the keys that say how it runs."""
    uid, _, gid = spec.user.partition(":")
    if uid:
        yield f"lxc.init.uid = {uid}"
        yield f"lxc.init.gid = {gid or uid}"
    if spec.working_dir:
        yield f"lxc.init.cwd = {spec.working_dir}"
    yield from (f"lxc.cap.drop = {name.lower()}" for name in spec.cap_drop)
    yield from (f"lxc.prlimit.{one.name} = {_render_limit(one.soft)}:{_render_limit(one.hard)}" for one in spec.ulimits)
    for item in spec.tmpfs:
        path, _, options = item.partition(":")
        yield f"lxc.mount.entry = tmpfs {_escape(path.lstrip('/'))} tmpfs {options or 'rw'},create=dir 0 0"
    if spec.memory:
        yield f"lxc.cgroup2.memory.max = {spec.memory}"
    if spec.cpus:
        yield f"lxc.cgroup2.cpu.max = {max(spec.cpus // 10**4, 1000)} 100000"
    if spec.pids_limit:
        yield f"lxc.cgroup2.pids.max = {spec.pids_limit}"


def _render_limit(limit: int) -> str:
    return "unlimited" if limit == -1 else str(limit)


def check_line(line: str) -> None:
    """Raise ValueError if a line of a config would be more than one, or end early: LXC has no escape for such characters.

    `topology.checks` (`check_runtimes`) checks the file for them. This check is for plans that did not pass there.
    """
    if any(char in line for char in LINE_ENDS):
        raise ValueError("a line break or NUL in a line of LXC's config")


def _keep_blanks(value: str) -> str:
    """A value with blanks at its ends, in quotes: LXC strips blanks, and then one pair of quotes (confile.c, parse_line)."""
    return f'"{value}"' if value != value.strip() else value


def rootfs_line(directory: str) -> str:
    """The line that names the root filesystem."""
    return f"lxc.rootfs.path = dir:{directory}/rootfs"


def move_rootfs(config: str, directory: str) -> str:
    """The config of a container after its move to `directory`."""
    lines = (rootfs_line(directory) if line.startswith("lxc.rootfs.path") else line for line in config.splitlines())
    return "\n".join(lines) + "\n"


def needs_command_file(command: tuple[str, ...]) -> bool:
    """Whether LXC would split the command's words: it splits at blanks, and interprets quotes and backslashes."""
    return any(not word or any(letter.isspace() or letter in "'\"\\" for letter in word) for word in command)


def render_init(command: tuple[str, ...]) -> str:
    """The value of lxc.init.cmd."""
    return f"/bin/sh /{COMMAND_FILE}" if needs_command_file(command) else " ".join(command)


def render_command_file(command: tuple[str, ...]) -> str:
    """A shell script that runs exactly these words."""
    return f"exec {shlex.join(command)}\n"


def render_mount(volume: str) -> str:
    """A line of fstab(5) for `host path:container path[:ro]`; it writes blanks and line breaks as octal numbers."""
    source, target, *options = volume.split(":")
    kind = "file" if Path(source).is_file() else "dir"
    words = ["bind", *("ro" for option in options if option == "ro"), f"create={kind}"]
    return f"{_escape(source)} {_escape(target.lstrip('/'))} none {','.join(words)} 0 0"


def _escape(path: str) -> str:
    """The path with the escapes that getmntent(3) reads."""
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")


# --- command lines ----------------------------------------------------------------------------------------------------


def create_commands(mark: Mark, spec: ContainerSpec, directory: str, owner: str) -> Iterator[str]:
    """The command lines that create a container in `directory`, with the files that `kernel.engines.lxc` writes."""
    image, rootfs, redirection = spec.image, f"{directory}/rootfs", ">"
    yield join(["mkdir", "-p", directory])
    if is_template(image):
        lxc_path, _, name = directory.rpartition("/")
        yield join(["lxc-create", "-P", lxc_path, "-n", name, "--config", "/dev/null", "-t", *template_words(image)])
        redirection = ">>"
    else:
        copy = join(["cp", "--archive", "--reflink=auto", f"{image}/.", rootfs])
        unpack = join(["tar", "--extract", "--numeric-owner", "--file", image, "--directory", rootfs])
        yield join(["mkdir", rootfs])
        yield f"if [ -d {quote(image)} ]; then {copy}; else {unpack}; fi"
    if needs_command_file(init_words(spec)):
        yield _write(render_command_file(init_words(spec)), ">", f"{rootfs}/{COMMAND_FILE}")
    hosts = hosts_path(mark.topology, mark.host, owner) if mark.joins else ""
    config = render_config(mark.name, spec, directory, common=Path(COMMON_CONFIG).exists(), joins=mark.joins, hosts=hosts)
    yield _write_private(config, redirection, f"{directory}/config")
    yield _write_private(render_mark(mark), ">", f"{directory}/{MARK_FILE}")


def _write(text: str, redirection: str, path: str) -> str:
    return f"printf %s {quote(text)} {redirection}{quote(path)}"


def _write_private(text: str, redirection: str, path: str) -> str:
    """Write a file that only root can read: it has the values of environment variables."""
    return f"(umask 077; {_write(text, redirection, path)}; {join(['chmod', '600', path])})"
