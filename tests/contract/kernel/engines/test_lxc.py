"""What LXC's containers are made of as text, and what a kill in the middle of making one leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.engine import check_containers, engine_of, read_containers, remove_parked, run_runtime_steps
from reconciler.kernel.engines.lxc import unpack
from reconciler.kinds.engine.container import EngineContainer
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.lxc_config import (
    MARK_FILE,
    Mark,
    move_rootfs,
    parse_mark,
    render_command_file,
    render_config,
    render_init,
    render_mark,
    template_words,
)
from reconciler.state.steps.containers import ContainerCreate, ContainerPark
from reconciler.state.steps.step import StepError
from tests.harness.capabilities import require_capability
from tests.harness.engines import Engine, running_lxc

SPEC = ContainerSpec("lxc", "/srv/web", ("sleep", "1000"), (("A", "it's $B"),), ("/srv/my data:/data:ro",), "always")


def create(spec: ContainerSpec = SPEC) -> ContainerCreate:
    return ContainerCreate("container:web", "web", "shop-web", spec)


def test_config() -> None:
    """The network is empty, paths are whole, a command that ends on SIGTERM gets it, spaces in fstab's way."""
    lines = render_config("web", create().spec, "/lxc/shop-web", common=True).splitlines()
    assert lines == [
        "lxc.include = /usr/share/lxc/config/common.conf",
        "lxc.uts.name = web",
        "lxc.rootfs.path = dir:/lxc/shop-web/rootfs",
        "lxc.net =",
        "lxc.net.0.type = empty",
        "lxc.init.cmd = sleep 1000",
        "lxc.signal.halt = SIGTERM",
        "lxc.environment = A=it's $B",
        "lxc.mount.entry = /srv/my\\040data data none bind,ro,create=dir 0 0",
        "lxc.start.auto = 1",
    ]
    template = render_config("web", ContainerSpec("lxc", "busybox"), "/lxc/shop-web", common=True)
    assert template == "lxc.net =\nlxc.net.0.type = empty\n", "the rest is the template's"
    assert "lxc.rootfs.path = dir:/lxc/other/rootfs" in move_rootfs("\n".join(lines), "/lxc/other")


def test_words() -> None:
    """A template's options are lxc-create's; words that LXC would tear apart go by a shell."""
    assert template_words("busybox") == ("busybox",)
    download = ("download", "--", "--dist", "debian", "--release", "bookworm", "--arch", "amd64")
    assert template_words("download:debian/bookworm/amd64") == download
    assert render_init(("sleep", "1000")) == "sleep 1000"
    assert render_init(("sh", "-c", "echo it's; sleep 1")) == "/bin/sh /.netctl-command"
    assert render_command_file(("sh", "-c", "echo it's")) == """exec sh -c 'echo it'"'"'s'\n"""


def test_mark() -> None:
    """A mark is read back as it was written; what is none of netctl's is no mark."""
    mark = Mark("shop", "local", "web", SPEC, complete=False)
    assert parse_mark(render_mark(mark)) == mark
    assert [parse_mark(text) for text in ("", "{}", "[]", '{"topology": "x"}')] == [None] * 4


@pytest.fixture(scope="module")
def lxc() -> Iterator[Engine]:
    require_capability("lxc")
    with running_lxc() as engine:
        yield engine


@pytest.mark.kernel
def test_half_made_and_foreign(lxc: Engine, context: KernelContext, topology: str) -> None:
    """What a kill left half made is as good as parked, is re-created, and goes with the commit; others' containers stay."""
    context = dataclasses.replace(context, engines=(("lxc", lxc.url),))
    half = Path(lxc.url) / f"{topology}-web"
    half.mkdir()
    spec = ContainerSpec("lxc", lxc.image, ("sleep", "1000"))
    (half / MARK_FILE).write_text(render_mark(Mark(topology, "local", "web", spec, complete=False)))
    (info,) = read_containers(context)
    assert info.parked
    want = EngineContainer(netns="container:web", container="web", engine_name=f"{topology}-web", runtime="lxc", spec=spec)
    assert run_runtime_steps(context, want.lower_create())["web"] > 0
    (info,) = read_containers(context)
    assert (info.parked, info.running, info.spec) == (False, True, spec)
    run_runtime_steps(context, want.lower_delete())
    assert [one.parked for one in read_containers(context)] == [True]
    remove_parked(context)
    assert read_containers(context) == ()
    lxc.run("theirs")
    assert engine_of(context, "lxc").read_foreign() == (("theirs", "running"),)
    with pytest.raises(StepError, match="is not one of netctl's, so netctl does not change it"):
        run_runtime_steps(context, [ContainerPark("container:web", "lxc", "theirs")])
    with pytest.raises(HostError, match="an image of LXC's is not on the host: /no/such"):
        check_containers(context, [create(ContainerSpec("lxc", "/no/such"))])
    short = dataclasses.replace(want, spec=ContainerSpec("lxc", lxc.image, ("nosuchprogram",)))
    with pytest.raises(StepError, match=r"lxc-start fails|ended at once"):
        run_runtime_steps(context, short.lower_create())
    run_runtime_steps(context, short.lower_delete())
    remove_parked(context)
    assert lxc.names() == ["theirs"]


def test_an_archive_that_is_none_is_reported_in_the_words_of_tar(tmp_path: Path) -> None:
    """The first thing that tar says, and the command to try by hand."""
    image = tmp_path / "not an archive"
    image.write_text("x")
    with pytest.raises(HostError, match=r"cannot copy .*: tar: This does not look like a tar archive$") as raised:
        unpack(str(image), tmp_path / "rootfs")
    assert f"--file '{image}'" in raised.value.help_text
