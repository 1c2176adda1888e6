"""`netctl diff` beside an agent: the agent answers what the command would print, or the command finds out by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import ask, common
from reconciler.cli import main as cli
from reconciler.kernel.run_directory import agent_socket
from reconciler.kernel.run_directory.agent_socket import PROGRAM, Question, read_namespaces, socket_path
from tests.harness.machine import Machine
from tests.harness.netctl import Outcome
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import LAB, LOCAL, write

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

UNUSED = LOCAL.replace("policies:", "  spare: {networks: {}}\npolicies:")
"""With a warning: a container without a network."""
HEAVY = {"pydantic", "yaml", "pyroute2", "reconciler.fleet.fleet", "reconciler.kinds", "reconciler.compile"}


def diff(machine: Machine, *arguments: str | Path, plain: bool) -> Outcome:
    """`netctl diff` as it answers by itself, or as it prints what the agent has answered: then it cannot read anything."""

    def body() -> int:
        os.environ["NO_COLOR"] = "1"
        agent_socket.ACCEPT_TIMEOUT_S = 20.0  # on a busy machine
        if plain:
            ask.ask_for_diff = lambda _: None  # type: ignore[assignment]
        else:
            common.open_job = None  # type: ignore[assignment]
        return cli.main(["diff", *map(str, arguments)])

    return machine.start(body).wait(60)


def ask_agent(machine: Machine, file: Path, **changes: Any) -> str:
    """What the agent answers to a question, changed so, about a file; "" if it does not."""

    def body() -> int:
        agent_socket.ACCEPT_TIMEOUT_S = 20.0
        question = Question(
            file=str(file),
            digest=sha256(file.read_bytes()).hexdigest(),
            json=False,
            verbose=False,
            show_secrets=False,
            has_colour=(False, False),
            docker="",
            program=PROGRAM,
            namespaces=read_namespaces(),
        )
        answer = agent_socket.ask(socket_path("here"), replace(question, **changes))
        print("".join(text for _, text in answer.texts) if answer else "", end="")
        return 0

    return machine.start(body).wait(60).out


def test_the_answer_is_what_the_command_prints(furnished: Machine) -> None:
    """With and without a difference, as text and as JSON, with warnings: the same bytes on both streams, and the same status."""
    file = write(furnished, UNUSED)
    agent = RunningAgent.start(furnished, file).wait_ready()
    for words in ((), ("--json",), ("--verbose",)):
        found = diff(furnished, *words, file, plain=False)
        assert found == diff(furnished, *words, file, plain=True)
        assert found.status == 0
    for _ in range(5):  # then it is contested, and the agent leaves the difference for some seconds
        repairs = agent.state["repairs"]
        furnished.sh("nft flush map inet netctl-here published4")
        agent.wait_repaired(repairs)
    furnished.sh("nft flush map inet netctl-here published4")
    for words in ((), ("--json",)):
        found = diff(furnished, *words, file, plain=False)
        assert "8080" in found.out
        assert found == diff(furnished, *words, file, plain=True)
        assert found.status == 1


def test_colours_are_those_of_the_commands_own_streams(agent: RunningAgent, file: Path) -> None:
    """The agent's streams are no terminal, and a command's may be one."""
    for _ in range(5):
        repairs = agent.state["repairs"]
        agent.machine.sh("nft flush map inet netctl-here published4")
        agent.wait_repaired(repairs)
    agent.machine.sh("nft flush map inet netctl-here published4")
    assert "\x1b[" in ask_agent(agent.machine, file, has_colour=(True, False))
    assert "\x1b[" not in ask_agent(agent.machine, file)


def test_the_answer_is_read_after_the_question(agent: RunningAgent, file: Path) -> None:
    """What differs at the time of the question is in the answer, if the agent has not repaired it before."""
    machine, seen = agent.machine, 0
    for _ in range(4):
        repairs = agent.state["repairs"]
        machine.sh("ip -n here.web address delete 10.44.0.10/24 dev eth0")
        is_seen = "10.44.0.10" in ask_agent(machine, file)
        agent.wait_repaired(repairs)
        seen += is_seen
        assert ask_agent(machine, file).startswith("Nothing to do")
    assert seen, "each time, the agent was faster than 50 ms"


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "0" * 64},
        {"program": "0.1.0 /usr/lib/python3/dist-packages"},
        {"docker": "unix:///run/other.sock"},
        {"namespaces": ()},
        {"namespaces": ((4, 1), (4, 2), (4, 3), (4, 4))},
    ],
    ids=lambda each: next(iter(each)),
)
def test_another_question_is_not_answered(agent: RunningAgent, file: Path, changes: dict[str, Any]) -> None:
    """Another file, another version of netctl, another engine, other namespaces: the agent closes the connection."""
    assert ask_agent(agent.machine, file, **changes) == ""
    assert ask_agent(agent.machine, file).startswith("Nothing to do")


def test_a_command_without_an_answer_finds_out_by_itself(agent: RunningAgent, file: Path) -> None:
    """Paused, stopped, or killed in the middle of an answer: the plan is the same, and a silent agent costs 0.2 s."""
    machine = agent.machine
    machine.netctl("agent", "pause", "10m", file)
    agent.wait_for(lambda it: it.state["paused"])
    assert ask_agent(machine, file) == ""
    machine.netctl("agent", "resume", file)
    agent.wait_for(lambda it: not it.state["paused"] and it.state["in_step"])
    assert ask_agent(machine, file).startswith("Nothing to do")
    agent.running.kill(signal.SIGSTOP)
    assert machine.netctl("diff", file).out.startswith("Nothing to do")
    agent.running.kill(signal.SIGCONT)
    agent.wait_for(lambda _: ask_agent(machine, file).startswith("Nothing to do"))
    machine.run("pkill", "-STOP", "-P", str(agent.state["pid"]))
    asking = machine.start_netctl("diff", file)
    time.sleep(2)  # it has asked, and the agent waits for its worker
    agent.stop(signal.SIGKILL)
    found = asking.wait(60)
    assert (found.status, found.out.partition(":")[0]) == (0, "Nothing to do"), found


def test_a_changed_file_is_planned_by_the_command(agent: RunningAgent, file: Path) -> None:
    """A copy with other content goes the plain way at once; so does a file of another name, if its content is another."""
    other = file.with_name("other.yaml")
    other.write_text(LOCAL.replace("8080:80", "8081:80"))
    assert ask_agent(agent.machine, other) == ""
    found = agent.machine.netctl("diff", other)
    assert (found.status, "8081" in found.out) == (1, True)
    other.write_text(LOCAL)
    assert ask_agent(agent.machine, other).startswith("Nothing to do")


def test_an_agent_of_some_hosts_answers_nothing(furnished: Machine) -> None:
    """It does not know the others, so it has no socket."""
    file = write(furnished, LAB)
    RunningAgent.start(furnished, file, "--host", "alpha", name="shop", host="alpha").wait_ready()
    assert "shop.sock" not in furnished.sh("ls -A /run/netctl/.agent")
    assert furnished.netctl("diff", file).status == 1


def test_only_root_reaches_the_socket(agent: RunningAgent, file: Path) -> None:
    """Another user can neither connect, nor answer in the agent's place."""
    machine = agent.machine

    def connect() -> int:
        os.setgid(65534)
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as one, contextlib.suppress(PermissionError):
            one.connect(str(socket_path("here")))
            return 1
        return 0

    assert machine.start(connect).wait(20).status == 0
    machine.sh("chmod 711 /run/netctl /run/netctl/.agent; chmod 666 /run/netctl/.agent/here.sock")

    def connect_and_ask() -> int:
        os.setgid(65534)
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as one, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            one.settimeout(20)
            one.connect(str(socket_path("here")))
            one.sendall(b"{}\n")
            return len(one.recv(100))
        return 0

    assert machine.start(connect_and_ask).wait(40).status == 0
    machine.sh("chmod 700 /run/netctl /run/netctl/.agent")
    assert ask_agent(machine, file).startswith("Nothing to do")


def test_a_command_that_asks_and_goes_holds_up_nothing(agent: RunningAgent, file: Path) -> None:
    """Connections that say nothing, say nonsense, or do not wait for the answer: the agent repairs, and answers others."""
    machine = agent.machine

    def annoy() -> int:
        held = []
        for data in (b"", b"{}\n", b"[1]\n", b"x" * 200_000, b'{"file": 1}\n') * 3:
            one = socket.socket(socket.AF_UNIX)
            one.settimeout(5)
            with contextlib.suppress(OSError):
                one.connect(str(socket_path("here")))
                one.sendall(data)
            held.append(one)
        time.sleep(5)
        return 0

    annoying = machine.start(annoy)
    repairs = agent.state["repairs"]
    machine.sh("nft flush ruleset")
    agent.wait_repaired(repairs)
    assert ask_agent(machine, file).startswith("Nothing to do")
    assert annoying.wait(60).status == 0


def test_a_command_that_is_answered_imports_little(agent: RunningAgent, file: Path) -> None:
    """It needs no model of the file, no YAML and no netlink: that is most of the time of its start."""
    agent.wait_for(lambda it: ask_agent(it.machine, file))
    program = (
        "import sys; from reconciler.kernel.run_directory import agent_socket; agent_socket.ACCEPT_TIMEOUT_S = 20; "
        f"from reconciler.cli.main import main; status = main(['diff', {str(file)!r}]); "
        f"print(status, sorted({HEAVY!r} & set(sys.modules)))"
    )
    found = agent.machine.start_command(sys.executable, "-c", program).wait(60)
    assert found.out.endswith("0 []\n"), found
