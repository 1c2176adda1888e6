"""A light start: what a command needs is imported by that command. Held by lists of names, for times differ."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"pydantic", "yaml", "rich", "nftables", "docker", "requests"}
HEAVY |= {"http", "asyncio", "concurrent", "logging", "typing_extensions"}


def imported_by(code: str) -> set[str]:
    """The top-level modules that a fresh Python has after running `code`."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.splitlines()}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["apply", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """`netctl --help` answers without the YAML reader, the model, the terminal library or any backend."""
    found = imported_by(f"from reconciler.cli.main import main; main({arguments!r})")
    assert "argparse" in found
    assert found & HEAVY == set()


def test_validate_imports_no_backend() -> None:
    """`netctl validate` reads a file; it needs neither libnftables nor the terminal library nor an HTTP client."""
    found = imported_by("from reconciler.cli.main import main; main(['validate', 'topology.yaml'])")
    assert "yaml" in found
    assert found & {"nftables", "rich", "docker", "http"} == set()


def test_worker_imports_neither_yaml_nor_pydantic() -> None:
    """A worker is started once for each host, so it brings only what reads and writes a kernel."""
    found = imported_by("import reconciler.worker.__main__")
    assert found & {"pydantic", "yaml", "rich", "argparse", "docker", "http"} == set()
