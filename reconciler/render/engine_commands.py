"""Steps of container engines and of plain processes as command lines. Called by `render.commands`.

What recognises a container or a process later (labels, the mark in the environment) is printed with the rest, so that
netctl takes what the script makes for its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.kernel.context import DEFAULT_ENGINES
from reconciler.kernel.docker_containers import labels_of
from reconciler.kernel.lxc_config import (
    COMMAND_FILE,
    COMMON_CONFIG,
    MARK_FILE,
    Mark,
    is_template,
    needs_command_file,
    render_command_file,
    render_config,
    render_mark,
    template_words,
)
from reconciler.kinds.process import PROCESS_MARK, marks_of, words_of
from reconciler.render.shell import join, quote
from reconciler.state.ref import netns_path_name
from reconciler.state.steps.containers import (
    ContainerCreate,
    ContainerPark,
    ContainerStart,
    ContainerStop,
    ProcessStart,
    ProcessStop,
)
from reconciler.state.steps.step import Step

Engines = Mapping[str, tuple[tuple[str, ...], str]]


def engine_lines(step: Step, topology: str, host_key: str, engines: Engines) -> Iterator[str]:
    """The engine's command lines for one step; `engines` maps a container to its engine's command and its name there."""
    match step:
        case ContainerCreate() if step.spec.runtime == "lxc":
            yield from lxc_create_lines(step, topology, host_key, _engine(step.container, "lxc", engines))
        case ContainerStart() | ContainerStop() | ContainerPark() if step.runtime == "lxc":
            yield from lxc_lines(step, _engine_of(step.netns, "lxc", engines))
        case ContainerCreate():
            engine = _engine(step.container, step.spec.runtime, engines)
            yield join([*engine, "create", *_create_words(step, topology, host_key)])
            yield join([*engine, "start", step.engine_name])
        case ContainerStart():
            yield join([*_engine_of(step.netns, step.runtime, engines), "start", step.engine_name])
        case ContainerStop():
            yield join([*_engine_of(step.netns, step.runtime, engines), "stop", step.engine_name])
        case ContainerPark():
            engine = _engine_of(step.netns, step.runtime, engines)
            yield "# apply parks it until every host has succeeded, then removes it"
            yield join([*engine, "rm", "--force", step.engine_name])
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")


def lxc_create_lines(step: ContainerCreate, topology: str, host_key: str, engine: tuple[str, ...]) -> Iterator[str]:
    """Make and start a container of LXC's, its files as `kernel.lxc` writes them."""
    directory = f"{_lxc_path(engine)}/{step.engine_name}"
    image, rootfs = step.spec.image, f"{directory}/rootfs"
    mark = Mark(topology, host_key, step.container, step.spec)
    add = ">"
    yield join(["mkdir", "-p", directory])
    if is_template(image):
        words = ["-P", _lxc_path(engine), "-n", step.engine_name, "--config", "/dev/null", "-t", *template_words(image)]
        yield join(["lxc-create", *words])
        add = ">>"
    else:
        copy = join(["cp", "--archive", "--reflink=auto", f"{image}/.", rootfs])
        unpack = join(["tar", "--extract", "--numeric-owner", "--file", image, "--directory", rootfs])
        yield join(["mkdir", rootfs])
        yield f"if [ -d {quote(image)} ]; then {copy}; else {unpack}; fi"
    if needs_command_file(step.spec.command):
        yield _write(render_command_file(step.spec.command), ">", f"{rootfs}/{COMMAND_FILE}")
    config = render_config(step, directory, common=Path(COMMON_CONFIG).exists())
    yield _write_private(config, add, f"{directory}/config")
    yield _write_private(render_mark(mark), ">", f"{directory}/{MARK_FILE}")
    yield join(["lxc-start", "-P", _lxc_path(engine), "-n", step.engine_name])


def lxc_lines(step: ContainerStart | ContainerStop | ContainerPark, engine: tuple[str, ...]) -> Iterator[str]:
    """Start or stop a container of LXC's, or remove it, which stands for parking it."""
    place = ["-P", _lxc_path(engine), "-n", step.engine_name]
    match step:
        case ContainerStart():
            yield join(["lxc-start", *place])
        case ContainerStop():
            yield join(["lxc-stop", *place, "--timeout", "10"])
        case _:
            yield "# apply parks it until every host has succeeded, then removes it"
            yield f"{join(['lxc-stop', *place, '--timeout', '10'])} || true"
            yield join(["rm", "-r", f"{_lxc_path(engine)}/{step.engine_name}"])


def _lxc_path(engine: tuple[str, ...]) -> str:
    return engine[-1] if len(engine) > 1 else DEFAULT_ENGINES["lxc"]


def _write(text: str, redirection: str, path: str) -> str:
    return f"printf %s {quote(text)} {redirection}{quote(path)}"


def _write_private(text: str, redirection: str, path: str) -> str:
    """For root alone: it has the values of variables."""
    return f"(umask 077; {_write(text, redirection, path)}; {join(['chmod', '600', path])})"


def pid_words(engine: tuple[str, ...], engine_name: str) -> list[str]:
    """The command line that prints the first process of a container."""
    if engine[0] == "lxc":
        return ["lxc-info", "-P", _lxc_path(engine), "-n", engine_name, "--pid", "--no-humanize"]
    return [*engine, "inspect", "-f", "{{.State.Pid}}", engine_name]


def _engine(container: str, runtime: str, engines: Engines) -> tuple[str, ...]:
    return engines[container][0] if container in engines else (runtime,)


def _engine_of(netns: str, runtime: str, engines: Engines) -> tuple[str, ...]:
    return _engine(netns.partition(":")[2], runtime, engines)


def _create_words(step: ContainerCreate, topology: str, host_key: str) -> list[str]:
    spec = step.spec
    words = ["--name", step.engine_name, "--network", "none"]
    for label, value in labels_of(topology, host_key, step.container, step.spec):
        words += ["--label", f"{label}={value}"]
    for name, value in spec.env:
        words += ["--env", f"{name}={value}"]
    for volume in spec.volumes:
        words += ["--volume", volume]
    if spec.restart != "no":
        words += ["--restart", spec.restart]
    return [*words, spec.image, *spec.command]


def process_lines(step: Step, topology: str) -> Iterator[str]:
    """The command lines that start or end the command of a plain namespace."""
    match step:
        case ProcessStart():
            log = f"/run/netctl/{topology}/{step.container}.log"
            marks = marks_of(topology, step.container, step.command, step.env)
            words = ["setsid", "nsenter", f"--net=/run/netns/{netns_path_name(topology, step.netns)}", "env"]
            words += [f"{name}={value}" for name, value in (*step.env, *marks)]
            yield f"(umask 077; {join(['mkdir', '-p', f'/run/netctl/{topology}'])}; : >>{quote(log)})"
            yield f"{join([*words, *words_of(step.command)])} </dev/null >>{quote(log)} 2>&1 &"
        case ProcessStop():
            # Any process can have the mark, but only what root started there is in the namespace.
            pids = join(["ip", "netns", "pids", netns_path_name(topology, step.netns)])
            mark = quote(f"{PROCESS_MARK}={topology}/{step.container}")
            yield f"for pid in $({pids} 2>/dev/null); do"
            yield f"    ! grep -qzxF {mark} /proc/$pid/environ 2>/dev/null || kill $pid 2>/dev/null || true"
            yield "done"
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")
