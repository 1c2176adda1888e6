"""The label `netctl.spec`: what it holds, and what of other versions is understood, so that an upgrade re-creates nothing."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from reconciler.kinds.engine.container import EngineContainer
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.lxc_config import parse_mark, render_mark
from reconciler.state.spec_label import parse_spec, render_spec
from tests.harness.full_spec import FULL

OLD_LABEL = (
    '{"runtime":"docker","image":"nginx:1.27","command":["nginx","-g","daemon off;"],"env":[["COLOUR","blue"]],'
    '"volumes":["/srv:/data:ro"],"restart":"on-failure:3"}'
)
"""As `docker inspect` shows it on a container that was created before labels had a version."""
SPEC = ContainerSpec(
    "docker", "nginx:1.27", ("nginx", "-g", "daemon off;"), (("COLOUR", "blue"),), ("/srv:/data:ro",), "on-failure:3"
)
PLAIN = ContainerSpec("podman", "busybox")


def test_the_label_without_a_version_is_understood() -> None:
    """A container with such a label is not re-created, and a container of LXC with such a mark neither."""
    assert parse_spec(OLD_LABEL) == SPEC
    before, after = (
        EngineContainer(netns="container:web", container="web", engine_name="shop-web", runtime="docker", spec=spec)
        for spec in (parse_spec(OLD_LABEL), SPEC)
    )
    assert not after.must_recreate(before)
    text = json.dumps({"topology": "shop", "host": "local", "name": "web", "spec": OLD_LABEL, "complete": True, "parked": False})
    mark = parse_mark(text)
    assert mark is not None
    assert mark.spec == SPEC
    assert parse_mark(render_mark(mark)) == mark


@pytest.mark.parametrize("spec", [SPEC, PLAIN, FULL])
def test_the_label_is_read_as_it_was_written(spec: ContainerSpec) -> None:
    """The label has its version, and nothing that is a default."""
    assert parse_spec(render_spec(spec)) == spec
    assert json.loads(render_spec(spec))["version"] == 1
    assert render_spec(PLAIN) == '{"version":1,"runtime":"podman","image":"busybox"}'


@pytest.mark.parametrize("key", ["command", "env", "volumes", "restart"])
def test_a_missing_key_means_its_default(key: str) -> None:
    """A label that was written before the key existed is that of a container with the default."""
    told = json.loads(OLD_LABEL)
    del told[key]
    spec = parse_spec(json.dumps(told))
    assert spec is not None
    assert getattr(spec, key) == getattr(PLAIN, key)


@pytest.mark.parametrize(
    "change",
    [
        *({"version": 2}, {"version": "1"}, {"version": None}, {"image": 7}, {"command": "nginx"}, {"env": [["COLOUR"]]}),
        *({"cpu": 2}, {"cpus": "2"}, {"init": 1}, {"healthcheck": {"test": "true"}}, {"ulimits": [["nofile", 1, 2]]}),
    ],
)
def test_what_is_not_understood_is_recreated(change: dict[str, object]) -> None:
    """Another version, an unknown key and a value of another type give no spec, which differs from every spec that is wanted."""
    told = {**json.loads(OLD_LABEL), **change}
    spec = parse_spec(json.dumps(told))
    assert spec is None
    before, after = (
        EngineContainer(netns="container:web", container="web", engine_name="shop-web", runtime="docker", spec=each)
        for each in (spec, SPEC)
    )
    assert after.must_recreate(before)


@pytest.mark.parametrize("key", ["runtime", "image"])
def test_a_label_without_what_has_no_default(key: str) -> None:
    """Without its runtime or its image, a label says nothing of a container."""
    told = json.loads(OLD_LABEL)
    del told[key]
    assert parse_spec(json.dumps(told)) is None


def test_each_field_is_read() -> None:
    """A field of a spec that no label could give back would re-create its container with each apply."""
    spec = replace(FULL, privileged=True)
    assert all(getattr(spec, each.name) != each.default for each in fields(ContainerSpec)), "try each field above"
    assert parse_spec(render_spec(spec)) == spec
