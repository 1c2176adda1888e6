"""`netctl hook`: lets containers of Docker that netctl connects start only with their network, on this host."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser
from reconciler.errors import translating

if TYPE_CHECKING:
    from reconciler.kernel.starts.install import Places

FORMAT_VERSION = 1
VERBS = ("install", "remove", "show")
RELOAD = "systemctl reload docker"
EXAMPLES = """\
  netctl hook install                 a runtime for `docker run --runtime netctl --network none IMAGE`
  netctl hook install --cdi           a CDI device for Docker 28.2 or later: `--device netctl/network=agent`
  netctl hook show                    what is installed, and which containers wait for their network
  netctl hook remove                  take both away
"""


def add_arguments(parser: Parser) -> None:
    """The verb, and where the parts are."""
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help=", ".join(VERBS))
    parser.add_argument("--cdi", action="store_true", help="install: a CDI device in place of a runtime")
    parser.add_argument("--config-file", metavar="FILE", help="dockerd's configuration (default: /etc/docker/daemon.json)")
    parser.add_argument("--directory", metavar="DIR", help="where the program is (default: /usr/local/lib/netctl)")
    parser.add_argument("--cdi-directory", metavar="DIR", help="where CDI devices are (default: /etc/cdi)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """0 when it is done. UsageError if dockerd's configuration cannot be changed safely, and HostError."""
    with translating():
        return {"install": _install, "remove": _remove, "show": _show}[options.verb](options, _places(options))


def _places(options: argparse.Namespace) -> Places:
    from dataclasses import replace
    from pathlib import Path

    from reconciler.kernel.starts.install import Places

    given = {name: getattr(options, name) for name in ("config_file", "directory", "cdi_directory")}
    return replace(Places(), **{name: Path(value).absolute() for name, value in given.items() if value})


def _install(options: argparse.Namespace, places: Places) -> int:
    from reconciler.kernel.starts.install import DEVICE, DEVICE_KIND, RUNTIME, install

    said = install(places, cdi=options.cdi)
    steps: tuple[tuple[str, str], ...]
    if options.cdi:
        steps = ((f"docker run --device {DEVICE_KIND}={DEVICE} --network none IMAGE", "Docker 28.2 or later"),)
    else:
        steps = (
            (RELOAD, "dockerd reads its runtimes again; no container restarts"),
            (f"docker run --runtime {RUNTIME} --network none IMAGE", "a container that starts with its network"),
        )
    _report(options, said, (*steps, ("netctl agent unit --hook", "prints a unit whose agent starts beside Docker")))
    return 0


def _remove(options: argparse.Namespace, places: Places) -> int:
    from reconciler.kernel.starts.install import RUNTIME, remove

    said = remove(places)
    steps = (
        (RELOAD, "dockerd reads its runtimes again"),
        ("docker rm NAME", f"a container with the runtime {RUNTIME} or the device cannot start any more: create it again"),
    )
    _report(options, said, steps if said else ())
    return 0


def _report(options: argparse.Namespace, said: list[str], steps: tuple[tuple[str, str], ...]) -> None:
    from reconciler.cli.common import print_json

    if options.json:
        print_json({"format_version": FORMAT_VERSION, "changes": said, "next": [command for command, _ in steps]})
        return
    print("\n".join(said) if said else "nothing to change")
    if steps:
        width = max(len(command) for command, _ in steps)
        print("next:")
        for command, purpose in steps:
            print(f"  {command.ljust(width)}   {purpose}")


def _show(options: argparse.Namespace, places: Places) -> int:
    from reconciler.cli.common import print_json
    from reconciler.kernel.starts.install import find_installed
    from reconciler.kernel.starts.records import read_starts

    installed = find_installed(places)
    waiting = [start.waiting for start in read_starts() if start.waits]
    if options.json:
        found = [{"container": one.engine_name, "identity": one.identity, "process": one.hook} for one in waiting]
        print_json({"format_version": FORMAT_VERSION, "installed": list(installed), "waiting": found})
        return 0
    print("\n".join(f"installed: {part}" for part in installed) if installed else "not installed")
    for one in waiting:
        print(f"container {one.engine_name} waits for its network; to end its start: kill {one.hook}")
    return 0


COMMAND = Command("hook", "let containers of Docker start only with their network", EXAMPLES, add_arguments, run)
