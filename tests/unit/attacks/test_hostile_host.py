"""A host on another machine that lies: it ends a command with a sentence that names it, and harms nothing else."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main
from reconciler.errors import HostError, LockedError, NetctlError
from reconciler.fleet import fleet, peers
from reconciler.fleet.session import Session
from reconciler.fleet.target import remote_target
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.flow import OvsFlow
from reconciler.kinds.process import Process
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.plan.document import CODEC
from reconciler.state.record import Record
from reconciler.topology.types import Connect
from reconciler.worker import protocol
from reconciler.worker.protocol import SMALL_MAX_BYTES
from tests.harness.fakes.liar import FACTS, Liar, lie, live

FILE = """\
version: 1
name: liars
hosts:
  beta: {connect: ssh://root@beta, address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24}
containers:
  web: {networks: {front: auto}, ports: ["8080:80"], command: [sleep, infinity]}
"""
TWO = FILE.replace("  beta:", "  alpha: {connect: ssh://root@alpha, address: 192.0.2.11}\n  beta:").replace(
    "web: {", "web: {host: beta, "
)
Lies = dict[str, dict[str, Any]]


@dataclasses.dataclass
class Outcome:
    status: int
    out: str
    err: str
    connected: list[str]
    liars: dict[str, Liar]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs netctl with liars for its hosts on other machines: `run({"beta": {"read": …}}, "diff")`."""
    monkeypatch.setattr(peers, "read_own_peers", lambda _: {})
    monkeypatch.setattr("reconciler.kernel.run_directory.notes.write_peers", lambda *_: None)

    def run_netctl(lies: Lies, *words: str, text: str = FILE) -> Outcome:
        connected: list[str] = []
        liars: dict[str, Liar] = {}

        def start(connect: Connect, _: float) -> Any:
            connected.append(connect.name)
            worker = lie({"hello": {"machine": connect.name, "peers": {}}, **lies.get(connect.name, {})})
            assert isinstance(worker.process, Liar)
            liars[connect.name] = worker.process
            return worker

        monkeypatch.setattr(fleet, "start_ssh_worker", start)
        path = tmp_path / "topology.yaml"
        path.write_text(text)
        status = main([*words, *([] if "--name" in words else [str(path)])])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert "defect in netctl" not in err, err
        return Outcome(status, out, err, connected, liars)

    return run_netctl


def answer(text: str) -> bytes:
    return b'{"answer":' + text.encode() + b"}\n"


WRONG: dict[str, bytes] = {
    "no JSON": b"hello\n",
    "nothing": b"\n",
    "not UTF-8": b'{"answer":"\xff"}\n',
    "lone surrogate": answer('"\\ud800"'),
    "NaN": answer("NaN"),
    "Infinity": answer("-Infinity"),
    "huge number": answer("1" * 5000),
    "too large a number": answer(str(1 << 65)),
    "twice a key": b'{"answer":1,"answer":2}\n',
    "nested": answer("[" * 100_000 + "]" * 100_000),
    "null": answer("null"),
    "text": answer('"x"'),
    "list": answer("[[]]"),
    "truth": answer("true"),
    "empty object": answer("{}"),
    "unknown field": answer('{"exists":true,"machine":"m","peers":{},"more":1}'),
    "wrong types": answer('{"exists":1,"uplink":[],"machine":3,"peers":[],"host":{},"missing":{}}'),
    "a list of lists": b"[1]\n",
    "no answer": b"{}\n",
    "an event": b'{"event":"progress","done":1,"total":2}\n',
    "another event": b'{"event":"reboot"}\n',
    "an unknown error": b'{"error":"Nonsense","message":"x","help":""}\n',
    "an error that lies about the file": b'{"error":"TopologyError","message":"x","help":""}\n',
    "an error that lies about a usage": b'{"error":"UsageError","message":"x","help":""}\n',
    "an error that says all is rolled back": b'{"error":"RolledBackError","message":"x","help":""}\n',
    "an error that is not a text": b'{"error":["HostError"],"message":{},"help":1}\n',
}


@pytest.mark.parametrize("verb", ["hello", "read", "plan"])
@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("command", ["diff", "status"])
def test_what_is_no_answer_ends_with_a_sentence(run: Callable[..., Outcome], verb: str, what: str, command: str) -> None:
    """Whatever stands in place of an answer: exit status 3, never 1 (which means that something differs), and beta is named."""
    done = run({"beta": {verb: WRONG[what]}}, command)
    assert done.status == 3, done.err
    assert "host beta (ssh://root@beta) answered `" + verb in done.err, done.err


ZONED = 'fe80::1%"; flush ruleset #'
"""An address with a zone (RFC 4007), which may be any text."""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("uplink", "a b"),
        ("uplink_mac", '" ; flush ruleset #'),
        ("addresses", ["10.0.0.0.1/8"]),
        ("addresses", [f"{ZONED}/64"]),
        ("foreign", [{"type": "foreign-listener", "port": {"protocol": "tcp", "address": "0.0.0.0", "port": 1 << 16}}]),
        ("foreign", [{"type": "foreign-listener", "port": {"protocol": "tcp", "address": ZONED, "port": 80}}]),
        ("foreign", [{"type": "foreign-route", "destination": 7}]),
        ("foreign", [{"type": "lock"}]),
        ("links", [{"name": "eth0/../x", "kind": "", "mac": "", "mtu": 1}]),
        ("links", [{"name": "eth0", "kind": "", "mac": "", "mtu": 1, "routers": [ZONED]}]),
        ("leases", [{"subnet": "front", "container": "web", "address": "here"}]),
        ("leases", [{"subnet": "front", "container": "web", "address": ZONED}]),
        ("uplink_mtu", -1),
    ],
)
def test_facts_that_cannot_be_are_refused(run: Callable[..., Outcome], name: str, told: Any) -> None:
    """A host's facts go into the plans of other hosts: what no host can have is refused."""
    done = run({"beta": {"read": {**CODEC.encode(FACTS), name: told}}}, "diff")
    assert done.status == 3, done.err
    assert "host beta (ssh://root@beta) answered `read`" in done.err


def test_one_liar_among_several_is_named_and_no_other(run: Callable[..., Outcome]) -> None:
    """Of two hosts the one that lies is named."""
    done = run({"beta": {"plan": WRONG["list"]}}, "diff", text=TWO)
    assert done.status == 3
    assert "beta: host beta (ssh://root@beta) answered `plan`" in done.err
    assert "alpha" not in done.err


def endless(part: bytes) -> Iterator[bytes]:
    yield b'{"answer":"'
    yield from itertools.repeat(part)


def test_a_line_without_end_takes_no_memory(run: Callable[..., Outcome]) -> None:
    """A line that never ends is read up to the bound of its verb, and the connection is closed."""
    done = run({"beta": {"hello": lambda _: endless(b"x" * 65536)}}, "diff")
    assert done.status == 3
    assert "answered `hello` with more than 1 MiB" in done.err
    assert done.liars["beta"].sent_bytes < 2 * SMALL_MAX_BYTES


def test_a_bomb_of_brackets_is_not_unfolded(run: Callable[..., Outcome]) -> None:
    """Millions of empty lists would take fifty times their size."""
    done = run({"beta": {"read": answer("[" + "[]," * 3_000_000 + "[]]")}}, "diff")
    assert done.status == 3
    assert "objects and lists" in done.err


def progress(numbers: Iterator[int]) -> Iterator[bytes]:
    return (b'{"event":"progress","done":%d,"total":9}\n' % number for number in numbers)


@pytest.mark.parametrize("numbers", [itertools.repeat(1), itertools.count(0, -1), itertools.repeat(10**6)])
def test_progress_that_does_not_rise_is_refused(run: Callable[..., Outcome], numbers: Iterator[int]) -> None:
    """Events without end would hold up an apply without end: each must be further than the one before."""
    done = run({"beta": {"apply": lambda _: progress(numbers)}}, "apply", "--quiet")
    assert done.status in (4, 5), done.err
    assert "host beta (ssh://root@beta) answered `apply` with a message that is not an answer" in done.err


def test_a_host_that_says_nothing_is_given_up(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that answers ssh and nothing else is waited for as long as its verb may take."""
    monkeypatch.setattr(protocol.Read, "timeout_s", 0.2)
    done = run({"beta": {"read": b""}}, "diff")
    assert done.status == 3
    assert "the connection to beta was lost: no answer to `read` within 0 s" in done.err


def test_a_second_interrupt_ends_the_wait(run: Callable[..., Outcome]) -> None:
    """A host that does not answer the wish to stop is left to its own rollback when the user asks again."""
    interrupts = [threading.Timer(after_s, os.kill, [os.getpid(), signal.SIGINT]) for after_s in (0.1, 0.6)]
    begun: list[float] = []

    def be_silent(_: object) -> bytes:
        if not begun:
            begun.append(time.monotonic())
            for each in interrupts:
                each.start()
        return b""

    done = run({"beta": {"apply": be_silent}}, "apply", "--quiet")
    assert 0.6 <= time.monotonic() - begun[0] < 20, done.err
    assert done.status in (4, 5), done.err
    assert "stopped by the user" in done.err


@pytest.mark.parametrize(("name", "cls"), [("HostError", HostError), ("LockedError", LockedError), ("NetctlError", NetctlError)])
def test_an_error_of_a_worker_is_its_own_word(run: Callable[..., Outcome], name: str, cls: type[NetctlError]) -> None:
    """What a worker may raise keeps its class; whose word it is stands before it, and it is cut."""
    message = json.dumps({"error": name, "message": "x" * 100_000, "help": ""}).encode() + b"\n"
    done = run({"beta": {"read": message}}, "destroy")
    assert done.status == cls.exit_status
    assert done.err.startswith("error: beta: xxx")
    assert len(done.err) < 6000


# --- the script -------------------------------------------------------------------------------------------------------


def veth(name: str = "v-liars-x", peer: str = "eth0", alias: str = "") -> Veth:
    return Veth(
        netns="",
        name=name,
        peer_netns="container:x",
        peer_name=peer,
        mac="02:00:00:00:00:02",
        mtu=1500,
        peer_mtu=1500,
        group=7,
        alias=alias,
    )


MARKER = "PWNED"
NASTY = (
    f"$(>{MARKER})",
    f"`>{MARKER}`",
    f"';>{MARKER};'",
    f'";>{MARKER};"',
    f"|>{MARKER}",
    f"&>{MARKER}",
    f"\x1b]0;>{MARKER}",
    "THERE",
    "EOF",
    "-x",
    "--",
    "#",
)


def run_script(script: str, folder: Path) -> None:
    """Run a script with commands that do nothing; `ssh` is a shell of that sort, too."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name in (
        "ip",
        "nft",
        "sysctl",
        "bridge",
        "conntrack",
        "nsenter",
        "setsid",
        "grep",
        "rm",
        "mkdir",
        "rmdir",
        "xargs",
        "cut",
        "awk",
    ):
        (tools / name).write_text("#!/bin/sh\nexit 0\n")
        (tools / name).chmod(0o755)
    (tools / "ssh").write_text("#!/bin/sh\nexec /bin/sh -s\n")
    (tools / "ssh").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh"], input=script, text=True, cwd=folder, env={"PATH": str(tools)}, timeout=30, capture_output=True, check=False
    )
    assert "not found" not in done.stderr, done.stderr


@pytest.mark.parametrize("name", NASTY)
def test_a_name_in_the_script_is_a_word(run: Callable[..., Outcome], tmp_path: Path, name: str) -> None:
    """A link may be called like a command or the end of a here-document: `sh` runs nothing of it, and no terminal is steered."""
    name = name[:15]
    alias = f"netctl:x\nTHERE\n>{MARKER}\n"
    bridge = Bridge(netns="", name=name, mac="02:00:00:00:00:02", mtu=1500, group=7, alias=alias)
    done = run(
        {"beta": {"plan": live(bridge, veth(f"v{name}"[:15], name, f"\x1b]0;x\x07\nEOF\n>{MARKER}"))}}, "diff", "--commands"
    )
    assert done.status == 1, done.err
    assert all(char.isprintable() or char in "\n\t" for char in done.out)
    run_script(done.out, tmp_path)
    assert not list(tmp_path.glob(f"*{MARKER}*"))


def flow(text: str) -> OvsFlow:
    return OvsFlow(netns="", topology="liars", bridge="b", port="", table=0, priority=1, match=text, actions="drop")


@pytest.mark.parametrize(
    "record",
    [
        flow(f"x\nTHERE\n>{MARKER}\n"),
        veth("a b"),
        veth("a\nb"),
        veth("x" * 16),
        veth("a/../../b"),
        Sysctl(netns="", key=f"net.ipv4.x\n>{MARKER}", value="0", remember=True),
        Sysctl(netns="", key="net.ipv4/../../kernel/x", value="0", remember=True),
        Process(netns=f"container:x\n>{MARKER}", container="x", command=("true",)),
        Process(netns="container:x", container=f"../x;>{MARKER}", command=("true",)),
        dataclasses.replace(veth(), peer_netns="container:../../etc"),
    ],
)
def test_a_record_that_cannot_be_is_refused(run: Callable[..., Outcome], record: Record) -> None:
    """No step is made of a record whose texts are not in the form of its kind."""
    done = run({"beta": {"plan": live(record)}}, "diff", "--commands")
    assert done.status == 3, done.out
    assert done.out == ""
    assert "host beta (ssh://root@beta) answered `plan` with a record of the kind" in done.err


def test_steps_of_a_host_are_not_taken(run: Callable[..., Outcome]) -> None:
    """A plan with steps, as it once was sent, is none: nothing that a host writes becomes a line of the script."""
    step = {"step": "nft-command", "netns": "", "text": f"x\nEOF\n>{MARKER}\nTHERE\n>{MARKER}\n"}
    batch = {"backend": "nft", "netns": "", "steps": [step], "refs": [{"kind": "x", "netns": "", "name": "x"}]}
    told = {"host": "beta", "fingerprint": "0" * 64, "steps": 1, "changes": [], "missing": [], "make": [batch]}
    done = run({"beta": {"plan": told}}, "diff", "--commands")
    assert done.status == 3
    assert "with LivePlan with a field that it does not have" in done.err
    assert MARKER not in done.out


def test_a_plan_for_what_was_not_asked_is_refused(run: Callable[..., Outcome]) -> None:
    """A host names what it lacks; what is to be made is the controller's own record."""
    missing = [["netns", "container:evil", "namespace"]]
    told = {"host": "beta", "fingerprint": "", "steps": 1, "changes": [], "missing": missing}
    done = run({"beta": {"plan": told}}, "diff")
    assert done.status == 3
    assert "a plan for what was not asked about" in done.err


# --- peers ------------------------------------------------------------------------------------------------------------

EVIL = {
    "gamma": "ssh://root@-oProxyCommand=touch${IFS}x",
    "delta": "ssh://root@delta",
    "../../x": "ssh://root@epsilon",
    "zeta": "lab",
}
HELLO = {"hello": {"machine": "b", "peers": EVIL}}


@pytest.mark.parametrize(
    "words", [("diff",), ("status",), ("apply",), ("destroy",), ("destroy", "--name", "liars", "--host", "ssh://root@beta")]
)
def test_no_host_chooses_where_ssh_goes(run: Callable[..., Outcome], words: tuple[str, ...]) -> None:
    """What only another machine remembers is named, with the command that goes there, and not gone to."""
    done = run({"beta": HELLO}, *words)
    assert done.status in (0, 1), done.err
    assert set(done.connected) == {"beta"}
    assert "ssh://root@delta" in done.err
    if "--host" not in words:
        assert "host beta says that liars is also on delta (ssh://root@delta)" in done.err
        assert "netctl destroy --name liars --host ssh://root@delta" in done.err
        assert "host beta remembers an invalid destination, which is ignored: 'ssh://root@-oProxyCommand" in done.err


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_the_user_may_say_yes(run: Callable[..., Outcome], command: str) -> None:
    """With --yes the machines that can be reached are gone to, and those only."""
    done = run({"beta": HELLO}, command, "--yes")
    assert done.status == 0, done.err
    assert set(done.connected) == {"beta", "delta"}


@pytest.mark.parametrize(("said", "goes"), [("y\n", True), ("yes\n", True), ("\n", False), ("n\n", False), ("", False)])
def test_on_a_terminal_the_user_is_asked(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, said: str, goes: bool
) -> None:
    """Before anything is done there: no answer is no."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(said))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    done = run({"beta": HELLO}, "destroy", "--quiet")
    assert "Connect there by ssh, and remove it? [y/N]" in done.err
    assert ("delta" in done.connected) is goes


def test_what_this_machine_remembers_is_not_asked(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where this one has been before is gone to at once; that a host says so too changes nothing."""
    monkeypatch.setattr(peers, "read_own_peers", lambda _: {"delta": "ssh://root@delta"})
    done = run({"beta": HELLO}, "apply")
    assert done.status == 0, done.err
    assert "delta" in done.connected
    assert "says that" not in done.err


def test_a_host_with_a_thousand_peers_has_none(run: Callable[..., Outcome]) -> None:
    """It is one line, not a thousand."""
    many = {f"h{number}": f"ssh://root@h{number}" for number in range(1000)}
    done = run({"beta": {"hello": {"machine": "b", "peers": many}}}, "destroy", "--yes")
    assert done.status == 0, done.err
    assert set(done.connected) == {"beta"}
    assert done.err.count("\n") < 10


def test_a_host_makes_no_path(tmp_path: Path) -> None:
    """The log of a host that is called by its destination is a file of the usual directory."""
    session = Session(remote_target("ssh://root@x/../../etc", "liars", "ssh://root@x"))
    assert session.log.parent == Path("/run/netctl")
    assert session.log.name == "liars.worker.ssh___root_x_.._.._etc.log"


# --- probes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [[], [{"probe": {}, "finding": {"outcome": "answered"}}], {}, [1]])
def test_results_that_were_not_asked_for_are_refused(run: Callable[..., Outcome], told: Any) -> None:
    """A result is that of a probe which was asked, in order, one for each."""
    done = run({"beta": {"open-listeners": {}, "run-probes": told}}, "verify")
    assert done.status == 3, done.err
    assert "host beta (ssh://root@beta) answered `run-probes`" in done.err


def test_a_liar_does_not_hold_up_the_end(run: Callable[..., Outcome]) -> None:
    """A connection that is refused is closed at once, not when a timeout has ended."""
    begun = time.monotonic()
    run({"beta": {"read": WRONG["text"]}}, "diff")
    assert time.monotonic() - begun < 10
