"""Help for commands and for keys of the file, the version, and the man page."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from reconciler import __version__
from reconciler.cli.main import COMMANDS
from reconciler.cli.man import PATH, render_man
from reconciler.topology.keys import DATA, DOCUMENT, find_keys, parse_keys, read_keys, render_keys
from tests.harness.capabilities import require_capability
from tests.harness.netctl import run_netctl


def test_keys_are_those_of_the_document() -> None:
    """keys.json is what `python -m reconciler.topology.keys` writes of docs/file-format.md."""
    assert DATA.read_text() == render_keys(parse_keys(DOCUMENT.read_text()))


def test_every_key_of_the_schema_is_explained() -> None:
    """The document has a row for each key at the top of a file."""
    schema = json.loads(Path("schemas/topology.schema.json").read_text())
    known = {key.name for key in read_keys()}
    missing = set(schema["properties"]) - known
    assert not missing


@pytest.mark.parametrize(
    ("word", "said"), [("cidr", "cidr (Subnets): "), ("hosts.address", "address (Hosts): "), ("vni", "VXLAN")]
)
def test_help_of_a_key(word: str, said: str) -> None:
    """Its part of the file, its value and its default; without Markdown's links."""
    done = run_netctl("help", word)
    assert done.status == 0
    assert said in done.out
    assert "](" not in done.out
    assert len(find_keys("address")) > len(find_keys("hosts.address")) == 1


def test_help_of_a_command_and_of_nothing() -> None:
    """The same as --help; an unknown word gets a suggestion."""
    assert run_netctl("help", "diff").out == run_netctl("help", "plan").out
    assert "usage: netctl diff" in run_netctl("help", "diff").out
    assert "exit status:" in run_netctl("help").out
    wrong = run_netctl("help", "subnet")
    assert wrong.status == 2
    assert "did you mean subnets?" in wrong.err


def test_version() -> None:
    """In a line, and as JSON."""
    assert run_netctl("version").out.startswith(f"netctl {__version__} (Python 3.")
    assert json.loads(run_netctl("version", "--json").out)["netctl"] == __version__


def test_the_man_page_is_in_step() -> None:
    """docs/netctl.1 is what `python -m reconciler.cli.man` writes."""
    assert PATH.read_text() == render_man(COMMANDS)


def test_the_man_page_has_no_mistake() -> None:
    """Groff warns of nothing, and shows each command and option as it is typed."""
    require_capability("groff")
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww", str(PATH)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"netctl {command.name}" in done.stdout for command in COMMANDS)
    assert "--dry-run" in done.stdout
