"""`netctl import`: writes a topology from Compose files, or from what Docker runs. It changes nothing else."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, parse_name
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.compose.convert import ImportedProject
    from reconciler.compose.draft import TopologyDraft
    from reconciler.compose.override_text import Words
    from reconciler.kernel.inspection import InspectedEngine

FORMAT_VERSION = 1
ENGINE = "docker"
"""The word in place of files that reads the engine."""
TOPOLOGY_FILE = "topology.yaml"
OVERRIDE_FILE = "compose.netctl.yaml"
Step = tuple[str, str]
"""A command to run next, and its purpose."""
EXAMPLES = """\
  netctl import                       read Compose's default files, write topology.yaml and compose.netctl.yaml
  netctl import compose.yaml prod.yaml --output netctl
                                      merge two files, write into another directory
  netctl import --dry-run             print both files, write none
  netctl import docker                write a topology of the containers that Docker runs
"""


def add_arguments(parser: Parser) -> None:
    """FILES, and what to do with them."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="Compose files, merged in this order, or the word docker")
    parser.add_argument("--file", "-f", metavar="FILE", action="append", default=[], help="a Compose file, as for docker compose")
    parser.add_argument(
        "--project-name", "-p", metavar="NAME", type=parse_name, help="the name of the project; with docker, of the topology"
    )
    parser.add_argument("--env-file", metavar="FILE", action="append", default=[], help="a file of variables for Compose")
    parser.add_argument("--output", metavar="DIR", help="where to write (default: beside the first file)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")
    parser.add_argument(
        "--wait", action="store_true", help="let each program wait for its network (needs a shell and the images)"
    )
    parser.add_argument(
        "--hook", action="store_true", help="let no program start without its network (needs `netctl hook install`)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """0 after the files are written. UsageError if one exists already, HostError without Compose or engine."""
    if options.files == [ENGINE] and not options.file:
        return _import_engine(options)
    return _import_compose(options)


# --- Compose ----------------------------------------------------------------------------------------------------------


def _import_compose(options: argparse.Namespace) -> int:
    from pathlib import Path

    from reconciler.compose.convert import convert_project
    from reconciler.compose.headings import override_heading, topology_heading
    from reconciler.compose.model import parse_project
    from reconciler.compose.override_text import render_override
    from reconciler.compose.topology_text import render_topology
    from reconciler.kernel.compose_cli import find_files, normalise
    from reconciler.state.visible import visible_line

    if options.wait and options.hook:
        raise UsageError(
            "`netctl import` takes --wait or --hook", "with --hook, Docker starts a program when its network is there"
        )
    files = _without_override((*options.files, *options.file) or find_files(".", os.environ))
    directory = Path(options.output) if options.output else Path(files[0]).parent
    paths = [str(directory / name) for name in (TOPOLOGY_FILE, OVERRIDE_FILE)]
    if not options.dry_run:
        _refuse_existing(paths)
    project = ["--project-name", options.project_name] if options.project_name else []
    words = [*project, *(word for file in options.env_file for word in ("--env-file", file))]
    normal = normalise(files, words)
    for warning in normal.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    imported = convert_project(parse_project(normal.data), topology_heading(files))
    if not imported.containers:
        reasons = "; ".join(f"{name} {words[0]}" for name, words in imported.topology.left_out)
        message = visible_line(f"cannot import: netctl connects no service of this file: {reasons}")
        raise UsageError(message, "give one of them a network, or leave the file to Compose")
    variable = _compose_file(files, directory)
    topology = render_topology(imported.topology)
    heading = override_heading(variable, waits=options.wait, has_hook=options.hook)
    override = render_override(imported, heading, _read_waits(imported) if options.wait else {}, has_hook=options.hook)
    _check_topology(paths[0], imported.topology)
    _check_override(imported, normalise(files, words, override).data)
    texts = dict(zip(paths, (topology, override), strict=True))
    return _deliver(options, texts, imported.topology, _next_steps(directory, files, options))


def _without_override(files: Sequence[str]) -> tuple[str, ...]:
    """The files without the override of an earlier import, which COMPOSE_FILE names from then on."""
    from pathlib import Path

    kept = tuple(file for file in files if Path(file).name != OVERRIDE_FILE)
    if not kept:
        raise UsageError(f"cannot import {OVERRIDE_FILE}: an import has written it", "name the Compose file itself")
    return kept


def _are_beside(files: Sequence[str], directory: Path) -> bool:
    """Whether all files are in the directory."""
    from pathlib import Path

    return all(Path(file).parent.resolve() == directory.resolve() for file in files)


def _compose_file(files: Sequence[str], directory: Path) -> str:
    """The value of COMPOSE_FILE with which Compose reads the override, too: only names if all are in one directory."""
    from pathlib import Path

    is_beside = _are_beside(files, directory)
    override = directory / OVERRIDE_FILE
    return ":".join([Path(file).name if is_beside else file for file in (*files, str(override))])


def _read_waits(imported: ImportedProject) -> dict[str, Words]:
    """What each service runs, from the file and from the images that the engine has."""
    from reconciler.compose.waits import ImageWords, find_words, image_of, needs_image

    project = imported.project
    wanted = {name: image_of(project, name) for name in imported.containers if needs_image(project.services[name])}
    described = _open_engine().describe_images(wanted.values()) if wanted else {}
    images = {}
    for name, image in wanted.items():
        config = described[image].get("Config") or {}
        words = [tuple(str(word) for word in config.get(key) or ()) for key in ("Entrypoint", "Cmd")]
        images[name] = ImageWords(*words)
    return {name: find_words(project.services[name], name, images.get(name)) for name in imported.containers}


def _check_override(imported: ImportedProject, data: bytes) -> None:
    """UsageError if Compose, with the override, would still make a network or publish a port: a file may hide one."""
    from reconciler.compose.model import parse_project

    merged = parse_project(data)
    if merged.name != imported.project.name:
        message = f"cannot import: Compose calls the project {merged.name} with the override, and {imported.project.name} without"
        raise UsageError(message, "name the project once: --project-name NAME, or `name:` in the Compose file")
    for name in imported.containers:
        service = merged.services[name]
        if service.network_mode != "none" or service.networks or service.ports:
            message = f"cannot import {name}: this version of Compose keeps its networks or ports, whatever an override says"
            raise UsageError(message, "use a newer version of Compose, or write the service without `extends` and `include`")


# --- what Docker runs -------------------------------------------------------------------------------------------------


def _import_engine(options: argparse.Namespace) -> int:
    from pathlib import Path

    from reconciler.compose.headings import engine_heading
    from reconciler.compose.running import convert_engine
    from reconciler.compose.topology_text import render_topology

    if options.wait or options.hook or options.env_file:
        raise UsageError(
            "`netctl import docker` takes neither --wait, --hook nor --env-file", "leave them out: they are about Compose"
        )
    path = str(Path(options.output or ".") / TOPOLOGY_FILE)
    if not options.dry_run:
        _refuse_existing([path])
    engine = _open_engine()
    try:
        containers, networks = engine.describe_containers(), engine.describe_networks()
    finally:
        engine.close()
    name = options.project_name or ENGINE
    imported = convert_engine(name, containers, networks, engine_heading(_engine_url()))
    if not imported.topology.containers:
        raise UsageError("cannot import: no container is in a network of the engine's", "start them, and import again")
    _check_topology(path, imported.topology)
    file = shlex.quote(path)
    last = (
        (f"sudo netctl apply {file}", "connect the containers"),
        (f"sudo netctl verify {file}", "test with packets what the file allows"),
    )
    steps = (*((line, "") for line in disconnect_commands(imported.networks)), *last)
    return _deliver(options, {path: render_topology(imported.topology)}, imported.topology, steps)


def _open_engine() -> InspectedEngine:
    from reconciler.kernel.inspection import InspectedEngine

    return InspectedEngine(_engine_url())


def _engine_url() -> str:
    """Where this machine's Docker listens."""
    from reconciler.state.engines import ENGINES

    return os.environ.get("DOCKER_HOST") or ENGINES["docker"].usual_place


def disconnect_commands(networks: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The command lines that end the engine's own networks. Its default one cannot be removed."""
    from reconciler.compose.running import DEFAULT_NETWORK

    lines = [shlex.join(("docker", "network", "disconnect", key, name)) for name, keys in networks.items() for key in keys]
    used = sorted({key for keys in networks.values() for key in keys} - {DEFAULT_NETWORK})
    return (*lines, *(shlex.join(("docker", "network", "rm", key)) for key in used))


# --- the files --------------------------------------------------------------------------------------------------------


def _refuse_existing(paths: Sequence[str]) -> None:
    """UsageError before anything is read or written, if a file is there."""
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        verb = "exists" if len(there) == 1 else "exist"
        help_text = "remove or rename what is there, or write elsewhere: --output DIR; --dry-run only prints"
        raise UsageError(f"cannot import: {', '.join(there)} {verb} already", help_text)


def _check_topology(path: str, draft: TopologyDraft) -> None:
    """TopologyError if `validate` would reject the file, such as for two networks of the project that overlap."""
    from reconciler.compose.topology_text import render_topology
    from reconciler.topology.load import parse_topology

    parse_topology(render_topology(draft).encode(), path)


def _deliver(options: argparse.Namespace, texts: Mapping[str, str], draft: TopologyDraft, steps: Sequence[Step]) -> int:
    """Write the files, or print them; then what was written, and the next commands."""
    from reconciler.cli.common import print_json
    from reconciler.state.visible import visible_line

    if not options.dry_run:
        _write_new(texts)
    if options.json:
        written = {} if not options.dry_run else {"texts": dict(texts)}
        answer = {
            "topology": draft.name,
            "paths": list(texts),
            "written": not options.dry_run,
            "next": [command for command, _ in steps],
        }
        print_json({"format_version": FORMAT_VERSION, **answer, **written})
        return 0
    if options.dry_run:
        for path, text in texts.items():
            print(f"# --- {visible_line(path)}\n{text}")
        return 0
    counts = ((len(draft.subnets), "subnet"), (len(draft.containers), "container"), (len(draft.left_out), "not connected"))
    words = [
        f"{count:,} {word}{'' if count == 1 or ' ' in word else 's'}"
        for count, word in counts
        if count or word != "not connected"
    ]
    for number, path in enumerate(texts):
        what = f"the topology {draft.name}: {', '.join(words)}" if not number else "what Compose leaves to netctl"
        print(visible_line(f"{path} is written: {what}"))
    print("next:")
    width = max(len(command) for command, purpose in steps if purpose) if any(purpose for _, purpose in steps) else 0
    for command, purpose in steps:
        print(visible_line(f"  {command.ljust(width)}   {purpose}".rstrip()))
    return 0


def _write_new(texts: Mapping[str, str]) -> None:
    """Write all files or none. O_EXCL never overwrites an existing file or symbolic link (open(2))."""
    from pathlib import Path

    written: list[str] = []
    try:
        for path, text in texts.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            written.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        for path in written:
            Path(path).unlink()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot write {path}: {reason}", "give a directory of yours: --output DIR") from None


def _next_steps(directory: Path, files: Sequence[str], options: argparse.Namespace) -> tuple[Step, ...]:
    """The commands from a written topology to a verified network: in the directory of the files, if all are in one."""
    from pathlib import Path

    is_elsewhere = _are_beside(files, directory) and directory.resolve() != Path.cwd()
    file = shlex.quote(TOPOLOGY_FILE if is_elsewhere else str(directory / TOPOLOGY_FILE))
    variable = _compose_file(files, directory)
    env_files = [str(Path(each).resolve()) if is_elsewhere else each for each in options.env_file]
    return (
        *([("sudo netctl hook install", "once on this host: then reload Docker as it says")] if options.hook else []),
        *([(f"cd {shlex.quote(str(directory))}", "")] if is_elsewhere else []),
        ("docker compose down", "if it runs: without the new file, so that Docker's networks go"),
        (f"export COMPOSE_FILE={shlex.quote(variable)}", ""),
        *([(f"export COMPOSE_ENV_FILES={shlex.quote(','.join(env_files))}", "")] if env_files else []),
        (f"sudo netctl agent {file}", "in a terminal of its own: it connects each container that starts"),
        ("docker compose up --detach", ""),
        (f"sudo netctl verify {file}", "test with packets what the file allows"),
    )


COMMAND = Command("import", "write a topology from Compose files or from Docker", EXAMPLES, add_arguments, run)
