"""The normalised form of a Compose file, as `docker compose config --format json` prints it: what concerns networks.

Types are strict: a value of another type is a fault, and never converted. A key that stands in no class here is kept in
`model_extra`, so that a comment can name it. (compose-spec, schema/compose-spec.json)
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from reconciler.errors import UsageError
from reconciler.state.visible import visible_line

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}", re.ASCII)
SIZE_MAX_BYTES = 16 * 1024 * 1024
"""A normalised file of a thousand services has about one mebibyte."""
SHOWN_MAX = 60


def _expect_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"not a name that Compose accepts: {text[:SHOWN_MAX]!r}")
    return text


def _expect_project(text: str) -> str:
    if not _PROJECT.fullmatch(text):
        raise ValueError(f"not a project's name that Compose accepts: {text[:SHOWN_MAX]!r}")
    return text


Name = Annotated[str, AfterValidator(_expect_name)]


class ComposePart(BaseModel):
    """A mapping of the file."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    @property
    def others(self) -> dict[str, Any]:
        """The keys that no class here knows, without extensions (`x-…`), which every program ignores."""
        return {key: value for key, value in (self.model_extra or {}).items() if not key.startswith("x-")}


class Port(ComposePart):
    """A published port. Compose writes ports as numbers or text, and a range as text."""

    target: int | str
    published: int | str | None = None
    host_ip: str | None = None
    protocol: str | None = None
    mode: str | None = None
    name: str | None = None
    app_protocol: str | None = None


class NetworkUse(ComposePart):
    """A service's endpoint in a network."""

    aliases: tuple[str, ...] | None = None
    ipv4_address: str | None = None
    ipv6_address: str | None = None
    mac_address: str | None = None
    interface_name: str | None = None
    gw_priority: int | float | None = None
    priority: int | float | None = None


class Deploy(ComposePart):
    """How often a service runs; the rest is the engine's."""

    mode: str | None = None
    replicas: int | None = None


class ComposeService(ComposePart):
    """What Compose starts as one container, or as several."""

    networks: dict[Name, NetworkUse | None] | None = None
    network_mode: str | None = None
    ports: tuple[Port, ...] | None = None
    links: tuple[str, ...] | None = None
    external_links: tuple[str, ...] | None = None
    extra_hosts: Any = None
    hostname: str | None = None
    container_name: str | None = None
    mac_address: str | None = None
    profiles: tuple[str, ...] | None = None
    scale: int | None = None
    deploy: Deploy | None = None
    image: str | None = None
    entrypoint: tuple[str, ...] | str | None = None
    command: tuple[str, ...] | str | None = None
    healthcheck: Any = None
    depends_on: Any = None
    provider: Any = None
    sysctls: Any = None

    @property
    def count(self) -> int:
        """How many containers it has at first."""
        replicas = self.deploy.replicas if self.deploy else None
        return next((number for number in (self.scale, replicas) if number is not None), 1)

    @property
    def is_single(self) -> bool:
        """Whether it has one container at most, which can have a fixed address."""
        return self.count <= 1 or bool(self.container_name)


class Range(ComposePart):
    """A prefix of a network (IPAM)."""

    subnet: str | None = None
    gateway: str | None = None
    ip_range: str | None = None
    aux_addresses: dict[str, str] | None = None


class Ipam(ComposePart):
    """The addresses of a network."""

    driver: str | None = None
    config: tuple[Range, ...] | None = None


class ComposeNetwork(ComposePart):
    """A network of the file."""

    name: str | None = None
    driver: str | None = None
    driver_opts: dict[str, str | int | float | bool] | None = None
    ipam: Ipam | None = None
    external: bool | None = None
    internal: bool | None = None
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    attachable: bool | None = None
    labels: Any = None


class Project(ComposePart):
    """A whole file. Volumes, configs and secrets stay with Compose, so they have no class."""

    name: Annotated[str, AfterValidator(_expect_project)]
    services: dict[Name, ComposeService] = Field(min_length=1)
    networks: dict[Name, ComposeNetwork | None] = {}


KEPT = frozenset(
    [
        "annotations",
        "attach",
        "blkio_config",
        "build",
        "cap_add",
        "cap_drop",
        "cgroup",
        "cgroup_parent",
        "configs",
        "cpu_count",
        "cpu_percent",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpu_shares",
        "cpus",
        "cpuset",
        "credential_spec",
        "develop",
        "device_cgroup_rules",
        "devices",
        "dns",
        "dns_opt",
        "dns_search",
        "domainname",
        "env_file",
        "environment",
        "expose",
        "gpus",
        "group_add",
        "init",
        "ipc",
        "isolation",
        "label_file",
        "labels",
        "logging",
        "mem_limit",
        "mem_reservation",
        "mem_swappiness",
        "memswap_limit",
        "models",
        "oom_kill_disable",
        "oom_score_adj",
        "pid",
        "pids_limit",
        "platform",
        "post_start",
        "pre_stop",
        "privileged",
        "pull_policy",
        "pull_refresh_after",
        "read_only",
        "restart",
        "runtime",
        "secrets",
        "security_opt",
        "shm_size",
        "stdin_open",
        "stop_grace_period",
        "stop_signal",
        "storage_opt",
        "tmpfs",
        "tty",
        "ulimits",
        "use_api_socket",
        "user",
        "userns_mode",
        "uts",
        "volumes",
        "volumes_from",
        "working_dir",
    ]
)
"""Keys of a service that say how Compose and the engine run its containers: they stay in force, so no comment names them."""


def parse_project(data: bytes) -> Project:
    """The normalised form, parsed. UsageError if it is none."""
    if len(data) > SIZE_MAX_BYTES:
        raise UsageError(f"cannot read the normalised Compose file: it is larger than {SIZE_MAX_BYTES >> 20} MiB", _HELP)
    try:
        return Project.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "too_short" and first["loc"] == ("services",):
            raise UsageError("cannot import: the Compose file has no services", "name a file with `services:`") from None
        place = ".".join(str(part)[:SHOWN_MAX] for part in first["loc"] if part != "[key]") or "the document"
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(visible_line(f"cannot read the normalised Compose file: {place}: {message}"), _HELP) from None


_HELP = "run `docker compose config --format json` to see what Compose makes of the file"
