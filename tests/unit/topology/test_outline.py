"""The name and the hosts of a file, checked before the rest: what is read early is what the checked file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import TopologyError
from reconciler.fleet.target import count_workers, early_targets_of, targets_of
from reconciler.topology.load import check_parsed, parse_topology
from reconciler.topology.model.hosts import HostModel
from reconciler.topology.outline import HOST_KEYS, outline_of
from reconciler.topology.parsed_file import read_parsed
from reconciler.topology.yaml import parse_document

FILES = sorted([*Path("examples").glob("*.yaml"), Path("topology.yaml")])
VALUES: dict[str, tuple[str, ...]] = {
    "connect": ("lab", "local", "ssh://root@alpha:22", "Lab", "7"),
    "address": ("192.0.2.11", '[192.0.2.11, "fd00::1"]', "192.0.2.300", "[]", "null"),
    "uplink": ("eth0", "all", "1"),
    "docker": ("unix:///run/d.sock", "tcp://a"),
    "podman": ("unix:///run/p.sock", "7"),
    "lxc": ("/srv/lxc/", "srv"),
    "openvswitch": ("unix:///run/o.sock", "x"),
    "colour": ("red",),
}
HOST = st.dictionaries(st.sampled_from(list(VALUES)), st.integers(0, 4)).map(
    lambda picked: "{" + ", ".join(f"{key}: {VALUES[key][at % len(VALUES[key])]}" for key, at in picked.items()) + "}"
)
NAME = st.sampled_from(("t", "a-b", "-a", "../etc", "lab", "12", "x" * 30))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_outline_is_what_the_whole_file_says(file: Path) -> None:
    """Of a file that is right, the name, the hosts and the workers are those of the checked file; so are early targets."""
    parsed = read_parsed(str(file))
    outline = outline_of(parsed.document.tree)
    assert outline is not None
    topology = check_parsed(parsed)
    targets = targets_of(topology)
    assert (outline.name, outline.hosts) == (topology.name, topology.hosts)
    assert count_workers(outline) == sum(1 for target in targets if not target.ssh)
    assert early_targets_of(outline) in ((), targets)


@given(NAME, st.dictionaries(NAME, HOST, max_size=3))
def test_an_outline_is_right_exactly_if_the_name_and_the_hosts_are(name: str, hosts: dict[str, str]) -> None:
    """There is an outline if the model takes the name and the hosts, and it holds the same values."""
    text = f"version: 1\nname: {name}\nhosts: {{{', '.join(f'{key}: {values}' for key, values in hosts.items())}}}\n"
    outline = outline_of(parse_document(text.encode())[0].tree)
    try:
        topology = parse_topology(text.encode())
    except TopologyError:
        return
    assert outline is not None
    assert (outline.name, outline.hosts, outline.is_bare) == (topology.name, topology.hosts, True)


def test_the_outline_knows_every_key_of_a_host() -> None:
    """A key that the model has and the outline has not would make every file with it slower."""
    assert list(HOST_KEYS) == list(HostModel.model_fields)


def test_a_plain_lab_is_read_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts of the top-level file are read while it is checked, whatever the environment says of engines."""
    outline = outline_of(read_parsed("topology.yaml").document.tree)
    assert outline is not None
    for engine in ("", "unix:///run/other.sock"):
        monkeypatch.setenv("DOCKER_HOST", engine)
        assert [target.host for target in early_targets_of(outline)] == ["lab", "alpha", "beta"]


@pytest.mark.parametrize(
    "tree",
    [
        {"name": "t", "hosts": {"a": {"connect": "lab"}, "b": {"connect": "local"}}, "containers": {}},
        {"name": "t", "hosts": {"a": {"connect": "lab"}}, "containers": {"c": {"image": "busybox"}}},
        {"name": "t", "hosts": {"a": {"connect": "lab"}}, "containers": {"c": 7}},
        {"name": "t", "hosts": {"a": {"connect": "lab"}}, "subnets": {"s": {"bridge": "openvswitch"}}},
        {"name": "t", "hosts": {"a": {"connect": "lab"}}, "subnets": None},
        {"name": "t", "hosts": {}, "containers": {}},
    ],
)
def test_what_depends_on_the_rest_of_the_file_is_not_read_early(tree: dict[str, Any]) -> None:
    """Engines and Open vSwitch are read if a container or a subnet needs them, so these wait for the whole check."""
    outline = outline_of(tree)
    assert outline is not None
    assert early_targets_of(outline) == ()


@pytest.mark.parametrize(
    "tree",
    [
        None,
        "text",
        {"name": "../../etc", "hosts": {"a": {"connect": "lab"}}},
        {"name": "t", "hosts": {"a/b": {"connect": "lab"}}},
        {"name": "t", "hosts": {"a": None}},
        {"name": "t", "hosts": {"a": {}}},
        {"name": "t", "hosts": {"a": {"connect": "lab", "colour": "red"}}},
        {"hosts": {"a": {"connect": "lab"}}},
    ],
)
def test_a_wrong_name_or_host_gives_no_outline(tree: Any) -> None:
    """Nothing of it becomes part of a path, and the check of the whole file reports it."""
    assert outline_of(tree) is None
