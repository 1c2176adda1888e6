"""Every block of the documents does what the document says."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import language
from tests.harness.capabilities import require_capability
from tests.harness.document_summary import NOT_RUN
from tests.harness.documents import Block, Omission, read_blocks, read_omissions
from tests.harness.machine import Machine
from tests.harness.netctl import Outcome, run_netctl
from tests.harness.topologies.fragments import complete

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [path for path in language.documents() if path.name != "CHANGELOG.md" and path.parent.name != "decisions"]
WITH_BLOCKS = [path for path in DOCUMENTS if read_blocks(path)]
TUTORIAL = sorted((ROOT / "docs/tutorial").glob("*.md"))
OMISSIONS = [(path, omission) for path in TUTORIAL for omission in read_omissions(path)]

EXAMPLE = next(block.text for block in read_blocks(ROOT / "README.md") if block.is_whole_topology)

MakeMachine = Callable[[], Machine]


@pytest.fixture
def make_machine(tmp_path: Path) -> Iterator[MakeMachine]:
    """Makes machines whose folder is empty at the start; the one before ends with the next one."""
    for name in ("root", "nft", "ping"):
        require_capability(name)
    made = list[Machine]()

    def make() -> Machine:
        for machine in made:
            machine.end()
        made.clear()
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        made.append(Machine.make(folder))
        return made[0]

    yield make
    for machine in made:
        machine.end()


def bash(machine: Machine, script: str) -> Outcome:
    """Type the lines in the machine; the status is that of the last one, or 99 if an earlier one failed."""
    before, last = split_last(script)
    typed = f"trap 'exit 99' ERR\nset -o pipefail\n{before}\ntrap - ERR\n{last}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    words = ("timeout", "50", "env", f"--chdir={machine.folder}", f"PATH={path}", "NO_COLOR=1", "bash", "-c", typed)
    return machine.start_command(*words).wait(60)  # what it leaves in the background holds no pipe


def split_last(script: str) -> tuple[str, str]:
    """All lines of a script before its last command, and that."""
    lines = [line for line in script.splitlines() if line.strip()]
    return "\n".join(lines[:-1]), lines[-1]


def run_block(machine: Machine, block: Block) -> None:
    """A block of `sh`: its last line ends as the mark says, all others with 0."""
    outcome, place = bash(machine, block.text), f"{block.file.relative_to(ROOT)}:{block.line}"
    said = f"{place}: status {outcome.status}: {outcome.err or outcome.out}"
    if block.mark == "fails":
        assert outcome.status not in (0, 99), said
    else:
        assert outcome.status == block.status, said


def check_output(machine: Machine, block: Block, command: str, *, is_excerpt: bool) -> None:
    """The output has the lines of the block: all of them in order, or each somewhere. A time may be another one."""
    shown = block.text
    if not command:
        command, _, shown = shown.removeprefix("$ ").partition("\n")
    outcome = bash(machine, command)
    printed = outcome.out if not is_excerpt else "\n".join(sorted(outcome.out.splitlines()))
    for part in shown.splitlines() if is_excerpt else [shown.rstrip()]:
        pattern = re.sub(r"\d+\\\.\d+\\? s", r"[0-9.]+ s", re.escape(part))
        pattern = pattern.replace("…", ".*" if is_excerpt else "(?:.|\n)*")
        found = re.search(rf"^\s*{pattern}$", printed, re.MULTILINE)
        assert found, f"{block.file.name}:{block.line}: {part}\nis not in:\n{printed}{outcome.err}"


def check_yaml(machine: Machine, block: Block) -> None:
    """A topology, or a part of one, is valid; a whole one becomes the file of the blocks after it."""
    file = machine.folder / "topology.yaml" if block.is_whole_topology else machine.folder / f"part-{block.line}.yaml"
    file.write_text(block.text if block.is_whole_topology else complete(block.text))
    outcome = run_netctl("validate", file)
    assert outcome.status == 0, f"{block.file.relative_to(ROOT)}:{block.line}: {outcome.err}{outcome.out}"


@pytest.mark.parametrize("document", WITH_BLOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_do_what_the_document_says(
    document: Path, make_machine: MakeMachine, record_property: Callable[[str, object], None]
) -> None:
    """Commands end as the page says, outputs are what they print, and topologies are valid. Others say why they do not run."""
    machine = make_machine()
    for number, block in enumerate(read_blocks(document)):
        place = f"{document.relative_to(ROOT)}:{block.line}"
        if (block.begins and number) or block.applied is not None:
            machine = make_machine()
        if block.reason_not_run:
            record_property(NOT_RUN, (place, block.reason_not_run))
            continue
        if block.applied is not None:
            text = (ROOT / block.applied).read_text() if block.applied else EXAMPLE
            (machine.folder / "topology.yaml").write_text(text)
            assert bash(machine, "netctl apply").status == 0
        check_block(machine, block, place)


def check_block(machine: Machine, block: Block, place: str) -> None:
    """What the block's language and mark ask for."""
    kind, _, argument = block.mark.partition(": ")
    if kind in ("prints", "excerpt of"):
        check_output(machine, block, argument, is_excerpt=kind == "excerpt of")
    elif block.language == "yaml":
        check_yaml(machine, block)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "sh":
        run_block(machine, block)
    else:
        assert kind == "drawing", f"{place}: a block without a mark (tests/harness/documents.py)"


def name_parameter(value: Path | Omission) -> str:
    """A part of the test's name."""
    return value.stem if isinstance(value, Path) else value.line[:60]


@pytest.mark.parametrize(("document", "omission"), OMISSIONS, ids=name_parameter)
def test_a_line_that_is_left_out_is_missed(document: Path, omission: Omission, make_machine: MakeMachine) -> None:
    """The command beside it fails without the line, and not with it."""
    blocks = read_blocks(document)
    script = next(block for block in blocks if block.mark == "script")
    servers = "".join(block.text for block in blocks if block.mark == "server")
    assert omission.line in script.text.splitlines()
    whole, without = ("\n".join(line for line in script.text.splitlines() if line != left) for left in ("", omission.line))
    failing = " || true\n"
    for text, is_whole in ((without, False), (whole, True)):
        machine = make_machine()
        tolerant = text + "\n" if is_whole else failing.join(text.splitlines()) + failing
        outcome = bash(machine, f"{tolerant}{servers}bash -c {shlex.quote(omission.command)}")
        assert outcome.status != 99, outcome.err
        assert (outcome.status == 0) == is_whole, f"{'with' if is_whole else 'without'} the line: {outcome.out}{outcome.err}"
