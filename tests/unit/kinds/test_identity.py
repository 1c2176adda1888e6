"""The identity of a record: stated once, by its kind, and named by `ref_of` everywhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import reconciler
from reconciler.compile import compile_topology
from reconciler.kinds import KINDS
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FastPathLink
from reconciler.kinds.netns import Netns
from reconciler.kinds.openvswitch.bridge import OvsBridge
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.kinds.stray import StrayLink
from reconciler.kinds.uplink import Uplink
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.topology.load import load_topology

PACKAGE = Path(reconciler.__file__).parent
DECODERS = {"state/decoders.py", "plan/document.py"}
"""They read identities that another process has sent."""


def made_refs() -> Iterator[tuple[str, ast.Call]]:
    """Every call of `Ref` in the package, with its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Ref":
                yield str(path.relative_to(PACKAGE)), node


def test_only_kinds_make_identities() -> None:
    """Outside `kinds/` nothing builds a Ref by hand: a typing error in a kind or a name would be a dependency on nothing."""
    found = {f"{path}:{call.lineno}" for path, call in made_refs() if not path.startswith("kinds/") and path not in DECODERS}
    assert found == set()


def test_no_kind_writes_the_name_of_another() -> None:
    """Within `kinds/` a kind writes its own identity only; those that modules below it need stand in `kinds/identity.py`."""
    own = [(path, call) for path, call in made_refs() if path.startswith("kinds/") and path != "kinds/identity.py"]
    found = {f"{path}:{call.lineno}" for path, call in own if isinstance(call.args[0], ast.Constant)}
    assert found == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_kind_has_a_constructor_of_its_identity(kind: type[Record]) -> None:
    """A record that depends on a thing names it by `ref_of` of its kind, so every kind has one."""
    assert callable(getattr(kind, "ref_of", None))


def test_an_identity_names_its_own_kind() -> None:
    """Also where the constructor stands apart from the kind."""
    named: dict[type[Record], Ref] = {
        EngineContainer: EngineContainer.ref_of("web"),
        Netns: Netns.ref_of("container:web"),
        FirewallTable: FirewallTable.ref_of("", "inet"),
        FirewallElement: FirewallElement.ref_of("", "inet", "switched", "v-web"),
        FastPathLink: FastPathLink.ref_of("", "netdev", "to_bridge", "ip", "front"),
        Sysctl: Sysctl.ref_of("", "net.ipv4.ip_forward"),
        OvsBridge: OvsBridge.ref_of("", "b-shop-front"),
        Uplink: Uplink.ref_of("", "eth0"),
        StrayLink: StrayLink.ref_of("container:web", "eth0"),
    }
    assert all(ref.kind == kind.kind for kind, ref in named.items())


@pytest.mark.parametrize("path", sorted(Path("examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_dependencies_name_records_that_are_there(path: Path) -> None:
    """In every example, what a record depends on is a record of the same host: no identity is misspelt."""
    for state in compile_topology(load_topology(str(path)), {}).hosts.values():
        for ref, record in state.records.items():
            assert ref == record.ref
            assert ref.kind == record.kind
            assert set(record.depends_on) <= set(state.records), record
