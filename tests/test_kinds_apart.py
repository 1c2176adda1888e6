"""What is particular to a kind stays in its own files, so that adding one touches few (docs/contributing/add-a-kind.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from reconciler.compile.bridges import TYPES
from reconciler.compile.overlays import overlay_named
from reconciler.kinds.bridges import BRIDGES
from reconciler.kinds.links import TUNNELS
from reconciler.state.engines import ENGINES, EngineRuntime
from reconciler.topology.types import BridgeKind, OverlayKey, TunnelKind

PACKAGE = Path(__file__).resolve().parent.parent / "reconciler"
DOCUMENT = PACKAGE.parent / "docs/contributing/add-a-kind.md"
VXLAN_FILES = {
    "compile/overlays/__init__.py",
    "compile/overlays/vxlan.py",
    "kinds/links/__init__.py",
    "kinds/links/vxlan.py",
    "topology/check_overlays.py",
    "topology/check_vxlan.py",
    "topology/expand.py",
    "topology/foreign.py",
    "topology/model/subnets.py",
    "topology/types.py",
}
"""The kind itself, the tables of kinds, and the key `vxlan_port`."""
FILES_MAX = {"openvswitch|ovs": 50, "macvlan": 33, "podman(?!-compose)": 6}
"""In how many files a word may stand. If one leaves a file, lower the number; it must not grow."""


def naming(word: str) -> set[str]:
    """The files of the package that have the word, in code or in prose."""
    files = {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}
    return {name for name, text in files.items() if re.search(word, text, re.IGNORECASE)}


def test_vxlan_is_named_in_its_own_files() -> None:
    """All other code knows tunnels, and no kind of them."""
    assert naming("vxlan") == VXLAN_FILES


@pytest.mark.parametrize("word", FILES_MAX)
def test_no_further_file_names_a_kind(word: str) -> None:
    """A kind that spreads makes the next one of its sort expensive."""
    found = naming(word)
    assert len(found) <= FILES_MAX[word], sorted(found)


def test_compile_knows_open_vswitch_as_a_bridge_only() -> None:
    """The kinds of bridges stand behind one interface: no other file of `compile/` names the second one, or its datapath."""
    found = {name for name in naming("openvswitch|datapath") if name.startswith("compile/")}
    assert found == {"compile/bridges/__init__.py", "compile/bridges/openvswitch.py"}


def test_only_ref_reads_the_name_of_a_namespace() -> None:
    """`container:web` is made and read in one file; all other code calls its functions. Docker has the same word of its own."""
    assert naming(r"""["']{1,3}(container|lab):["'{a-z]|netns\.(startswith|partition|removeprefix)""") == {
        "state/ref.py",
        "state/engines/docker.py",
    }


def test_only_subject_builds_and_splits_its_text() -> None:
    """`container web` as an owner is built and parsed in one file; all other code has the type. Sentences may contain it."""
    built = r"""["'](container|subnet) (\{[^{}]*\})?["']|["']policy (from )?["'{]"""
    split = r"(subject|about|owner)\w*(\[[^]]*\])?\.(startswith|endswith|r?partition|r?split|remove(pre|suf)fix)\("
    assert naming(f"{built}|{split}") == {"state/subject.py"}


def test_every_word_of_the_file_has_its_class() -> None:
    """A kind that the file accepts, and that a table lacks, would fail only when a topology uses it."""
    assert {overlay_named(name).link_type for name in get_args(TunnelKind)} == set(TUNNELS)
    assert set(get_args(OverlayKey)) == {*get_args(TunnelKind), "routes", "auto", "none"}
    assert set(TYPES) == set(BRIDGES) == set(get_args(BridgeKind))
    assert set(ENGINES) == set(get_args(EngineRuntime))


def test_the_lists_name_files_that_are_there() -> None:
    """A file that has moved would send a contributor astray."""
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", DOCUMENT.read_text()))
    assert named
    assert {name for name in named if not (PACKAGE / name).is_file() and not (PACKAGE.parent / name).is_file()} == set()
