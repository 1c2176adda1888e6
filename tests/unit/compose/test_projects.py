"""Compose projects of the shapes that are widely used: in each folder of `projects`, a project and what an import writes.

    compose.yaml          the project
    normal.json           what `docker compose config` makes of it
    topology.yaml         the topology that follows
    compose.netctl.yaml   the override for Compose

After a change that is meant, `GOLDEN=write pytest tests/unit/compose/test_projects.py` writes the last two again, and with
Compose on the machine also the second; review the difference.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from reconciler.compose.convert import ImportedProject, convert_project
from reconciler.compose.headings import override_heading, topology_heading
from reconciler.compose.model import parse_project
from reconciler.compose.override_text import render_override
from reconciler.compose.topology_text import render_topology
from reconciler.topology.load import parse_topology
from reconciler.topology.types import Container
from tests.harness.compose import has_compose, normal_form

ROOT = Path("tests/unit/compose/projects")
CASES = sorted(path.name for path in ROOT.iterdir() if path.is_dir())


class OverrideLoader(yaml.SafeLoader):
    """Reads Compose's own tags."""


def _construct(loader: OverrideLoader, node: yaml.Node) -> object:
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else "reset"


OverrideLoader.add_constructor("!reset", _construct)
OverrideLoader.add_constructor("!override", _construct)


def read_case(name: str) -> ImportedProject:
    return convert_project(parse_project((ROOT / name / "normal.json").read_bytes()), topology_heading(["compose.yaml"]))


def validated(text: str) -> dict[str, Container]:
    """The containers of a topology, which must be valid; one stands for all members of a service."""
    return {container.name: container for container in parse_topology(text.encode()).declared}


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_as_reviewed(name: str) -> None:
    """Both files are those in the folder, byte for byte."""
    folder = ROOT / name
    if os.environ.get("GOLDEN") == "write" and has_compose():
        (folder / "normal.json").write_text(json.dumps(normal_form(folder), indent=2) + "\n")
    imported = read_case(name)
    heading = override_heading("compose.yaml:compose.netctl.yaml", waits=False)
    texts = {"topology.yaml": render_topology(imported.topology), "compose.netctl.yaml": render_override(imported, heading, {})}
    for file, text in texts.items():
        if os.environ.get("GOLDEN") == "write":
            (folder / file).write_text(text)
        assert (folder / file).read_text() == text


@pytest.mark.parametrize("name", CASES)
def test_the_topology_is_valid(name: str) -> None:
    """`netctl validate` accepts it, and each service that Compose connects is in the topology or named as left out."""
    imported = read_case(name)
    containers = validated(render_topology(imported.topology))
    services = set(imported.project.services)
    assert set(imported.containers) | {service for service, _ in imported.topology.left_out} == services
    assert len(containers) == len(imported.containers)


@pytest.mark.parametrize("name", CASES)
def test_the_override_leaves_no_network_to_compose(name: str) -> None:
    """Each connected service has network_mode none and resets its networks and ports; of the others, none has a network."""
    imported = read_case(name)
    override = yaml.load((ROOT / name / "compose.netctl.yaml").read_text(), OverrideLoader)
    assert list(override) == ["name", "services"]
    assert override["name"] == imported.project.name
    assert set(override["services"]) >= set(imported.containers)
    for key, service in override["services"].items():
        if key in imported.containers:
            assert (service["network_mode"], service["networks"], service["ports"]) == ("none", "reset", "reset")
        else:
            assert list(service) == ["depends_on"]


@pytest.mark.parametrize("name", CASES)
def test_names_lead_to_addresses_of_the_topology(name: str) -> None:
    """Each name in the override that is no name of the project's own file leads to an address in the topology."""
    imported = read_case(name)
    containers = validated(render_topology(imported.topology))
    known = {str(address) for one in containers.values() for each in one.attachments for address in each.addresses}
    known |= {str(cidr[1]) for subnet in imported.topology.subnets for cidr in subnet.cidrs}
    override = yaml.load((ROOT / name / "compose.netctl.yaml").read_text(), OverrideLoader)
    for service, keys in override["services"].items():
        given = json.dumps(imported.project.services[service].extra_hosts)
        for addresses in keys.get("extra_hosts", {}).values():
            for address in addresses if isinstance(addresses, list) else [addresses]:
                assert address in known or address in given


def test_the_document_shows_an_example_of_these() -> None:
    """The project in docs/compose.md is `shop`, and the part of a topology there is what an import writes."""
    project, topology = re.findall(r"^```yaml\n(.*?)^```", Path("docs/compose.md").read_text(), re.MULTILINE | re.DOTALL)
    assert (ROOT / "shop/compose.yaml").read_text().endswith(f"docs/compose.md.\n{project}")
    assert topology in (ROOT / "shop/topology.yaml").read_text()
