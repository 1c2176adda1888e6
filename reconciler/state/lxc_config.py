"""The files of an LXC container that netctl makes, as text: its config, its mark, its command; and the words of lxc-create.

`kernel.engines.lxc` writes them; the command lines of a step print them. Pure, but for a look whether a mounted path is a file
or a directory.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.state.container_spec import ContainerSpec
from reconciler.state.jsontext import parse_json
from reconciler.state.shell import join, quote
from reconciler.state.spec_label import LABEL_MAX_BYTES, parse_spec, render_spec

MARK_FILE = "netctl.json"
"""In the container's directory: whose it is, and what it was made from. LXC leaves files that it does not know alone."""
COMMON_CONFIG = "/usr/share/lxc/config/common.conf"
COMMAND_FILE = ".netctl-command"
"""In the root filesystem, where the command has words that LXC, which splits at spaces and knows no quotes, would tear apart."""
LINE_ENDS = "\n\r\0"
"""What no line of a config can have within."""
TEMPLATE_DIRECTORY = "/usr/share/lxc/templates"


@dataclass(frozen=True, slots=True)
class Mark:
    """What MARK_FILE says. `complete` is false while the container is being made."""

    topology: str
    host: str
    name: str
    spec: ContainerSpec | None
    complete: bool = True
    parked: bool = False


def render_mark(mark: Mark) -> str:
    """The text of MARK_FILE."""
    spec = render_spec(mark.spec) if mark.spec else ""
    fields = {"topology": mark.topology, "host": mark.host, "name": mark.name, "spec": spec}
    return json.dumps({**fields, "complete": mark.complete, "parked": mark.parked}) + "\n"


def parse_mark(text: str) -> Mark | None:
    """What MARK_FILE says; None where it is none of netctl's."""
    try:
        told = parse_json(text, LABEL_MAX_BYTES)
        topology, host, name = (str(told[key]) for key in ("topology", "host", "name"))
        return Mark(topology, host, name, parse_spec(str(told["spec"])), bool(told["complete"]), bool(told["parked"]))
    except (ValueError, KeyError, TypeError):
        return None


def is_template(image: str) -> bool:
    """Whether `image` names a template of LXC's, and is not the path of a root filesystem."""
    return not image.startswith("/")


def template_words(image: str) -> tuple[str, ...]:
    """The template and its options for lxc-create(1): `busybox`, or `download:debian/bookworm/amd64`."""
    template, _, rest = image.partition(":")
    parts = rest.split("/") if rest else []
    options = [word for option, part in zip(("--dist", "--release", "--arch"), parts, strict=False) for word in (option, part)]
    return (template, "--", *options) if options else (template,)


def render_config(container: str, spec: ContainerSpec, directory: str, *, common: bool) -> str:
    """The config of a container made from a root filesystem (lxc.container.conf(5)), or what is added to a template's."""
    lines = []
    if not is_template(spec.image):
        lines += [f"lxc.include = {COMMON_CONFIG}"] if common else []
        lines += [f"lxc.uts.name = {container}", rootfs_line(directory)]
    # The first line takes away what a template, or the machine's default.conf, has put there.
    lines += ["lxc.net =", "lxc.net.0.type = empty"]
    if spec.command:
        lines += [f"lxc.init.cmd = {render_init(spec.command)}", "lxc.signal.halt = SIGTERM"]
    lines += [f"lxc.environment = {_keep_blanks(f'{name}={value}')}" for name, value in spec.env]
    lines += [f"lxc.mount.entry = {render_mount(volume)}" for volume in spec.volumes]
    if spec.restart != "no":
        lines.append("lxc.start.auto = 1")
    for line in lines:
        check_line(line)
    return "\n".join(lines) + "\n"


def check_line(line: str) -> None:
    """ValueError where a line of a config would be more than one, or end early: LXC has no escape for such characters.

    The file is checked for them (`topology.check_runtimes`), so that this is met only where it was not.
    """
    if any(char in line for char in LINE_ENDS):
        raise ValueError("a line break or NUL in a line of LXC's config")


def _keep_blanks(value: str) -> str:
    """A value with blanks at its ends in quotes: LXC cuts off blanks, and then one pair of quotes (confile.c, parse_line)."""
    return f'"{value}"' if value != value.strip() else value


def rootfs_line(directory: str) -> str:
    """Where LXC finds the root filesystem."""
    return f"lxc.rootfs.path = dir:{directory}/rootfs"


def move_rootfs(config: str, directory: str) -> str:
    """The config of a container that has moved to `directory`."""
    lines = (rootfs_line(directory) if line.startswith("lxc.rootfs.path") else line for line in config.splitlines())
    return "\n".join(lines) + "\n"


def needs_command_file(command: tuple[str, ...]) -> bool:
    """Whether LXC would tear the command's words apart: it splits at blanks, and takes quotes and backslashes for its own."""
    return any(not word or any(letter.isspace() or letter in "'\"\\" for letter in word) for word in command)


def render_init(command: tuple[str, ...]) -> str:
    """The value of lxc.init.cmd."""
    return f"/bin/sh /{COMMAND_FILE}" if needs_command_file(command) else " ".join(command)


def render_command_file(command: tuple[str, ...]) -> str:
    """A shell's way to the very words."""
    return f"exec {shlex.join(command)}\n"


def render_mount(volume: str) -> str:
    """A line of fstab(5) for `host path:container path[:ro]`; blanks and line breaks are written as octal numbers there."""
    source, target, *options = volume.split(":")
    kind = "file" if Path(source).is_file() else "dir"
    words = ["bind", *("ro" for option in options if option == "ro"), f"create={kind}"]
    return f"{_escape(source)} {_escape(target.lstrip('/'))} none {','.join(words)} 0 0"


def _escape(path: str) -> str:
    """As getmntent(3) reads it."""
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")


# --- command lines ----------------------------------------------------------------------------------------------------


def create_commands(topology: str, host_key: str, container: str, spec: ContainerSpec, directory: str) -> Iterator[str]:
    """The command lines that make a container in `directory`, its files as `kernel.engines.lxc` writes them."""
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
    if needs_command_file(spec.command):
        yield _write(render_command_file(spec.command), ">", f"{rootfs}/{COMMAND_FILE}")
    config = render_config(container, spec, directory, common=Path(COMMON_CONFIG).exists())
    yield _write_private(config, redirection, f"{directory}/config")
    yield _write_private(render_mark(Mark(topology, host_key, container, spec)), ">", f"{directory}/{MARK_FILE}")


def _write(text: str, redirection: str, path: str) -> str:
    return f"printf %s {quote(text)} {redirection}{quote(path)}"


def _write_private(text: str, redirection: str, path: str) -> str:
    """For root alone: it has the values of variables."""
    return f"(umask 077; {_write(text, redirection, path)}; {join(['chmod', '600', path])})"
