"""The specification of an engine's container, and the name of a container that is kept for a rollback."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from reconciler.state.secrets import mask_env

PARKED = ".netctl-parked-"
"""The suffix of a parked container's name. An id or a number follows it, so that no two have the same name."""


HOLDER = ".net"
"""The suffix of the name of the container that holds another's network namespace."""
OWN, HELD, LOST = "own", "held", "lost"
"""The network namespace of a container: its own, which ends with its processes; or the one that netctl holds for it. The third
is one that netctl held before, and that is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """How an engine finds out whether a container works. Times are in nanoseconds; 0 is the image's own, or the engine's."""

    test: tuple[str, ...] = ()
    """`NONE`, or `CMD` and words, or `CMD-SHELL` and a line; empty: the image's own test."""
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A limit of setrlimit(2), by its name without `RLIMIT_`, in lower case; -1 is none."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Logging:
    """Where an engine writes what a container prints."""

    driver: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """The input from which an engine creates a container; a change of any field re-creates the container.

    An empty value is the image's own, or the engine's. `state.engines.run_options` has the words of Docker for each.
    """

    runtime: str
    image: str
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    restart: str = "no"
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    healthcheck: Healthcheck | None = None
    init: bool = False
    cap_add: tuple[str, ...] = ()
    """Capabilities without `CAP_`; `ALL` for all."""
    cap_drop: tuple[str, ...] = ()
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    privileged: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 0
    """Bytes."""
    memory: int = 0
    """Bytes."""
    cpus: int = 0
    """Billionths of a CPU."""
    pids_limit: int = 0
    stop_signal: str = ""
    stop_timeout: int | None = None
    """Seconds."""
    logging: Logging | None = None
    hostname: str = ""
    """Empty in a container that joins a holder: the holder has the name."""

    @property
    def has_own_hosts(self) -> bool:
        """Whether one of its volumes is its /etc/hosts."""
        return any(volume.split(":")[1:2] == ["/etc/hosts"] for volume in self.volumes)

    def masked(self) -> ContainerSpec:
        """The same without the values of its environment variables."""
        return replace(self, env=mask_env(self.env)) if self.env else self


@dataclass(frozen=True, slots=True)
class HolderSpec:
    """The input from which an engine creates a holder: what the container that joins it shares with it, besides the network."""

    hostname: str


SPEC_KEYS = tuple(each.name for each in fields(ContainerSpec) if each.name != "runtime")
"""The keys of a container in the file that its spec holds under the same name."""
BARE_KEYS = ("command", "env")
"""Those that a bare namespace has, too."""
