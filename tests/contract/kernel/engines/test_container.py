"""Containers on a real dockerd: made without a network, started, parked, brought back, removed; others' left alone."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.docker_connection import advise
from reconciler.kernel.engines.engine import check_containers, engine_of, read_containers, remove_parked, run_runtime_steps
from reconciler.kinds.engine.container import EngineContainer
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.naming import Alias, group_of
from reconciler.state.record import Record
from reconciler.state.snapshot import ContainerInfo, LinkInfo, NamespaceInfo, Snapshot
from reconciler.state.spec_label import parse_spec, render_spec
from reconciler.state.steps.containers import ContainerPark, ContainerStart, ContainerStop
from reconciler.state.steps.step import StepError
from tests.harness.dockerd import Dockerd
from tests.harness.full_spec import FULL, STAYS

pytestmark = pytest.mark.docker

SPEC = ContainerSpec("docker", "busybox:latest", STAYS, (("COLOUR", "blue"),), ("/usr/share:/data:ro",), "on-failure:3")


@pytest.fixture
def docker_context(context: KernelContext, dockerd: Dockerd) -> KernelContext:
    """The context, with the daemon's socket."""
    return dataclasses.replace(context, engines=(("docker", dockerd.url),))


def desired(topology: str, name: str = "web", spec: ContainerSpec = SPEC) -> EngineContainer:
    """What `compile` would ask for."""
    return EngineContainer(
        netns=f"container:{name}", container=name, engine_name=f"{topology}-{name}", runtime="docker", spec=spec
    )


def recognised(context: KernelContext) -> dict[str, EngineContainer]:
    """The topology's containers, as records by name."""
    found = EngineContainer.recognise(Snapshot(context.topology, {}, containers=read_containers(context)))
    return {record.container: record for record in found}


def carry_out(context: KernelContext, *records: Record) -> dict[str, int]:
    """Run the steps that make the records."""
    return run_runtime_steps(context, [step for record in records for step in record.lower_create()])


def test_create_makes_what_the_spec_says(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """A container is made without a network, with its command, variables, volumes, restart policy and labels, and runs."""
    want = desired(topology)
    pids = carry_out(docker_context, want)
    assert recognised(docker_context) == {"web": want}
    assert Path(f"/proc/{pids['web']}/ns/net").exists()
    assert Path(f"/proc/{pids['web']}/net/dev").read_text().count(":") == 1, "nothing but lo"
    form = (
        "{{.HostConfig.NetworkMode}} {{.Config.Cmd}} {{.Config.Env}} {{.HostConfig.Binds}} {{.HostConfig.RestartPolicy}}"
        ' {{index .Config.Labels "netctl.topology"}} {{index .Config.Labels "netctl.name"}}'
    )
    shown = dockerd.docker("inspect", "--format", form, want.engine_name)
    for part in ("none [sh -c trap", "COLOUR=blue", "/usr/share:/data:ro", "{on-failure 3}", f"{topology} web"):
        assert part in shown


def test_a_label_of_an_earlier_version(
    docker_context: KernelContext, dockerd: Dockerd, topology: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container whose label has no version is as it should be, and one whose label has an unknown key is re-created."""
    want = desired(topology)
    unknown: dict[str, int]
    for unknown in ({}, {"cpu": 2}):
        label = json.dumps({**json.loads(render_spec(SPEC)), **unknown})
        monkeypatch.setattr("reconciler.state.spec_label.render_spec", lambda _, label=label: label)
        carry_out(docker_context, want)
        assert dockerd.docker("inspect", "--format", '{{index .Config.Labels "netctl.spec"}}', want.engine_name) == label
        live = recognised(docker_context)["web"]
        assert (live == want, want.must_recreate(live)) == (not unknown, bool(unknown))
        dockerd.docker("rm", "--force", want.engine_name)


def test_command_left_out_is_the_images(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """Without a command the image's own runs."""
    carry_out(docker_context, desired(topology, spec=ContainerSpec("docker", "busybox:latest")))
    assert dockerd.docker("inspect", "--format", "{{.Config.Cmd}}", f"{topology}-web") == "[sleep 1000]"


def test_stopped_container_is_started_in_place(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """An owned container that another program stopped is drift, and its update is a start of the same container."""
    want = desired(topology)
    carry_out(docker_context, want)
    identity = dockerd.docker("inspect", "--format", "{{.Id}}", want.engine_name)
    dockerd.docker("stop", "--time", "0", want.engine_name)
    live = recognised(docker_context)["web"]
    assert not live.running
    assert live != want
    assert not want.must_recreate(live)
    assert want.lower_update(live) == (ContainerStart("container:web", "docker", want.engine_name),)
    assert run_runtime_steps(docker_context, want.lower_update(live))["web"] > 0
    assert recognised(docker_context)["web"] == want
    assert dockerd.docker("inspect", "--format", "{{.Id}}", want.engine_name) == identity
    # And the way back, for a rollback.
    assert live.lower_update(want) == (ContainerStop("container:web", "docker", want.engine_name),)
    assert run_runtime_steps(docker_context, live.lower_update(want)) == {}
    assert recognised(docker_context)["web"] == live


def test_changed_spec_is_undone_by_the_parked_twin(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """A changed spec parks the old container and makes another; undoing that brings the very same one back."""
    old = desired(topology)
    carry_out(docker_context, old)
    identity = dockerd.docker("inspect", "--format", "{{.Id}}", old.engine_name)
    before = recognised(docker_context)["web"]
    assert before.spec == SPEC, "the label tells it"
    new = desired(topology, spec=dataclasses.replace(SPEC, command=(*STAYS, "new")))
    assert new.must_recreate(before)
    run_runtime_steps(docker_context, before.lower_delete() + new.lower_create())
    assert recognised(docker_context)["web"] == new
    assert [info.parked for info in read_containers(docker_context)].count(True) == 1
    run_runtime_steps(docker_context, new.lower_delete() + before.lower_create())
    assert recognised(docker_context)["web"] == before == old
    assert dockerd.docker("inspect", "--format", "{{.Id}}", old.engine_name) == identity
    remove_parked(docker_context)
    assert dockerd.docker("ps", "--all", "--quiet", "--no-trunc") == identity


def test_parked_is_not_recognised_and_commit_removes_it(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """A parked container frees its name, counts as gone, and nothing is left of it after the commit."""
    carry_out(docker_context, desired(topology))
    run_runtime_steps(docker_context, [ContainerPark("container:web", "docker", f"{topology}-web")])
    assert recognised(docker_context) == {}
    remove_parked(docker_context)
    assert dockerd.docker("ps", "--all", "--quiet") == ""
    remove_parked(docker_context)


def test_what_is_brought_back_without_a_twin_is_recreated(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """A record that was read knows what its container was made from, so it can come back when the parked one is gone."""
    carry_out(docker_context, desired(topology))
    before = recognised(docker_context)["web"]
    dockerd.remove_all()
    carry_out(docker_context, before)
    assert recognised(docker_context)["web"] == before


def test_many_are_made_side_by_side(docker_context: KernelContext, topology: str) -> None:
    """Steps of different containers run at the same time, and each one's first process is reported."""
    wanted = [desired(topology, f"web-{number}") for number in range(6)]
    pids = carry_out(docker_context, *wanted)
    assert sorted(pids) == [record.container for record in wanted]
    assert recognised(docker_context) == {record.container: record for record in wanted}


def test_another_hosts_containers_are_not_ours(docker_context: KernelContext, topology: str) -> None:
    """Lab hosts share an engine: each sees its own containers only, and the commit of one leaves the other's parked ones."""
    alpha = dataclasses.replace(docker_context, host_key=f"{topology}.lab.alpha")
    beta = dataclasses.replace(docker_context, host_key=f"{topology}.lab.beta")
    want = desired(topology)
    carry_out(alpha, want)
    assert recognised(beta) == {}
    check_containers(beta, want.lower_create())  # it may move from one to the other in one apply
    with pytest.raises(StepError, match="is not one of netctl's"):
        run_runtime_steps(beta, want.lower_delete())
    run_runtime_steps(alpha, want.lower_delete())
    carry_out(beta, want)
    run_runtime_steps(beta, want.lower_delete())
    remove_parked(beta)
    carry_out(alpha, want)
    assert recognised(alpha) == {"web": want}


def test_name_that_is_taken(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """A foreign container is reported as foreign; no step touches it, whatever its name."""
    want = desired(topology)
    dockerd.docker("run", "--detach", "--name", want.engine_name, "busybox:latest")
    assert engine_of(docker_context, "docker").read_foreign() == ((want.engine_name, "running"),)
    with pytest.raises(StepError, match="already in use"):
        carry_out(docker_context, want)
    for step in (ContainerPark, ContainerStop):
        with pytest.raises(StepError, match="is not one of netctl's, so netctl does not change it"):
            run_runtime_steps(docker_context, [step("container:web", "docker", want.engine_name)])
    assert dockerd.docker("ps", "--format", "{{.Names}}") == want.engine_name


def test_image_that_is_missing(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """Missing images are all named before anything is touched, with the command that fetches them."""
    wanted = [desired(topology, name, ContainerSpec("docker", image)) for name, image in (("a", "nosuch:1"), ("b", "x/nor:2"))]
    with pytest.raises(HostError, match="2 images are not on the host: nosuch:1, x/nor:2") as caught:
        check_containers(docker_context, [step for record in wanted for step in record.lower_create()])
    assert caught.value.help_text == "docker pull nosuch:1; docker pull x/nor:2"
    check_containers(docker_context, desired(topology).lower_create())
    assert dockerd.docker("ps", "--all", "--quiet") == ""


def test_command_that_cannot_start(docker_context: KernelContext, topology: str) -> None:
    """A command that is not in the image, and one that ends at once, are sentences with the engine's own words."""
    with pytest.raises(StepError, match=r"the engine rejects it: .*nosuchprogram.*image has no such program: look at `command`"):
        carry_out(docker_context, desired(topology, spec=ContainerSpec("docker", "busybox:latest", ("nosuchprogram",))))
    short = desired(topology, "short", ContainerSpec("docker", "busybox:latest", ("true",)))

    def start_until_it_is_seen_dead() -> None:
        carry_out(docker_context, short)
        for _ in range(100):  # it may be seen alive at first, for some milliseconds
            run_runtime_steps(docker_context, [ContainerStart("container:short", "docker", short.engine_name)])

    with pytest.raises(StepError, match=rf"{topology}-short ended at once, with status 0 .*docker logs"):
        start_until_it_is_seen_dead()
    assert {name: record.running for name, record in recognised(docker_context).items()} == {"web": False, "short": False}


@pytest.mark.parametrize(
    ("runtime", "words", "help_text"),
    [
        (
            "podman",
            "crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2: OCI runtime error",
            "[engine]",
        ),
        (
            "docker",
            "failed to create shim task: OCI runtime create failed: runc did not terminate: signal: killed",
            "default-runtime",
        ),
        ("podman", "crun: executable file `x` not found in $PATH: No such file or directory: OCI runtime error", "`command`"),
        ("podman", "container-init binary not found on the host: stat /usr/libexec/podman/catatonit", "catatonit"),
        ("docker", f"task {'c8' * 32}: already exists", "docker rm --force NAME"),
        ("docker", "Conflict. The container name is already in use", ""),
    ],
)
def test_program_that_starts_containers_fails(runtime: str, words: str, help_text: str) -> None:
    """What Docker and Podman pass on of it is reported with what to do: choose another, or repair the command."""
    assert help_text in advise(runtime, words)
    assert bool(advise(runtime, words)) is bool(help_text)


def test_daemon_that_is_down(context: KernelContext, topology: str) -> None:
    """Without a daemon nothing is there, and that is a fault only where the file needs it; a stale socket is the same."""
    assert read_containers(context) == ()
    remove_parked(context)
    with pytest.raises(HostError, match=r"dockerd is not running, or listens elsewhere: .*there is no such socket") as caught:
        read_containers(context, {"docker": {}})
    assert "systemctl start docker" in caught.value.help_text
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(context.engine_url("docker").removeprefix("unix://"))
    assert read_containers(context) == ()
    with pytest.raises(HostError, match="Connection refused"):
        check_containers(context, desired(topology).lower_create())
    elsewhere = dataclasses.replace(context, engines=(("docker", "tcp://192.0.2.1:2375"),))
    assert read_containers(elsewhere) == ()
    with pytest.raises(HostError, match="netctl reaches an engine by a unix socket"):
        read_containers(elsewhere, {"docker": {}})
    with pytest.raises(StepError, match="no engine serves `runtime: rkt`"):
        carry_out(context, desired(topology, spec=dataclasses.replace(SPEC, runtime="rkt")))


def test_engine_that_is_not_needed_is_asked_one_plain_question(
    docker_context: KernelContext, dockerd: Dockerd, topology: str
) -> None:
    """Beside others' containers, a topology without any imports no package; its own are found also without the file."""
    dockerd.docker("run", "--detach", "--name", "theirs", "busybox:latest")
    script = f"""
import sys
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.engine import read_containers, remove_parked
context = KernelContext({topology!r}, "local", engines={docker_context.engines!r})
found = read_containers(context)
remove_parked(context)
print([info.container for info in found], "docker" in sys.modules)
"""
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[] False\n"
    carry_out(docker_context, desired(topology))
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "['web'] True\n"


def test_existing_one_is_recognised_when_wired(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """An existing container is ours to the extent that it is wired, and no change to it has a step."""
    dockerd.docker("run", "--detach", "--network", "none", "--name", "theirs", "busybox:latest")
    (info,) = read_containers(docker_context, {"docker": {"web": "theirs"}})
    assert info == ContainerInfo("docker", "web", "theirs", None, True, info.pid, existing=True)
    assert info.pid == int(dockerd.docker("inspect", "--format", "{{.State.Pid}}", "theirs"))
    assert list(EngineContainer.recognise(Snapshot(topology, {}, containers=(info,)))) == []
    alias = str(Alias(topology, "veth", "web", "front"))
    link = LinkInfo(7, "v-web", "veth", "02:00:00:00:00:01", 1500, group_of(topology), up=True, alias=alias)
    wired = Snapshot(topology, {"": NamespaceInfo({7: link})}, containers=(info,))
    (record,) = EngineContainer.recognise(wired)
    assert record == EngineContainer(
        netns="container:web", container="web", engine_name="theirs", runtime="docker", existing=True
    )
    stopped = dataclasses.replace(record, running=False)
    assert record.lower_create() == record.lower_delete() == record.lower_update(stopped) == ()


def test_restart_changes_the_process_and_nothing_else(docker_context: KernelContext, dockerd: Dockerd, topology: str) -> None:
    """Invariant 9, the engine's side: after a restart the container is as it should be, under another process."""
    want = desired(topology)
    before = carry_out(docker_context, want)["web"]
    dockerd.docker("restart", "--time", "0", want.engine_name)
    (info,) = read_containers(docker_context)
    assert info.pid != before
    assert recognised(docker_context) == {"web": want}


def test_label_has_every_field() -> None:
    """Whatever an engine is given at creation re-creates the container when it changes."""
    full = dataclasses.replace(FULL, privileged=True)
    others: dict[str, Any] = {"runtime": "podman", "image": "busybox:1"}
    changed = [
        dataclasses.replace(full, **{each.name: others.get(each.name, each.default)})
        for each in dataclasses.fields(ContainerSpec)
    ]
    assert len({render_spec(spec) for spec in (full, *changed)}) == len(changed) + 1
    assert [parse_spec(render_spec(spec)) for spec in changed] == changed
    assert [parse_spec(text) for text in ("", "{}", "[1]", "0123456789abcdef")] == [None] * 4
