"""Control characters of others: they reach no terminal, no log and no script as they are, whatever netctl prints."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.main import VisibleText, main
from reconciler.errors import NetctlError
from reconciler.fleet import fleet, peers
from reconciler.kernel.context import KernelContext
from reconciler.kernel.run_directory import notes
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.process import Process
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.plan.document import CODEC
from reconciler.probes.model import Finding, Probe, Result
from reconciler.render.colour import Palette
from reconciler.render.errors import render_error
from reconciler.render.stream import filter_text
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.foreign import Chain, ForeignListener, ForwardDrop, HostPort
from reconciler.state.host import LinkFacts
from reconciler.state.subject import Subject
from reconciler.state.visible import visible, visible_line
from tests.harness.fakes.liar import FACTS, lie, live
from tests.harness.terminal import run_on_terminal

NASTY = "\x1b[2J\x1b]0;x\x07\x9b31m\x7f\r\u202e\u2066\u2028\x00"
ESC = NASTY.replace("\0", "")
FILE = """\
version: 1
name: liars
hosts:
  beta: {connect: ssh://root@beta, address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24}
containers:
  web: {networks: {front: auto}, ports: ["8080:80"], command: [sleep, "\\e[2J\\u202E"], env: {A: "\\e[2J"}}
"""


def is_tame(text: str) -> bool:
    """Whether a text steers nothing."""
    return all(char.isprintable() or char in "\n\t" for char in text)


@given(st.text())
def test_visible_text_is_printable(text: str) -> None:
    """Whatever the text is; printable text, line breaks and tabs stay as they are."""
    assert is_tame(visible(text))
    assert visible_line(text).isprintable()
    if is_tame(text):
        assert visible(text) == text


@given(st.text() | st.just("\x1b[31mred\x1b[0m\x1b[2J"))
def test_only_colours_pass(text: str) -> None:
    """With colour, netctl's own few sequences pass; without it, none."""
    assert is_tame(filter_text(text, has_colour=False))
    shown = filter_text(text, has_colour=True)
    for code in ("0", "1", "2", "31", "32", "33"):
        shown = shown.replace(f"\x1b[{code}m", "")
    assert is_tame(shown)


def test_what_is_escaped_says_what_it_was() -> None:
    """The escapes are Python's."""
    assert visible("a\x1b[0m\u202eb\n") == "a\\x1b[0m\\u202eb\n"
    assert visible_line("a\nb") == "a\\nb"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs netctl with a liar for its host, on the streams that the program has: all that it prints."""
    monkeypatch.setattr(peers, "read_own_peers", lambda _: {})
    monkeypatch.setattr("reconciler.kernel.run_directory.notes.write_peers", lambda *_: None)

    def run_netctl(answers: dict[str, Any], *words: str) -> tuple[int, str]:
        monkeypatch.setattr(fleet, "start_ssh_worker", lambda _connect, _patience: lie(answers))
        path = tmp_path / "topology.yaml"
        path.write_text(FILE)
        raw = io.BytesIO()
        stream = VisibleText(io.TextIOWrapper(raw, encoding="utf-8", line_buffering=True))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            status = main([*words, str(path)])
        stream.flush()
        return status, raw.getvalue().decode()

    return run_netctl


LINE = ESC.replace("\r", "")
SPEC = ContainerSpec("docker", f"i{ESC}", (ESC,), ((ESC, ESC),), (ESC,))
RECORDS = (
    Bridge(
        netns="",
        name="\x1b[2J\u202e",
        mac="02:00:00:00:00:02",
        mtu=1500,
        group=7,
        alias=f"netctl:liars/bridge/{ESC}\nhost alpha",
    ),
    Veth(
        netns="",
        name="v\x1b[2J",
        peer_netns="container:x",
        peer_name="\x07\x9b",
        mac="02:00:00:00:00:02",
        mtu=1500,
        peer_mtu=1500,
        group=7,
        alias=f"netctl:liars/veth/{ESC}",
    ),
    Sysctl(netns="", key="net.ipv4.conf.all.rp_filter", value=LINE, about=Subject.container(LINE)),
    Process(netns="container:web", container="web", command=(ESC, "a\nb")),
    EngineContainer(netns="container:y", container="y", engine_name="liars-y", runtime="docker", spec=SPEC),
)
NASTY_FACTS = dataclasses.replace(
    FACTS,
    foreign=(
        ForwardDrop(program=f"ufw{ESC}", chain=Chain(family=f"a{ESC}", table=ESC, name=ESC), commands=(f"do {ESC} BRIDGE", ESC)),
        ForeignListener(port=HostPort(protocol="tcp", address=ip_address("0.0.0.0"), port=22), holder=ESC),
    ),
    links=(LinkFacts("\x1b[2J", ESC, "", 1500),),
)


@pytest.mark.parametrize(
    "words",
    [
        ("diff",),
        ("diff", "--json"),
        ("diff", "--commands"),
        ("status",),
        ("status", "--json"),
        ("apply",),
        ("apply", "--verbose"),
        ("apply", "--json"),
        ("destroy",),
        ("destroy", "--verbose"),
        ("destroy", "--json"),
        ("validate",),
        ("validate", "--json"),
    ],
)
def test_nothing_of_a_live_state_steers_a_terminal(run: Callable[..., tuple[int, str]], words: tuple[str, ...]) -> None:
    """Names, aliases, values, commands and labels: none comes out as it is, from no command, in no form."""
    status, shown = run({"read": CODEC.encode(NASTY_FACTS), "plan": live(*RECORDS)}, *words)
    assert status in (0, 1), shown
    assert is_tame(shown), [line for line in shown.split("\n") if not is_tame(line)]
    assert "\nhost alpha" not in shown, "a line break in an alias begins no line"
    if words[0] != "validate" and "--commands" not in words:
        assert "\\x1b" in shown or "\\u001b" in shown
    if "--json" in words:
        json.loads(shown[shown.index("{\n") : shown.rindex("}") + 1])


def test_nothing_of_a_probe_steers_a_terminal(run: Callable[..., tuple[int, str]]) -> None:
    """What a worker says of its probes goes to the terminal in words only."""

    def probe(request: dict[str, Any]) -> Any:
        asked = CODEC.decode(tuple[Probe, ...], request["probes"])
        return CODEC.encode(tuple(Result(each, Finding("wrong", ESC), ESC) for each in asked))

    for more in ((), ("--json",)):
        status, shown = run({"open-listeners": {}, "run-probes": probe}, "verify", *more)
        assert status == 6
        assert is_tame(shown)


@pytest.mark.parametrize("verb", ["hello", "read", "plan", "apply", "check"])
def test_nothing_of_an_error_steers_a_terminal(run: Callable[..., tuple[int, str]], verb: str) -> None:
    """A worker's sentence, its help, and the words of a failure."""
    said = json.dumps({"error": "HostError", "message": ESC, "help": ESC}).encode() + b"\n"
    failed = {"steps_done": 0, "failure": {"ref": {"kind": ESC, "netns": ESC, "name": ESC}, "message": ESC}}
    for answer in (said, failed if verb == "apply" else said):
        status, shown = run({verb: answer}, "apply")
        assert status in (3, 4, 5)
        assert is_tame(shown)


def test_colour_does_not_let_others_through() -> None:
    """On a terminal, too, only the colours are sequences."""
    shown = render_error(NetctlError(f"a{NASTY}b\x1b[31m", NASTY), Palette(enabled=True))
    assert is_tame(shown.replace("\x1b[31m", "").replace("\x1b[0m", "").replace("\x1b[1m", ""))
    assert "\\x1b[31m" in shown


def test_arguments_are_made_visible() -> None:
    """What the user has pasted is shown and not obeyed."""
    shown = run_on_terminal("diff", "/nonexistent\x1b[2J\u202e.yaml", NO_COLOR="")
    assert "\x1b[2J" not in shown
    assert "\\x1b[2J\\u202e" in shown


def test_logs_are_made_visible(tmp_path: Path) -> None:
    """The log that stays on a host is read on a terminal."""
    context = dataclasses.replace(KernelContext("shop", "local"), run_directory=tmp_path)
    notes.write_log(context, f"x{NASTY}")
    assert is_tame((tmp_path / "local" / "shop.log").read_text())


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_the_streams_let_nothing_through(encoding: str) -> None:
    """A place that prints a text as it is forgets nothing: the stream makes it visible, in every encoding."""
    raw = io.BytesIO()
    stream = VisibleText(io.TextIOWrapper(raw, encoding=encoding))
    print(f"a{NASTY}\x1b[31mé\u4e2d\ud800", file=stream, flush=True)
    shown = raw.getvalue().decode(encoding)
    assert is_tame(shown)
    assert shown.endswith("\n")
    assert "\\x1b[31m" in shown


def test_a_bar_may_draw() -> None:
    """What draws on the terminal gets the stream below, and only that does."""
    raw = io.BytesIO()
    stream = VisibleText(io.TextIOWrapper(raw, encoding="utf-8"))
    stream.steering.write("\x1b[2K")
    stream.steering.flush()
    assert raw.getvalue() == b"\x1b[2K"
