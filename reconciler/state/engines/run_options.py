"""How an engine runs a container: each key of a container's spec, with Docker's words for it. Pure.

A `RunOption` is all that Docker's side knows of a key: the options of `docker create`, and its part of the body of
POST /containers/create. LXC's words are in `state.lxc_config`. Image, command and entrypoint are in
`state.engines.docker`, since they end the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from reconciler.state.container_spec import ContainerSpec, Healthcheck, Logging, Ulimit
from reconciler.state.shell import join

NANO = 10**9


@dataclass(frozen=True, slots=True)
class Body:
    """Parts of the body of POST /containers/create: of the container itself, and of its HostConfig."""

    container: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunOption:
    """A key of the spec: its options of `docker create`, and its part of the API's body."""

    key: str
    words: Callable[[Any], Iterable[str]]
    body: Callable[[Any], Body]


def _container(key: str, option: str, name: str, value: Callable[[Any], Any] = lambda held: held) -> RunOption:
    """A key with one value, which the API has at the container."""
    return RunOption(key, lambda held: (option, str(held)), lambda held: Body(container={name: value(held)}))


def _host(key: str, option: str, name: str, word: Callable[[Any], str] = str) -> RunOption:
    """A key with one value, which the API has at the HostConfig."""
    return RunOption(key, lambda held: (option, word(held)), lambda held: Body(host={name: held}))


def _switch(key: str, name: str) -> RunOption:
    """A truth value of the HostConfig."""
    return RunOption(key, lambda _: (f"--{key.replace('_', '-')}",), lambda _: Body(host={name: True}))


def _each(key: str, option: str, name: str) -> RunOption:
    """A list of texts of the HostConfig: the option is repeated."""
    return RunOption(
        key, lambda held: [word for item in held for word in (option, item)], lambda held: Body(host={name: list(held)})
    )


def _pairs(option: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [word for name, value in pairs for word in (option, f"{name}={value}")]


# --- the keys with a form of their own --------------------------------------------------------------------------------


def _health_words(check: Healthcheck) -> list[str]:
    words = []
    match check.test:
        case ("NONE", *_):
            words = ["--no-healthcheck"]
        case ("CMD", *command):
            words = ["--health-cmd", join(command)]  # the command line has no form without a shell
        case ("CMD-SHELL", line):
            words = ["--health-cmd", line]
    times = {"interval": check.interval_ns, "timeout": check.timeout_ns}
    times |= {"start-period": check.start_period_ns, "start-interval": check.start_interval_ns}
    words += [word for name, time_ns in times.items() if time_ns for word in (f"--health-{name}", f"{time_ns}ns")]
    return [*words, "--health-retries", str(check.retries)] if check.retries else words


def _health_body(check: Healthcheck) -> Body:
    times = {"Interval": check.interval_ns, "Timeout": check.timeout_ns, "StartPeriod": check.start_period_ns}
    said: dict[str, Any] = {**times, "StartInterval": check.start_interval_ns, "Retries": check.retries}
    if check.test:
        said["Test"] = list(check.test)
    return Body(container={"Healthcheck": {name: value for name, value in said.items() if value}})


def _split_tmpfs(item: str) -> tuple[str, str]:
    path, _, options = item.partition(":")
    return path, options


def _device_body(devices: Iterable[str]) -> Body:
    """Device files as `Devices`; names of the Container Device Interface as a request to its driver."""
    devices = tuple(devices)
    files = [_device_file(item) for item in devices if item.startswith("/")]
    named = [item for item in devices if not item.startswith("/")]
    requests = [{"Driver": "cdi", "DeviceIDs": named}] if named else []
    return Body(host={"Devices": files} | ({"DeviceRequests": requests} if requests else {}))


def _device_file(item: str) -> Mapping[str, str]:
    outside, inside, access = (*item.split(":"), "", "")[:3]
    return {"PathOnHost": outside, "PathInContainer": inside or outside, "CgroupPermissions": access or "rwm"}


def _ulimit_body(limits: Iterable[Ulimit]) -> Body:
    return Body(host={"Ulimits": [{"Name": one.name, "Soft": one.soft, "Hard": one.hard} for one in limits]})


def _logging_words(logging: Logging) -> list[str]:
    return ["--log-driver", logging.driver, *_pairs("--log-opt", logging.options)]


RUN_OPTIONS = (
    RunOption("env", lambda held: _pairs("--env", held), lambda held: Body(container={"Env": [f"{n}={v}" for n, v in held]})),
    RunOption("labels", lambda held: _pairs("--label", held), lambda held: Body(container={"Labels": dict(held)})),
    _each("volumes", "--volume", "Binds"),
    _container("hostname", "--hostname", "Hostname"),
    _container("user", "--user", "User"),
    _container("working_dir", "--workdir", "WorkingDir"),
    RunOption("healthcheck", _health_words, _health_body),
    _switch("init", "Init"),
    _each("cap_add", "--cap-add", "CapAdd"),
    _each("cap_drop", "--cap-drop", "CapDrop"),
    _switch("read_only", "ReadonlyRootfs"),
    RunOption(
        "tmpfs",
        lambda held: [word for item in held for word in ("--tmpfs", item)],
        lambda held: Body(host={"Tmpfs": dict(map(_split_tmpfs, held))}),
    ),
    RunOption("devices", lambda held: [word for item in held for word in ("--device", item)], _device_body),
    _each("security_opt", "--security-opt", "SecurityOpt"),
    _switch("privileged", "Privileged"),
    RunOption("ulimits", lambda held: _pairs("--ulimit", ((one.name, f"{one.soft}:{one.hard}") for one in held)), _ulimit_body),
    _host("shm_size", "--shm-size", "ShmSize"),
    _host("memory", "--memory", "Memory"),
    _host("cpus", "--cpus", "NanoCpus", lambda held: f"{held / NANO:.9f}".rstrip("0").rstrip(".")),
    _host("pids_limit", "--pids-limit", "PidsLimit"),
    _container("stop_signal", "--stop-signal", "StopSignal"),
    _container("stop_timeout", "--stop-timeout", "StopTimeout"),
    RunOption(
        "logging",
        _logging_words,
        lambda held: Body(host={"LogConfig": {"Type": held.driver, "Config": dict(held.options)}}),
    ),
)
"""Every key but those of the image and of its command, in the order of the command line."""


_DEFAULTS = {each.name: each.default for each in fields(ContainerSpec)}


def held_options(spec: ContainerSpec) -> Iterable[tuple[RunOption, Any]]:
    """The options that a spec uses, each with its value."""
    for option in RUN_OPTIONS:
        value = getattr(spec, option.key)
        if value != _DEFAULTS[option.key]:
            yield option, value
