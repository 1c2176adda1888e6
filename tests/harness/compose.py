"""Docker Compose for tests: its normal form of a project's files, and whether the machine has it.

Debian 13's package docker-compose is version 2, a plugin of the docker command. Debian 12 has version 1 only, which netctl
does not use. There .ci/setup puts that plugin into .venv, and tests/conftest.py sets DOCKER_CONFIG.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reconciler.errors import HostError
from reconciler.kernel.compose_cli import find_compose, normalise

DIRECTORY = "/srv/app"
"""Where the projects of the tests seem to lie: the normal form has absolute paths."""


def has_compose() -> bool:
    """Whether the machine has a Compose that netctl can use."""
    try:
        find_compose()
    except HostError:
        return False
    return True


def normal_form(folder: Path) -> dict[str, Any]:
    """What Compose makes of the project in the folder, with the paths of DIRECTORY."""
    data = normalise([str(folder / "compose.yaml")]).data.decode()
    found: dict[str, Any] = json.loads(data.replace(str(folder.resolve()), DIRECTORY))
    return found


def run_compose(folder: Path, *words: str, url: str = "", files: Sequence[str] = (), check: bool = True) -> str:
    """The output of a command of Compose in the folder, on the engine at `url`."""
    command = [*find_compose()]
    engine = ["-H", url] if url and command[0] == "docker" else []
    named = [word for file in files for word in ("--file", file)]
    done = subprocess.run(
        [command[0], *engine, *command[1:], *named, *words], capture_output=True, text=True, check=False, timeout=120, cwd=folder
    )
    if check and done.returncode:
        raise AssertionError(f"docker compose {' '.join(words)}: {done.stderr}")
    return done.stdout
