"""Docker Compose as a command: it finds its files, merges them, fills in variables, and prints the normal form as JSON.

Only Compose itself knows what a Compose file means (merging, interpolation, `extends`, `include`, profiles), so netctl
parses none. It needs version 2: the first one as a plugin of the docker command, with the tag `!reset` since 2.18.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.errors import HostError, UsageError
from reconciler.state.visible import visible_line

COMMANDS = (("docker", "compose"), ("docker-compose",))
"""The plugin, and the same program by itself."""
DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""The names that Compose looks for, in its order, here and in the directories above (compose-go, cli/options.go)."""
DEFAULT_OVERRIDES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
OLDEST = (2, 24, 4)
"""The oldest version that has `!reset` and `!override` as the override file uses them (docs.docker.com, "Merge")."""
TIMEOUT_S = 120
"""Files that `include` names may be on other machines."""
ERROR_LINES_MAX = 6
_INSTALL = "install it: apt-get install docker-compose (Debian 13 or later), or the package docker-compose-plugin of docker.com"


@dataclass(frozen=True, slots=True)
class Normalised:
    """The normal form of Compose files, and the warnings that Compose printed."""

    data: bytes
    warnings: tuple[str, ...]


def find_files(directory: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The files that Compose reads if none is named: those of COMPOSE_FILE, else the default ones. UsageError without any."""
    given = environment.get("COMPOSE_FILE") or _read_dotenv(directory).get("COMPOSE_FILE") or ""
    if given:
        separator = environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        return tuple(os.path.join(directory, file) for file in given.split(separator) if file)
    place = os.path.abspath(directory)
    while True:
        if found := _first_of(place, DEFAULT_FILES):
            override = _first_of(place, DEFAULT_OVERRIDES)
            return (found, override) if override else (found,)
        if place == os.path.dirname(place):
            break
        place = os.path.dirname(place)
    message = f"there is no Compose file here or above: {', '.join(DEFAULT_FILES)}"
    raise UsageError(message, "name it: netctl import FILE, or change to its directory; `netctl import docker` reads the engine")


def _first_of(directory: str, names: Sequence[str]) -> str:
    """The path of the first of the names that is a file, as short as possible."""
    path = next((path for name in names if os.path.isfile(path := os.path.join(directory, name))), "")
    return os.path.relpath(path) if path else ""


def _read_dotenv(directory: str) -> Mapping[str, str]:
    """The variables of `.env`, where a project keeps its COMPOSE_FILE."""
    from dotenv import dotenv_values

    path = os.path.join(directory, ".env")
    if not os.path.isfile(path):
        return {}
    try:
        return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    except (OSError, UnicodeDecodeError):
        return {}  # Compose reads it, too, and reports what is wrong with it


def normalise(files: Sequence[str], options: Sequence[str] = (), text: str | None = None) -> Normalised:
    """What Compose makes of the files, with all profiles. `text` is one more file, merged over them.

    HostError without Compose, UsageError with Compose's own words if it rejects a file.
    """
    command = find_compose()
    words = [word for file in files for word in ("--file", file)] + (["--file", "-"] if text is not None else [])
    words = [*command, *options, "--profile", "*", *words, "config", "--format", "json"]
    done = _run(words, text or "")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        shown = "; ".join(lines[-ERROR_LINES_MAX:]) or f"exit status {done.returncode}"
        what = "compose.netctl.yaml over " if text is not None else ""
        raise UsageError(visible_line(f"cannot import: Compose rejects {what}{', '.join(files)}: {shown}"), "correct the file")
    return Normalised(done.stdout, _parse_warnings(done.stderr.decode("utf-8", "replace")))


def find_compose() -> tuple[str, ...]:
    """The command that is Compose, version 2 or later. HostError if this machine has none."""
    old = ""
    for command in COMMANDS:
        try:
            done = _run([*command, "version", "--short"], "")
        except FileNotFoundError:
            continue
        version = done.stdout.decode("utf-8", "replace").strip()
        numbers = re.match(r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?", version)
        if done.returncode or not numbers:
            continue
        if tuple(int(number or 0) for number in numbers.groups()) >= OLDEST:
            return command
        old = visible_line(f"{' '.join(command)} is version {version}")
    wanted = f"netctl needs Docker Compose {'.'.join(map(str, OLDEST))} or later to read Compose files"
    raise HostError(f"cannot import: {wanted}, and {old or 'this machine has none'}", _INSTALL)


def _run(words: Sequence[str], text: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(words, input=text.encode(), capture_output=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        name = " ".join(words[:2])
        raise HostError(f"cannot import: `{name}` does not end", f"run it by hand: {name} config") from None
    except PermissionError as error:
        raise HostError(f"cannot import: cannot run {words[0]}: {error.strerror}", _INSTALL) from None


def _parse_warnings(text: str) -> tuple[str, ...]:
    r"""The messages of lines such as `time="…" level=warning msg="The \"TAG\" variable is not set."`."""
    found = re.findall(r'level=warning msg="((?:[^"\\]|\\.)*)"', text)
    return tuple(dict.fromkeys(re.sub(r"\\(.)", r"\1", message) for message in found))
