"""What the wheel and the source archive bring. `make deb SUITE=trixie` tries the Debian package, in a fresh Debian."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = """
import sys
from setuptools import build_meta
folder = sys.argv[1]  # setuptools writes arguments of its own there
build_meta.build_wheel(folder)
build_meta.build_sdist(folder)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both, built from a copy, because setuptools writes beside the sources."""
    copy, folder = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    ignored = [f"--exclude=./{name}" for name in (".venv", ".git", "build", "dist", ".mypy_cache", ".ruff_cache", ".hypothesis")]
    subprocess.run(
        ["sh", "-c", 'tar "$@" --exclude=__pycache__ --exclude=*.egg-info -c . | tar -x -C "$0"', str(copy), *ignored],
        check=True,
        cwd=ROOT,
    )
    done = subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def names_below(directory: str, pattern: str) -> set[str]:
    return {path.name for path in (ROOT / directory).glob(pattern)}


def test_the_wheel_has_schemas_examples_and_the_man_page(built: Path) -> None:
    """pip, pipx and uv put them below `share` of the environment; data of the package stands beside its modules."""
    (wheel,) = built.glob("*.whl")
    found = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]

    def names(parent: str) -> set[str]:
        return {path.name for path in found if str(path.parent).endswith(parent)}

    assert names("share/netctl/schemas") == names_below("schemas", "*.json")
    assert names("share/netctl/examples") == names_below("examples", "*.yaml")
    assert names("share/man/man1") == {"netctl.1"}
    packaged = {str(path) for path in found if path.parts[0] == "reconciler"}
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "reconciler").rglob("*") if path.is_file()}
    assert {path for path in ours if "__pycache__" not in path} == packaged
    assert not [path for path in found if path.parts[0] in ("tests", "benchmarks")]


def test_the_wheel_names_its_licence(built: Path) -> None:
    """As an SPDX expression with its file (PEP 639)."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
        assert [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    assert "\nLicense-Expression: Apache-2.0\n" in text
    assert "\nLicense-File: LICENSE\n" in text


def test_the_source_archive_is_complete(built: Path) -> None:
    """It has every file of the repository, so `make test` and `make deb` work in it."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        found = {name.partition("/")[2] for name in opened.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone: git lists no files")
    assert set(listed.stdout.splitlines()) - {".gitignore"} <= found
