"""The values of `env` in messages about a topology file: in no line that is shown, and in no sentence."""

from __future__ import annotations

import pytest

from reconciler.errors import TopologyError
from reconciler.render.errors import render_error
from reconciler.topology.load import parse_topology

HEAD = """\
version: 1
name: shop
hosts: {local: {connect: local}}
subnets: {front: {cidr: 10.44.0.0/24}}
containers:
"""


@pytest.mark.parametrize(
    "container",
    [
        "web: {env: {A: hunter2, B: 'hunter2 x'}, networks: {front: auto}, comand: [x]}",
        "web: {comand: [x], env: {A: hunter2}, networks: {front: auto}}",
        "web: {env: [A=hunter2, 'B=hunter2', \"C=hunter2\"], networks: {front: 10.99.0.1}}",
        "web: {env: {A: [hunter2, hunter2]}, networks: {front: auto}}",
        "web: {env: {A: {hunter2: hunter2}}, networks: {front: auto}}",
        "web: {env: A=hunter2, networks: {front: auto}}",
        "web: {env: {A: hunter2, A: hunter2}, networks: {front: auto}}",
        "web: {env: {A: &hunter hunter2}, networks: {front: auto}}",
        "web: {env: ['A=hunter2', 'A=hunter2'], command: [a], networks: {front: auto}}",
        "web: {env: [A=hunter2: hunter2], command: [a], networks: {front: auto}}",
        "web: {env: [[hunter2]], command: [a], networks: {front: auto}}",
    ],
)
def test_a_message_shows_no_value(container: str) -> None:
    """Whatever is wrong in the line of an `env`, the value stands neither in the line as shown nor in the sentence."""
    with pytest.raises(TopologyError) as caught:
        parse_topology(f"{HEAD}  {container}\n".encode())
    assert "hunter2" not in render_error(caught.value)


@pytest.mark.parametrize("value", ["47110815", "4711.0815", "0x2cdf30f"])
def test_a_number_is_not_shown(value: str) -> None:
    """A password without quotes is a number, or a wrong one: the message says which variable, and not its value."""
    with pytest.raises(TopologyError) as caught:
        parse_topology(f"{HEAD}  web: {{env: {{PASSWORD: {value}}}, networks: {{front: auto}}}}\n".encode())
    shown = render_error(caught.value)
    assert "`PASSWORD`" in shown
    assert not [word for word in (value, "47050511", "4711") if word in shown]


def test_columns_stay() -> None:
    """The caret stands below the fault, though values before it are masked."""
    with pytest.raises(TopologyError) as caught:
        parse_topology(f"{HEAD}  web: {{env: {{A: hunter2}}, networks: {{front: auto}}, comand: [x]}}\n".encode())
    _, line, caret, *_ = next(part for part in render_error(caught.value).split("\n\n") if "unknown key" in part).splitlines()
    assert line[caret.index("^") :].startswith("comand")
