"""What holds containers back on a host: the program, a runtime in dockerd's configuration, and a CDI device.

dockerd reads its runtimes again at SIGHUP (dockerd(8), "Configuration reload behavior"), and CDI specifications at each start
of a container. All other settings stay as they are. A configuration that cannot be merged safely is refused.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import HostError, UsageError
from reconciler.kernel.starts import program

RUNTIME = "netctl"
"""The name of the runtime in dockerd's configuration."""
PROGRAM = "netctl-runtime"
DEVICE_KIND, DEVICE = "netctl/network", "agent"
"""The device of CDI is `netctl/network=agent` (container-device-interface, SPEC.md)."""
CDI_VERSION = "0.5.0"
CDI_FILE = "netctl.json"
SYSTEM_PYTHON = "/usr/bin/python3"
INDENT = 4


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts are. The defaults are those of Docker, and of a program that no package owns."""

    directory: Path = Path("/usr/local/lib/netctl")
    config_file: Path = Path("/etc/docker/daemon.json")
    cdi_directory: Path = Path("/etc/cdi")

    @property
    def program(self) -> Path:
        """The installed program."""
        return self.directory / PROGRAM

    @property
    def cdi_file(self) -> Path:
        """The specification of the device."""
        return self.cdi_directory / CDI_FILE


# --- texts, pure ------------------------------------------------------------------------------------------------------


def render_program(source: str, python: str) -> str:
    """The installed program: without site-packages, the user's directory and variables of the environment (python(1))."""
    return f"#!{python} -SI\n{source}"


def render_cdi(path: str) -> str:
    """The specification of a device with the hook."""
    hook = {"hookName": "createRuntime", **program.hook_of(path)}
    device = {"name": DEVICE, "containerEdits": {"hooks": [hook]}}
    return json.dumps({"cdiVersion": CDI_VERSION, "kind": DEVICE_KIND, "devices": [device]}, indent=INDENT) + "\n"


def add_runtime(text: str, path: str, place: str) -> str:
    """The configuration with the runtime; the same text if it is there. UsageError if another one has its name."""
    config = _parse_config(text, place)
    runtimes = config.setdefault("runtimes", {})
    if not isinstance(runtimes, dict):
        raise UsageError(f"cannot change {place}: `runtimes` is no object", "correct it, and try again")
    wanted = {"path": path}
    if runtimes.get(RUNTIME) == wanted:
        return text
    if RUNTIME in runtimes:
        raise UsageError(f"cannot change {place}: it has another runtime called {RUNTIME}", "remove that one, and try again")
    runtimes[RUNTIME] = wanted
    return _render_config(config, text)


def remove_runtime(text: str, path: str, place: str) -> str:
    """The configuration without the runtime; the same text if it is not there, or another program's. "" if nothing is left."""
    config = _parse_config(text, place)
    runtimes = config.get("runtimes")
    if not isinstance(runtimes, dict) or runtimes.get(RUNTIME) != {"path": path}:
        return text
    del runtimes[RUNTIME]
    if not runtimes:
        del config["runtimes"]
    return _render_config(config, text) if config else ""


def _parse_config(text: str, place: str) -> dict[str, Any]:
    try:
        config = json.loads(text or "{}", object_pairs_hook=_unique)
    except ValueError as error:
        raise UsageError(f"cannot change {place}: it is not valid JSON: {error}", "correct it, and try again") from None
    if not isinstance(config, dict):
        raise UsageError(f"cannot change {place}: it is no JSON object", "correct it, and try again")
    return config


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; ValueError if a key stands twice, since one of both would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _render_config(config: dict[str, Any], before: str) -> str:
    """As JSON, indented as it was before."""
    found = re.search(r"^([ \t]+)\"", before, re.MULTILINE)
    return json.dumps(config, indent=found[1] if found else INDENT, ensure_ascii=False) + "\n"


# --- the host ---------------------------------------------------------------------------------------------------------


def install(places: Places, *, cdi: bool) -> list[str]:
    """Install the program, and the runtime or the device; a sentence for each change. UsageError, and HostError."""
    said = []
    config = "" if cdi else add_runtime(_read(places.config_file), str(places.program), str(places.config_file))
    if not cdi and not places.config_file.parent.is_dir():
        raise HostError(f"there is no directory {places.config_file.parent}", "install Docker first, or give its --config-file")
    python = SYSTEM_PYTHON if os.path.exists(SYSTEM_PYTHON) else os.path.realpath(sys.executable)
    source = Path(program.__file__).read_text(encoding="utf-8")
    if _write(places.program, render_program(source, python), mode=0o755):
        said.append(f"{places.program} is written: the runtime and its hook")
    if cdi:
        if _write(places.cdi_file, render_cdi(str(places.program))):
            said.append(f"{places.cdi_file} is written: the device {DEVICE_KIND}={DEVICE}")
    elif _write(places.config_file, config):
        said.append(f"{places.config_file}: `runtimes.{RUNTIME}` is added; all other settings are as they were")
    return said


def remove(places: Places) -> list[str]:
    """Take away what `install` added; a sentence for each change."""
    said = []
    before = _read(places.config_file)
    after = remove_runtime(before, str(places.program), str(places.config_file)) if before else ""
    if after and after != before:
        _write(places.config_file, after)
    elif not after and before:
        places.config_file.unlink()
    if after != before:
        rest = "all other settings are as they were" if after else "it had nothing else, and is deleted"
        said.append(f"{places.config_file}: `runtimes.{RUNTIME}` is removed; {rest}")
    for path in (places.cdi_file, places.program):
        if path.exists():
            path.unlink()
            said.append(f"{path} is deleted")
    for directory in (places.directory, places.cdi_directory):
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
    return said


def find_installed(places: Places) -> tuple[str, ...]:
    """What is there now, a sentence for each part. UsageError if dockerd's configuration cannot be read."""
    parts = []
    if places.program.exists():
        parts.append(f"program {places.program}")
    text = _read(places.config_file)
    if text and remove_runtime(text, str(places.program), str(places.config_file)) != text:
        parts.append(f"runtime {RUNTIME} in {places.config_file}")
    if places.cdi_file.exists():
        parts.append(f"device {DEVICE_KIND}={DEVICE} in {places.cdi_file}")
    return tuple(parts)


def _read(path: Path) -> str:
    """The text of a file; "" if there is none. UsageError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"cannot read {path}: {reason}", "correct it, and try again") from None


def _write(path: Path, text: str, *, mode: int = 0o644) -> bool:
    """Replace a file as a whole, or that to which a link leads; whether it was another one. HostError."""
    target = Path(os.path.realpath(path))
    try:
        if target.exists():
            status = target.stat()
            if target.read_text(encoding="utf-8") == text and (not mode & 0o100 or status.st_mode & 0o100):
                return False
            mode = status.st_mode & 0o777 | mode & 0o111
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.netctl")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}", "run it as root, or give another directory") from error
    return True
