"""The warnings of a command about its hosts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reconciler.cli import common
from reconciler.state.foreign import Chain, ForwardDrop
from reconciler.topology.load import parse_topology

FILE = b"""\
version: 1
name: shop
hosts: {far: {connect: ssh://far, address: 192.0.2.1}, near: {connect: local, address: 192.0.2.2}}
"""


def test_advice_of_another_machine_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands that a host on another machine proposes are marked as its own, also after the fleet has ended, as in `diff`."""
    drop = ForwardDrop(program="ufw", chain=Chain(family="ip", table="filter", name="FORWARD"))
    monkeypatch.setattr(common, "drops_of", lambda _: dict.fromkeys(("far", "near"), ((drop, "ufw allow"),)))
    job = SimpleNamespace(topology=parse_topology(FILE), fleet=SimpleNamespace(targets=()))
    common.warn_of_drops(job)  # type: ignore[arg-type]  # it needs no more of a job
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("help")]
    assert lines == ["help (on far, in its own words): ufw allow", "help: ufw allow"]
