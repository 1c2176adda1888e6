"""`expose` is the old name of `ports`: it means the same, and a warning says so."""

from __future__ import annotations

import pytest

from reconciler.errors import Position, TopologyError
from reconciler.topology.advice import find_advice
from reconciler.topology.load import parse_topology
from tests.harness.topologies.faulty import BASE, check_fault

WEB = (
    BASE
    + "containers:\n  web:\n    networks: {front: 10.44.0.10}\n    KEY: ['8080:80', {listen: 8443, to: 443}]\n    replicas: 1\n"
)


def test_both_names_mean_the_same() -> None:
    """The published ports do not depend on the name of the key, nor does anything else of the topology."""
    old, new = (parse_topology(WEB.replace("KEY", key).encode()) for key in ("expose", "ports"))
    assert old.containers == new.containers
    assert [each.port for each in old.containers["web-1"].publications] == [8080, 8443]


def test_the_old_name_has_a_warning() -> None:
    """It stands at the key, names the new one, and says what differs from Compose. The new name has none."""
    (warning,) = find_advice(parse_topology(WEB.replace("KEY", "expose").encode()))
    assert warning.position == Position(8, 5)
    assert "`expose` is the old name of `ports`" in warning.message
    assert "Compose" in warning.message
    assert warning.help_text == "write `ports:` in its place; it means the same"
    assert find_advice(parse_topology(WEB.replace("KEY", "ports").encode())) == ()


def test_many_old_names_have_one_warning() -> None:
    """A thousand containers are no thousand warnings."""
    text = (
        BASE
        + "containers:\n"
        + "".join(f"  web{number}: {{networks: {{front: auto}}, expose: ['{number + 1000}:80']}}\n" for number in range(5))
    )
    (warning,) = find_advice(parse_topology(text.encode()))
    assert "and in 4 more containers" in warning.message


def test_both_names_at_once_are_refused() -> None:
    """Which of them counts would be a guess."""
    text = BASE + "containers:\n  web:\n    networks: {front: auto}\n    ports: [80]\n    §expose: [443]\n"
    check_fault(text, "`expose` is the old name of `ports`, which stands in line 8 already")


@pytest.mark.parametrize("key", ["expose", "ports"])
def test_faults_below_it_keep_their_place(key: str) -> None:
    """A fault of an item stands at the item's line and column, by either name."""
    text = BASE + f"containers:\n  web:\n    networks: {{front: auto}}\n    {key}:\n      - 80\n      - '99999:80'\n"
    with pytest.raises(TopologyError) as raised:
        parse_topology(text.encode())
    (fault,) = raised.value.faults
    assert (fault.position.line, fault.position.column) == (10, 9)
