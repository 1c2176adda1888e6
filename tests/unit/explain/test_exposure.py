"""What everyone can reach: the table, its JSON, and the comparison for CI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.explain.exposure import find_exposure
from reconciler.plan.document import CODEC
from reconciler.render.exposure import (
    ExposureDocument,
    compile_exposure,
    facts_of,
    parse_exposure,
    render_differences,
    render_exposure,
)
from reconciler.render.schema import SCHEMAS, render_schema
from tests.harness.explained import HEAD, SHOP, known
from tests.harness.netctl import run_netctl


def exposure(text: str) -> ExposureDocument:
    """The document of a file's text."""
    return compile_exposure("shop", find_exposure(known(text).world()))


TABLE = """\
FROM               TO                    SERVICE   BY
outside            mail                  all
                   web                   tcp 80    by alpha tcp 8080
                   web                   tcp 443   by alpha tcp 8443, only from 198.51.100.0/24
neighbour of alpha mail                  all
                   web                   tcp 80    by alpha tcp 8080
                   web                   tcp 443   by alpha tcp 8443, only from 198.51.100.0/24
subnet front       api                   all
                   host alpha            all
                   host beta             all
                   outside               all
                   web                   all
subnet back        host alpha            all
subnet open        host alpha            all
                   host beta             all
                   outside               all
"""


def test_the_table_of_a_shop() -> None:
    """The outside by published ports and routed subnets, neighbours alike, and what members of a subnet have in common."""
    lines = render_exposure(exposure(SHOP)).splitlines()
    shown = [" ".join(line.split()) for line in lines]
    assert shown[: len(TABLE.splitlines())] == [" ".join(line.split()) for line in TABLE.splitlines()]


def test_a_policy_opens_its_port_only() -> None:
    """The container of a policy reaches that port, and the other one nothing in return."""
    facts = facts_of(exposure(SHOP))
    assert ("web", "db", "tcp 5432", 4, "", "") in facts
    assert not [fact for fact in facts if fact[:2] in (("db", "web"), ("api", "db"), ("web", "db")) and fact[2] != "tcp 5432"]


def test_replicas_are_one_name() -> None:
    """A thousand replicas are a line, and they reach each other."""
    text = (
        HEAD
        + "subnets: {front: {cidr: 10.44.0.0/16}}\ncontainers: {one: {host: alpha, replicas: 1000, networks: {front: auto}}}\n"
    )
    facts = facts_of(exposure(text))
    assert ("one", "one", "all", 4, "", "") in facts
    assert len(facts) < 10


def test_differences_are_named_in_both_directions() -> None:
    """A port that is opened, and one that is closed."""
    before = exposure(SHOP)
    after = exposure(SHOP.replace("5432/tcp", "53/udp"))
    assert list(render_differences(before, after)) == ["  + web reaches db: udp 53", "  - web reaches db: tcp 5432"]
    assert list(render_differences(before, before)) == []


def test_a_saved_document_reads_as_it_was() -> None:
    """What `--json` prints is what `--fail-on-change` compares."""
    document = exposure(SHOP)
    text = json.dumps(CODEC.encode(document))
    assert facts_of(parse_exposure("old.json", text)) == facts_of(document)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format_version": 2}', '{"format_version": 1, "topology": "a", "reach": [1]}']
)
def test_a_file_that_is_no_exposure_is_refused(text: str) -> None:
    """By its name, and with the command that makes one."""
    with pytest.raises(UsageError, match=r"old\.json") as caught:
        parse_exposure("old.json", text)
    assert "netctl exposure --json" in caught.value.help_text


def test_the_command_ends_with_1_if_the_exposure_changed(tmp_path: Path) -> None:
    """CI fails on a port that is opened, and not on another line of the file."""
    file, old = tmp_path / "topology.yaml", tmp_path / "old.json"
    file.write_text(SHOP)
    old.write_text(run_netctl("exposure", file, "--json").out)
    same = run_netctl("exposure", file, "--fail-on-change", old)
    assert (same.status, same.out) == (0, "The exposure is the same.\n")
    file.write_text(SHOP.replace("5432/tcp", "5432/tcp, 53/udp"))
    changed = run_netctl("exposure", file, "--fail-on-change", old)
    assert (changed.status, changed.out) == (1, "the exposure has changed:\n  + web reaches db: udp 53\n")


def test_the_commands_need_no_host_and_no_root(tmp_path: Path) -> None:
    """From the file alone: status 0 for what passes, 1 for what does not, 2 for an unknown name; JSON has every hop."""
    file = tmp_path / "topology.yaml"
    file.write_text(SHOP)
    assert run_netctl("explain", "web", "db:5432", "-f", file, "--file-only").status == 0
    closed = run_netctl("explain", "web", "db:22", "-f", file, "--file-only", "--json")
    assert closed.status == 1
    (path,) = json.loads(closed.out)["paths"]
    assert (path["end"], path["remedy_line"]) == ("refused", 15)
    assert [hop["layer"] for hop in path["hops"]][-1] == "ends"
    assert run_netctl("explain", "web", "nobody", "-f", file, "--file-only").status == 2
    both = run_netctl("explain", "web", "db", "-f", file, "--file-only", "--trace")
    assert (both.status, both.out) == (2, "")


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_the_schemas_are_those_of_the_documents(path: Path) -> None:
    """`python -m reconciler.render.schema` wrote each of them."""
    assert path.read_text() == render_schema(SCHEMAS[path]())
