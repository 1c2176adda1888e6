"""Every key that says how an engine runs a container, on the real engines: what is written is what the container has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.engine import read_containers, remove_parked, run_runtime_steps
from reconciler.state.container_spec import ContainerSpec, Ulimit
from reconciler.state.steps.containers import ContainerCreate, ContainerPark
from tests.harness.capabilities import require_capability
from tests.harness.engines import RUNNING, Engine
from tests.harness.full_spec import FULL, STAYS

LXC_SPEC = ContainerSpec(
    "lxc",
    "",
    command=STAYS,
    env=(("COLOUR", "blue"),),
    volumes=("/usr/share:/data:ro",),
    user="1000:1000",
    working_dir="/tmp",
    cap_drop=("MKNOD",),
    tmpfs=("/run:size=1m", "/cache"),
    ulimits=(Ulimit("nofile", 512, 1024),),
    stop_signal="SIGTERM",
    stop_timeout=3,
)
"""Every key of LXC's but the limits of a control group, which a container without systemd's delegation cannot have."""


pytestmark = pytest.mark.kernel


@pytest.fixture(params=["docker", "podman", "lxc"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine in turn."""
    require_capability({"docker": "dockerd"}.get(request.param, request.param))
    with RUNNING[request.param]() as running:
        yield running


def test_each_key_is_what_the_container_has(engine: Engine, context: KernelContext, topology: str) -> None:
    """User, directory, limits, mounts, devices, rights and variables are as the spec says; a second reading finds no change."""
    context = dataclasses.replace(context, engines=((engine.runtime, engine.url),))
    spec = dataclasses.replace(LXC_SPEC if engine.runtime == "lxc" else FULL, runtime=engine.runtime, image=engine.image)
    if engine.runtime == "podman":  # its init is a program of another package (catatonit)
        spec = dataclasses.replace(spec, init=False, ulimits=(*spec.ulimits, Ulimit("nproc", 512, 512)))
    name = f"{topology}-web"
    run_runtime_steps(context, [ContainerCreate("container:web", "web", name, spec)])
    try:
        assert [(found.spec, found.running) for found in read_containers(context)] == [(spec, True)]
        script = "id -u; id -g; pwd; echo $COLOUR; grep -c ' /run tmpfs\\| /cache tmpfs' /proc/mounts"
        status = engine.exec(name, "cat", "/proc/1/status", "/proc/1/limits")
        assert "512                  1024" in status
        if engine.runtime == "lxc":  # lxc-attach takes its own user and directory
            assert "Uid:\t1000" in status
            assert engine.exec(name, "readlink", "/proc/1/cwd") == "/tmp"
            assert engine.exec(name, "sh", "-c", script).splitlines()[-1:] == ["2"]
        else:
            assert engine.exec(name, "sh", "-c", script).splitlines() == ["1000", "1000", "/tmp", "blue", "2"]
            assert engine.exec(name, "sh", "-c", "touch /file 2>&1 || true").endswith("Read-only file system")
            assert engine.exec(name, "sh", "-c", "test -c /dev/empty; df -k /dev/shm | tail -1 | awk '{print $2}'") == "8192"
            assert "NoNewPrivs:\t1" in status
        assert engine.exec(name, "sh", "-c", "ls /data | grep -c .") != "0"
    finally:
        run_runtime_steps(context, [ContainerPark("container:web", engine.runtime, name)])
        remove_parked(context)
    assert engine.names() == []
