"""What every command has in common: exit statuses, errors, help, pipes and terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli import main as main_module
from reconciler.errors import HostError, LeftoverError, LockedError, NetctlError, RolledBackError, UsageError, VerificationError
from tests.harness.netctl import exec_netctl
from tests.harness.terminal import run_on_terminal

BROKEN = "version: 1\nname: 12\nhosts: {a: {connect: lab, adress: 192.0.2.1}}\n"
GOOD = "version: 1\nname: t-none\nhosts: {alpha: {connect: lab, address: 192.0.2.11}}\nsubnets: {}\ncontainers: {}\n"
COMMANDS = tuple(command.name for command in main_module.COMMANDS)

HEAVY = {"pydantic", "yaml", "pyroute2", "docker", "rich", "nftables", "asyncio", "subprocess", "socket", "ctypes", "json"}
HEAVY |= {"dataclasses", "pathlib"}


def replace_commands(monkeypatch: pytest.MonkeyPatch, run: Callable[[Namespace], int]) -> None:
    """Let every command run this."""
    monkeypatch.setattr(main_module, "COMMANDS", tuple(command._replace(run=run) for command in main_module.COMMANDS))


def write(folder: Path, text: str) -> Path:
    path = folder / "topology.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("arguments", [("destroy", "--name", ""), ("destroy", "--host", ""), ("exec", "--host", "", "true")])
def test_an_empty_name_is_not_everything(arguments: tuple[str, ...]) -> None:
    """What a shell makes of a variable that is not set is refused: `destroy` would take all of the file that it finds."""
    done = exec_netctl(*arguments)
    assert done.status == 2
    assert "the name is empty" in done.err


def test_a_file_may_come_through_a_pipe(tmp_path: Path) -> None:
    """It can be read only once, by whichever command."""
    text = write(tmp_path, GOOD).read_text()
    command = [sys.executable, "-m", "reconciler", "validate", "/dev/stdin"]
    assert subprocess.run(command, input=text, text=True, capture_output=True, check=False).returncode == 0
    for name in ("diff", "status"):
        command = [sys.executable, "-m", "reconciler", name, "/dev/stdin"]
        assert "is empty" not in subprocess.run(command, input=text, text=True, capture_output=True, check=False).stderr


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), *((name, "--help") for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """Help answers at once: it loads the parser, and none of what the commands need."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "reconciler", *arguments], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY}
    own = {name.rstrip("_") for name in loaded if name.startswith("reconciler")}
    commands = {f"reconciler.cli.{name}" for name in (*COMMANDS, "main", "parser", "words")}
    assert own <= {"reconciler", "reconciler.cli", "reconciler.errors", "reconciler.topology", *commands}


def test_validate_needs_no_kernel_libraries(tmp_path: Path) -> None:
    """Checking a file loads the YAML and model libraries, and nothing that speaks to a host."""
    path = write(tmp_path, GOOD)
    command = [sys.executable, "-X", "importtime", "-m", "reconciler", "validate", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"pyroute2", "docker", "rich", "nftables"}


def test_each_command_has_a_module_of_its_name() -> None:
    """A file in `cli` that states a command is in the table, and each command of the table runs what its own file says.

    The file of a command whose name is a keyword of Python ends in `_`.
    """
    files = Path(main_module.__file__).parent.glob("*.py")
    modules = {file.stem.rstrip("_") for file in files if "COMMAND = Command(" in file.read_text()}
    assert sorted(modules) == sorted(COMMANDS)
    assert {command.name: command.run.__module__.rstrip("_") for command in main_module.COMMANDS} == {
        name: f"reconciler.cli.{name}" for name in COMMANDS
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples(name: str) -> None:
    """The help of every command shows how it is used."""
    done = exec_netctl(name, "--help")
    assert done.status == 0
    assert f"netctl {name}" in done.out
    assert "examples:" in done.out
    assert "&&" not in done.out, "diff and status end with 1 where there is something to do: what follows would never run"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("aply",), "did you mean `netctl apply`?"),
        (("frobnicate",), "the commands are init, import, apply"),
        ((), "COMMAND"),
        (("apply", "--jsn"), "did you mean --json?"),
        (("validate", "--host"), "`netctl validate --help` shows"),
        (("apply", "a.yaml", "b.yaml"), "'b.yaml'"),
        (("destroy", "--name", "shop", "t.yaml"), "exclude each other"),
        (("destroy", "--name", "Shop/../x"), "DNS label"),
        (("status", "--", "x"), "nothing after `--`"),
        (("exec",), "needs a container"),
        (("exec", "web"), "needs a command"),
        (("validate", "/no/such/file.yaml"), "no file"),
        (("apply", "--plan", "/no/such/plan.json"), "cannot read"),
    ],
)
def test_wrong_usage_is_2_and_helps(arguments: tuple[str, ...], said: str) -> None:
    """What the command line may not say is refused with status 2, on standard error, with what to write instead."""
    done = exec_netctl(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert said in done.err


def test_refusals_are_json_for_programs(tmp_path: Path) -> None:
    """With --json, standard output has the error, its help and its status, whatever refuses; text stays on standard error."""
    path = write(tmp_path, BROKEN)
    schema = json.loads(Path("schemas/error.schema.json").read_text())
    for words in (("diff", "--json", "--commands"), ("status", "--json", path), ("ls", "-o", "json", path), ("aply", "--json")):
        done = exec_netctl(*words)
        told = json.loads(done.out)
        assert done.err.count("error: ") >= 1
        assert set(told["error"]) >= set(schema["$defs"]["ErrorReport"]["required"])
        assert told["error"]["exit_status"] == done.status == 2
    told = json.loads(exec_netctl("diff", "--json", path).out)["error"]
    assert {(fault["line"], fault["column"]) for fault in told["faults"]} >= {(2, 7), (3, 27)}
    assert exec_netctl("exec", "-f", path, "web", "ip", "--json").out == "", "--json belongs to the other program"


def test_faults_of_a_file_are_2(tmp_path: Path) -> None:
    """Every fault is reported with its place; with --json, as a list on standard output."""
    path = write(tmp_path, BROKEN)
    done = exec_netctl("validate", path)
    assert done.status == 2
    assert f"{path}:2:7: error:" in done.err
    assert f"{path}:3:27: error:" in done.err
    told = json.loads(exec_netctl("validate", "--json", path).out)
    assert told["valid"] is False
    assert {(fault["line"], fault["column"]) for fault in told["faults"]} >= {(2, 7), (3, 27)}
    for command in ("diff", "apply", "status", "verify", "destroy"):
        assert exec_netctl(command, path).status == 2


def test_what_shows_without_a_host_is_reported_by_validate(tmp_path: Path) -> None:
    """Lab hosts that routes cannot join: live state has no part in that."""
    text = """
version: 1
name: shop
hosts: {a: {connect: lab, address: 192.0.2.11}, b: {connect: lab, address: 198.51.100.11}}
subnets: {far: {cidr: 10.44.0.0/24, overlay: routes, hosts: [a, b]}}
"""
    done = exec_netctl("validate", write(tmp_path, text))
    assert done.status == 2
    assert "share no link" in done.err


def test_unknown_host_is_suggested(tmp_path: Path) -> None:
    """--host with a name that the file does not have is refused, and the nearest one is named."""
    done = exec_netctl("diff", "--host", "alhpa", write(tmp_path, GOOD.replace("t-none", "t-nonn")))
    assert done.status == 2
    assert "alpha" in done.err


STATUSES = {UsageError: 2, HostError: 3, RolledBackError: 4, LeftoverError: 5, VerificationError: 6, LockedError: 7}


@pytest.mark.parametrize(("error", "status"), STATUSES.items())
def test_each_error_has_its_status(
    error: type[NetctlError], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that a command raises becomes its sentence, its help and its exit status."""

    def fail(_: object) -> int:
        raise error("it went wrong", "do it right")

    replace_commands(monkeypatch, fail)
    assert main_module.main(["apply"]) == status
    assert capsys.readouterr().err == "error: it went wrong\nhelp: do it right\n"


def test_an_error_needs_no_further_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Under a shortage of memory no module can be loaded for the report: the sentence and the advice are printed all the same."""

    def fail(_: object) -> int:
        raise HostError("the memory is short", "free -h")

    replace_commands(monkeypatch, fail)
    monkeypatch.setitem(sys.modules, "reconciler.render.errors", None)
    assert main_module.main(["diff"]) == 3
    assert capsys.readouterr().err == "error: the memory is short\nhelp: free -h\n"


def test_a_defect_is_a_sentence_and_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception is reported in one sentence; the traceback is in a file that is named."""

    def fail(_: object) -> int:
        raise KeyError("x")

    replace_commands(monkeypatch, fail)
    for command, status in (("status", 3), ("diff", 3), ("apply", 5), ("destroy", 5)):
        assert main_module.main([command]) == status, "3 where nothing can have been changed, 5 where something may be left"
        said = capsys.readouterr().err
        assert "Traceback" not in said
        log = Path(said.split()[-1])
        assert "KeyError: 'x'" in log.read_text()
        log.unlink()


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_with_its_status(tmp_path: Path, number: signal.Signals, word: str) -> None:
    """Ctrl-C and SIGTERM before anything is touched end with 128 and their number, a sentence and no traceback."""
    fifo = tmp_path / "topology.yaml"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "reconciler", "validate", str(fifo)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with fifo.open("w"):  # it is open when netctl reads from it, and waits
        running.send_signal(number)
        out, err = running.communicate()
    assert (running.returncode, out, err) == (128 + number, "", f"\nerror: {word}; nothing more was done\n")


def test_a_reader_that_goes_away_is_no_failure_of_netctls(tmp_path: Path) -> None:
    """`netctl validate | head -0` prints nothing on standard error."""
    path = write(tmp_path, GOOD)
    program = f"{sys.executable} -m reconciler validate --json {path}"
    done = subprocess.run(["sh", "-c", f"({program}) | true"], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    """A full disk behind standard output is reported in a sentence; a closed one means that no program reads it."""
    path = write(tmp_path, GOOD)
    program = f"{sys.executable} -m reconciler validate --json {path}"
    full = subprocess.run(["sh", "-c", f"{program} >/dev/full"], capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr) == (3, "error: cannot write the output: No space left on device\n")
    closed = subprocess.run(["sh", "-c", f"{program} >&- 2>&-"], capture_output=True, text=True, check=False)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_colour_on_a_terminal_only() -> None:
    """Errors are coloured on a terminal, and plain in a pipe, with NO_COLOR, and on a dumb terminal."""
    assert "\x1b[31merror:" in run_on_terminal("aply", NO_COLOR="")
    assert "\x1b" not in run_on_terminal("aply", NO_COLOR="1")
    assert "\x1b" not in run_on_terminal("aply", NO_COLOR="", TERM="dumb")
    assert "\x1b" not in exec_netctl("aply", env={"NO_COLOR": ""}).err
