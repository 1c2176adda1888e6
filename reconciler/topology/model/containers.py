"""A container of the file, with the values from which an engine creates it."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from reconciler.state.engines import Runtime
from reconciler.state.uapi import BRIDGE_PORTS_MAX
from reconciler.topology.fields import Reference
from reconciler.topology.model.base import Given, ListForm, Model, Text
from reconciler.topology.model.dns import ContainerDnsField, ContainerDnsModel
from reconciler.topology.model.env_files import EnvFiles
from reconciler.topology.model.existing import Existing
from reconciler.topology.model.host_names import Aliases, ExtraHosts, HostName
from reconciler.topology.model.networks import NetworkModel
from reconciler.topology.model.ports import PublicationModel
from reconciler.topology.model.run_options import (
    Capabilities,
    Count,
    Cpus,
    Devices,
    Directory,
    Health,
    Labels,
    LoggingField,
    Seconds,
    SecurityOptions,
    Signal,
    Size,
    Tmpfs,
    Ulimits,
    User,
)
from reconciler.topology.scalars import describe, expect_text, parse_item, parse_pairs, refuse, shorten
from reconciler.topology.types import CONNECTIONS, CONNECTIONS_MAX, CONNECTIONS_MIN

_IMAGE = r"[A-Za-z0-9/][A-Za-z0-9._/:@-]{0,254}"
_VARIABLE = re.compile(r"[^\s=\0-][^\s=\0]*")
"""The name of a variable: env(1) reads one that begins with `-` as an option."""
_LINE_END = re.compile("[\0-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
"""All control characters except the tab, and all others that may end a line."""


def parse_image(value: Any) -> str:
    """An image reference; the engine checks it completely."""
    image = expect_text(value, "the name of an image", "write one such as nginx:1.27", _IMAGE)
    if not re.fullmatch(_IMAGE, image):
        raise refuse(f"is not an image name: `{shorten(image)}`", "write one such as nginx:1.27")
    return image


def parse_command(value: Any) -> tuple[str, ...]:
    """A list of words; one text is split into words as a shell would, but no shell runs it."""
    if isinstance(value, str):
        _refuse_nul(value)
        try:
            return tuple(shlex.split(value))
        except ValueError:
            raise refuse(
                "has a quote that is opened and never closed", "write the command as a list: [sleep, infinity]"
            ) from None
    if not isinstance(value, tuple):
        raise refuse(f"must be a list of words, but is {describe(value)}", "write it as a list: [sleep, infinity]")
    if value[:1] == ("",):
        raise refuse("has no program: its first word is empty", "write the program first: [sleep, infinity]")
    for number, word in enumerate(value):
        parse_item(_parse_word, word, number)
    return value


def _parse_word(word: Any) -> None:
    if isinstance(word, str):
        _refuse_nul(word)
        return
    written = str(word).lower() if isinstance(word, bool) else str(word)
    is_plain = isinstance(word, bool | int | float)
    help_text = f'put it in quotes: "{written}"' if is_plain else "write every word as text: [sleep, infinity]"
    raise refuse(f"must be a list of texts, but one item is {describe(word)}", help_text)


def _refuse_nul(text: str) -> None:
    """The kernel ends every word and every variable at a NUL (execve(2))."""
    if "\0" in text:
        raise refuse(f"has a NUL, which ends a text for the kernel: `{shorten(text)}`", "remove it")


def parse_env(value: Any) -> tuple[tuple[str, str], ...]:
    """A mapping of name to text, or a list of `NAME=value`."""
    if not isinstance(value, tuple | dict):
        raise refuse(f"must be a mapping of name to text, but is {_kind_of(value)}", "write `env: {NAME: value}`")
    return parse_pairs(value, _split_variable, _check_variable)


def _split_variable(item: Any) -> tuple[str, str]:
    if isinstance(item, dict) and len(item) == 1:
        name, equals, _ = next(iter(item)).partition("=")
        remedy = f"write {shorten(name)}=value as the item, or {shorten(name)}: value without the `- `"
        raise refuse("has a mapping as an item", "put the whole item in quotes, because it contains `: `" if equals else remedy)
    if not isinstance(item, str) or not item:
        raise refuse(f"must have NAME=value as its items, but one is {_kind_of(item)}", "write NAME=value")
    name, separator, text = item.partition("=")
    if not separator:
        message = f"has an item without `=`: `{shorten(item)}`"
        raise refuse(message, f"write {shorten(item)}=value; netctl passes on none of its own environment")
    return name, text


def _check_variable(pair: tuple[str, Any]) -> None:
    name, text = pair
    if not _VARIABLE.fullmatch(name):
        raise refuse(f"has a name that no variable can have: `{shorten(name)}`", "use letters, digits and `_`")
    if not isinstance(text, str):
        is_plain = isinstance(text, bool | int | float)
        help_text = f"put the value of {name} in quotes" if is_plain else f'write {name}: "value"'
        raise refuse(f"must give text for `{shorten(name)}`, but gives {_kind_of(text)}", help_text)
    if "\0" in text:  # the value is not shown
        raise refuse(f"has a NUL in `{shorten(name)}`, which ends a text for the kernel", "remove it")


def _kind_of(value: Any) -> str:
    """As `describe`, without the value: it may be a password."""
    if value is None:
        return "nothing"
    names = {bool: "a truth value", str: "a text", tuple: "a list", dict: "a mapping"}
    return names.get(type(value), "a number")


def parse_volume(value: Any) -> str:
    """`[host path or volume name:]container path[:options]`."""
    text = expect_text(value, "a volume", "write one such as /srv/data:/data:ro")
    if _LINE_END.search(text):
        raise refuse(f"has a line break, or a character that no path should have: `{shorten(text)}`", "rename the path")
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts) or not parts[1].startswith("/"):
        raise refuse(
            f"is not a volume: `{shorten(text)}`",
            "write host path:container path[:ro], both paths absolute, or volume name:container path",
        )
    if not parts[0].startswith("/") and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", parts[0]):
        raise refuse(f"must have an absolute host path: `{shorten(text)}`", "write the path from / on, as in /srv/data:/data")
    return text


Image = Annotated[str, PlainValidator(parse_image), Text]
Command = Annotated[
    tuple[str, ...],
    PlainValidator(parse_command),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
Env = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(parse_env),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
            ]
        }
    ),
]
Volume = Annotated[str, PlainValidator(parse_volume), Text]


class ContainerModel(Model):
    """A container, or several alike (`replicas`)."""

    host: Reference = Field("", description="The host that it runs on. May be left out if the file has one host.")
    runtime: Annotated[Runtime | None, Given] = Field(
        None, description="Default: docker if `image` or `existing` is given, else netns (a bare namespace)."
    )
    image: Image = Field(
        "", description="What the engine runs, such as nginx:1.27. LXC: the path of a root filesystem, or the name of a template."
    )
    command: Command = Field((), description="What runs in it: a list of words, or a text that is split into words.")
    env: Env = Field((), description="Its environment: {NAME: value}, or a list of NAME=value.")
    volumes: Annotated[tuple[Volume, ...], ListForm] = Field((), description="host path or volume name:container path[:ro]")
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = Field("no", description="The engine's restart policy.")
    env_file: EnvFiles = Field((), description="Files with NAME=value in each line, beside the topology file. `env` goes first.")
    entrypoint: Command = Field((), description="What runs `command`: a list of words, or a text that is split into words.")
    user: User = Field("", description="Who runs it: a name or a number of the image's, and a group after a `:`.")
    working_dir: Directory = Field("", description="Where it starts.")
    labels: Labels = Field((), description="The engine's labels: {name: text}, or a list of name=text.")
    healthcheck: Health = Field(None, description="How the engine finds out whether it works, in Compose's words.")
    init: bool = Field(False, description="Whether a small init runs as its first process.")
    cap_add: Capabilities = Field((), description="Capabilities that it gets.")
    cap_drop: Capabilities = Field((), description="Capabilities that it loses.")
    read_only: bool = Field(False, description="Whether it cannot write to its root filesystem.")
    tmpfs: Tmpfs = Field((), description="Paths with a filesystem in memory: /run, or /run:size=64m.")
    devices: Devices = Field((), description="Devices of the host that it may use: /dev/net/tun, or vendor.com/class=name.")
    security_opt: SecurityOptions = Field((), description="The engine's security options, such as no-new-privileges:true.")
    privileged: bool = Field(False, description="Whether it has all rights on its host. It can then change every network there.")
    ulimits: Ulimits = Field((), description="Limits of its processes: {nofile: 4096}, or {nofile: {soft: 1024, hard: 4096}}.")
    shm_size: Size = Field(0, description="The size of its /dev/shm: bytes, or text such as 64m.")
    memory: Size = Field(0, description="How much memory it may use: bytes, or text such as 512m.")
    cpus: Cpus = Field(0, description="How many CPUs it may use, such as 0.5.")
    pids_limit: Count = Field(0, description="How many processes it may have.")
    stop_signal: Signal = Field("", description="The signal that ends it.")
    stop_timeout: Seconds = Field(None, description="How long it may take to end, before it is killed: 30s.")
    logging: LoggingField = Field(None, description="Where the engine writes what it prints: {driver: …, options: {…}}.")
    hostname: HostName = Field("", description="Its host name; default: its name.")
    aliases: Aliases = Field((), description="More names of its own addresses, in its /etc/hosts.")
    extra_hosts: ExtraHosts = Field(
        (),
        description="More lines of its /etc/hosts: {name: address}, or a list of name:address; the address may be host-gateway.",
    )
    share: Reference = Field("", description="The container whose network it has, on the same host and in the same runtime.")
    existing: Existing = Field(
        False,
        description="Connect a container that the engine runs already: true (named as the key), or its name. Or several: "
        "{compose: project/service}, or {label: key=value}.",
    )
    replicas: Annotated[int | None, Given] = Field(
        None, ge=0, le=BRIDGE_PORTS_MAX, description="How many replicas, named NAME-1, NAME-2 …"
    )
    networks: dict[Reference, NetworkModel] = Field(
        {},
        description="The subnets it is in: an address, auto, or the long form. The first not isolated has the default route.",
    )
    ports: Annotated[tuple[PublicationModel, ...], ListForm] = Field((), description="Its published ports.")
    connections: int = Field(
        CONNECTIONS,
        ge=CONNECTIONS_MIN,
        le=CONNECTIONS_MAX,
        description="How many connections it may have open at once through its host, on each of its networks.",
    )
    dns: ContainerDnsField = Field(
        ContainerDnsModel(named=True, aliases=()), description="Its names: false for none, or {aliases: [www]}."
    )
