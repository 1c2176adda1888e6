"""The project around the code: what has to stay in step with it."""

from __future__ import annotations

import ast
import re
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from reconciler import __version__
from tests import language
from tests.harness import capabilities, names
from tests.harness.netctl import run_netctl
from tests.harness.netns import Namespace

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-dev.lock")
DOCUMENTS = language.documents()
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def locked(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_every_dependency_with_hashes(lock: str) -> None:
    """Each dependency of pyproject.toml is locked, each locked package has hashes, and no address of a registry stands in it."""
    wanted = list(PROJECT["project"]["dependencies"])
    if lock == "requirements-dev.lock":
        wanted += PROJECT["project"]["optional-dependencies"]["dev"]
    names = {normalise(re.split(r"[<>=!~ ]", line)[0]) for line in wanted}
    assert names <= set(locked(lock))
    text = (ROOT / lock).read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks if block.strip())


def test_locks_agree() -> None:
    """The tests run with the very packages that users run with."""
    run, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert run.items() <= dev.items()


def test_changelog_names_this_version() -> None:
    """The newest released version in the changelog is the package's."""
    versions = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def test_every_ignored_rule_has_its_reason() -> None:
    """A rule that ruff does not apply has a comment behind it that says why."""
    inside = False
    for line in (ROOT / "pyproject.toml").read_text().splitlines():
        if line.startswith("[tool.ruff.lint"):
            inside = True
        elif line.startswith("["):
            inside = False
        if inside and re.match(r'\s+"[A-Z]+[0-9]*",', line):
            assert re.search(r"# \S+ \S+", line), line


def anchor(heading: str) -> str:
    """As the forges make it: lower case, spaces to hyphens, other signs dropped."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower().replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Every link from one document to another file or heading of this checkout finds it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), target
        if fragment and file.suffix == ".md":
            assert fragment in {anchor(heading) for heading in HEADING.findall(file.read_text())}, target


def test_readme_names_every_command() -> None:
    """The README's table has a line for each subcommand that `netctl --help` lists, and for no other."""
    shown = run_netctl("--help").out
    commands = set(re.findall(r"^\s{2,}(apply|diff|destroy|validate|status|verify|exec|[a-z]+)\s{2,}\S", shown, re.MULTILINE))
    table = set(re.findall(r"^\| `netctl ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert table
    assert table == commands


def imported_names(node: ast.AST) -> Iterator[str]:
    """The modules, and the names in them, that the code imports when it runs: not those for annotations only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
            yield child.module or ""
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from imported_names(child)


def read_modules(package: Path) -> dict[str, set[str]]:
    """The modules of a package, and which of them each imports, anywhere in its code."""
    files = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in package.rglob("*.py")
    }
    trees = {name: ast.parse(path.read_text()) for name, path in files.items()}
    return {name: {other for other in imported_names(tree) if other in files and other != name} for name, tree in trees.items()}


def test_no_circle_of_imports() -> None:
    """No module imports itself by way of others, not even inside a function: each can be read after those that it builds on."""
    modules = read_modules(ROOT / "reconciler")
    assert len(modules) > 100
    TopologicalSorter(modules).prepare()


def test_a_circle_of_imports_is_found(tmp_path: Path) -> None:
    """An import inside a function closes a circle; one for annotations does not."""
    package = tmp_path / "made"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from made.two import name\n")
    (package / "two.py").write_text("if TYPE_CHECKING:\n    from made.one import other\n")
    TopologicalSorter(read_modules(package)).prepare()
    (package / "two.py").write_text("def late():\n    from made import one\n")
    with pytest.raises(CycleError):
        TopologicalSorter(read_modules(package)).prepare()


def test_class_names_are_distinct() -> None:
    """No two public classes of the package have one name: an import or a sentence would leave open which one is meant."""
    names = [
        node.name
        for path in (ROOT / "reconciler").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_setup_is_quick_when_done() -> None:
    """Where everything is there, `.ci/setup` says nothing and changes nothing: the venv's stamp is its proof."""
    stamp = ROOT / ".venv/made-from"
    if not stamp.exists():
        pytest.skip("this venv was not made by .ci/setup")
    before = stamp.stat().st_mtime_ns
    done = subprocess.run([ROOT / ".ci/setup"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == before


@pytest.mark.parametrize("script", [".ci/setup", ".ci/run", ".ci/debian", ".ci/deb", ".ci/try-deb"])
def test_scripts_are_plain_sh(script: str) -> None:
    """They parse as POSIX shell, and are executable."""
    file = ROOT / script
    assert file.stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", file], check=False).returncode == 0


def test_missing_capability_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine lacks fails the test in CI, unless its kernel or release is known to lack it; else the test is skipped."""
    monkeypatch.setitem(capabilities.CAPABILITIES, "nft", (lambda: False, "install it"))
    monkeypatch.setitem(capabilities.CAPABILITIES, "sctp", (lambda: False, "another kernel"))
    monkeypatch.setattr(capabilities, "_found", {})
    monkeypatch.setattr(capabilities, "IN_CI", True)
    with pytest.raises(pytest.fail.Exception, match="lacks nft: install it"):
        capabilities.require_capability("nft")
    with pytest.raises(pytest.skip.Exception, match="lacks sctp"):
        capabilities.require_capability("sctp")
    monkeypatch.setitem(capabilities.CAPABILITIES, "compose", (lambda: False, "Debian 13"))
    monkeypatch.setattr(capabilities, "_is_debian_12", lambda: True)
    with pytest.raises(pytest.skip.Exception, match="lacks compose"):
        capabilities.require_capability("compose")
    monkeypatch.setattr(capabilities, "_is_debian_12", lambda: False)
    with pytest.raises(pytest.fail.Exception, match="lacks compose"):
        capabilities.require_capability("compose")
    monkeypatch.setattr(capabilities, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="lacks nft"):
        capabilities.require_capability("nft")


@pytest.mark.kernel
def test_leftovers_are_found_and_removed(make_namespace: Callable[..., Namespace], topology_name: str) -> None:
    """A namespace and a process that a test leaves behind are both found by the test's name, and both removed."""
    left = make_namespace("left")
    process = left.start("sleep", "1000")
    try:
        deadline, found = time.monotonic() + 5, list[str]()
        # It is the namespace's when nsenter(1) has entered.
        while not any(line.startswith(f"process {process.pid} ") for line in found) and time.monotonic() < deadline:
            found = names.read_leftovers(topology_name)
        assert any(line.startswith("namespace") for line in found)
        assert any(line.startswith(f"process {process.pid} ") for line in found)
        names.remove_leftovers(topology_name)
        assert process.wait(timeout=5) != 0
        assert names.read_leftovers(topology_name) == []
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_topologies_in_documents_are_valid(tmp_path: Path) -> None:
    """Every whole topology that the documents show passes `netctl validate`."""
    count = 0
    for document in DOCUMENTS:
        for block in re.findall(r"^```yaml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
            if "version: 1" in block:
                file = tmp_path / f"{document.stem}-{count}.yaml"
                file.write_text(block)
                outcome = run_netctl("validate", file)
                assert outcome.status == 0, f"{document.name}: {outcome.out}{outcome.err}"
                count += 1
    assert count >= 2


def test_values_in_the_architecture_have_their_fields() -> None:
    """The page follows one port through the code: a field that was renamed would lead a newcomer astray."""
    fields: dict[str, set[str]] = {}
    for path in (ROOT / "reconciler").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                targets = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
                fields[node.name] = {target.id for target in targets if isinstance(target, ast.Name)}
    named = re.findall(r"^(?:Batch|Change|Publication)\(.*", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    assert len(named) == 3
    for line in named:
        owner = line.partition("(")[0]
        used = set(re.findall(r"\b([a-z_]+)=", re.sub(r"(?<=.)\b[A-Z]\w+\([^)]*\)", "", line)))
        assert used
        assert used <= fields[owner], f"{owner} has no field {used - fields[owner]}"
