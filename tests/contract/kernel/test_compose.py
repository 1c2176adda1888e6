"""Docker Compose prints what netctl reads, and takes the override as it is meant."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reconciler.compose.model import parse_project
from reconciler.errors import UsageError
from reconciler.kernel.compose_cli import find_files, normalise
from tests.harness.capabilities import require_capability
from tests.harness.compose import normal_form, run_compose
from tests.harness.netctl import run_netctl

PROJECTS = Path("tests/unit/compose/projects")
CASES = sorted(path.name for path in PROJECTS.iterdir() if path.is_dir())


@pytest.fixture(autouse=True)
def _compose() -> None:
    require_capability("compose")


@pytest.mark.parametrize("name", CASES)
def test_the_normal_form_is_as_reviewed(name: str) -> None:
    """This version of Compose makes of each project what the unit tests read, so far as networks go."""
    ours = parse_project((PROJECTS / name / "normal.json").read_bytes())
    theirs = parse_project(json.dumps(normal_form(PROJECTS / name)).encode())
    assert theirs.networks == ours.networks
    for service, wanted in ours.services.items():
        found = theirs.services[service]
        for key in ("networks", "network_mode", "ports", "links", "extra_hosts", "hostname", "mac_address", "count"):
            assert getattr(found, key) == getattr(wanted, key), (service, key)


@pytest.mark.parametrize("name", CASES)
def test_with_the_override_compose_makes_no_network(name: str, tmp_path: Path) -> None:
    """The commands that an import prints: with COMPOSE_FILE, no connected service has a network or a port of Compose's."""
    (tmp_path / "compose.yaml").write_text((PROJECTS / name / "compose.yaml").read_text())
    done = run_netctl("import", tmp_path / "compose.yaml")
    assert (done.status, done.err) == (0, "")
    found = re.search(r"export COMPOSE_FILE=(\S+)", done.out)
    assert found
    merged = json.loads(run_compose(tmp_path, "--profile", "*", "config", "--format", "json", files=found[1].split(":")))
    left = re.findall(r"^# (\S+): ", (tmp_path / "topology.yaml").read_text().partition("# Not connected")[2], re.MULTILINE)
    for service, keys in merged["services"].items():
        if service not in left:
            assert keys["network_mode"] == "none"
            assert not {"networks", "ports", "links", "mac_address"} & set(keys)
    original = json.loads((PROJECTS / name / "normal.json").read_text())
    for service in left:
        assert merged["services"][service].get("network_mode") == original["services"][service].get("network_mode")


def test_merging_variables_and_extends_are_compose_s(tmp_path: Path) -> None:
    """Two files, a variable, `extends`, `include` and a profile: netctl gets what Compose makes of them."""
    (tmp_path / "base.yaml").write_text(
        "services: {web: {image: web, ports: ['80:80'], networks: [front]}}\nnetworks: {front: {}}\n"
    )
    (tmp_path / "part.yaml").write_text("services: {cache: {image: cache}}\n")
    (tmp_path / "compose.yaml").write_text(
        "name: shop\ninclude: [part.yaml]\n"
        "services:\n  web: {extends: {file: base.yaml, service: web}}\n  debug: {image: x, profiles: [debug]}\n"
        'networks: {front: {internal: "${INTERNAL:-true}"}}\n'
    )
    (tmp_path / "more.yaml").write_text('services: {web: {ports: ["443:443"], scale: 2}}\n')
    normal = normalise([str(tmp_path / "compose.yaml"), str(tmp_path / "more.yaml")])
    project = parse_project(normal.data)
    assert set(project.services) == {"web", "debug", "cache"}
    assert project.services["web"].count == 2
    assert [port.published for port in project.services["web"].ports or ()] == ["80", "443"]
    assert project.networks["front"]
    assert project.networks["front"].internal is True
    done = run_netctl("import", tmp_path / "compose.yaml", "-f", tmp_path / "more.yaml", "--dry-run")
    assert done.status == 0, done.err


def test_an_unset_variable_is_a_warning(tmp_path: Path) -> None:
    """Compose's own words reach the user, without the escapes of its log."""
    (tmp_path / "compose.yaml").write_text("name: shop\nservices: {web: {image: 'web:${NO_SUCH_TAG}'}}\n")
    assert any('"NO_SUCH_TAG" variable is not set' in warning for warning in normalise([str(tmp_path / "compose.yaml")]).warnings)


def test_a_broken_file_is_refused_in_compose_s_words(tmp_path: Path) -> None:
    """The file is never read in another way."""
    (tmp_path / "compose.yaml").write_text("name: shop\nservices: {web: {image: web, portz: [80]}}\n")
    with pytest.raises(UsageError, match="portz"):
        normalise([str(tmp_path / "compose.yaml")])


def test_default_files_are_those_that_compose_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several of the names there, and from a directory below, Compose by itself reads the same files."""
    monkeypatch.delenv("COMPOSE_FILE", raising=False)
    for number, name in enumerate(("docker-compose.yaml", "compose.yml", "compose.override.yml")):
        (tmp_path / name).write_text(f"name: shop\nservices: {{s{number}: {{image: a}}}}\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    services = run_compose(tmp_path / "below", "config", "--services").split()
    assert sorted(parse_project(normalise(find_files(".", {})).data).services) == sorted(services)


def test_the_document_shows_what_an_import_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines in docs/compose.md are those of the command, on the project there."""
    (tmp_path / "compose.yaml").write_text((PROJECTS / "shop/compose.yaml").read_text())
    shown = Path("docs/compose.md").read_text().partition("$ netctl import\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    assert run_netctl("import").out == shown
