"""What a local user without rights can do to netctl: forged marks, locks, files under /run/netctl, plans of their own.

Each test has a machine of its own. The user is number 12345, which no /etc/passwd knows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.state.process_mark import COMMAND_MARK, PROCESS_MARK, marks_of
from tests.harness.machine import Machine, Running
from tests.harness.topologies.local import write
from tests.system.e2e.conftest import machine

__all__ = ["machine"]
pytestmark = pytest.mark.kernel

USER = 12345
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
SLEEP = ("sleep", "infinity")
TOPOLOGY = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets:
  front: {cidr: 10.44.0.0/24}
containers:
  web: {networks: {front: 10.44.0.10}, command: [sleep, infinity]}
  db: {networks: {front: 10.44.0.20}, command: [sleep, infinity], env: {PASSWORD: hunter2-of-db}}
"""
WITHOUT_COMMAND = TOPOLOGY.replace("20}, command: [sleep, infinity], env: {PASSWORD: hunter2-of-db}}", "20}}")
ENV = (("PASSWORD", "hunter2-of-db"),)
DEEP = "[" * 100_000


@pytest.fixture
def path(machine: Machine) -> Path:
    """An applied topology."""
    path = write(machine, TOPOLOGY)
    done = machine.netctl("apply", path)
    assert done.status == 0, done.err
    return path


def marks(container: str = "db", command: str | None = None) -> tuple[str, ...]:
    """The words that put the marks of a command into an environment."""
    found = dict(marks_of("here", container, SLEEP, ENV))
    if command is not None:
        found[COMMAND_MARK] = command
    return ("env", *(f"{name}={value}" for name, value in found.items()))


def wait_for(claim: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline, "waited for in vain"
        time.sleep(0.02)


def start_as_user(machine: Machine, *words: str, netns: str = "") -> Running:
    """Start a program as the user, and wait until it is what runs."""
    running = machine.start_command(*AS_USER, *words, netns=netns)
    wait_for(lambda: Path(f"/proc/{running.pid}/status").read_text().split("Uid:\t")[1].startswith(str(USER)))
    time.sleep(0.1)
    return running


def lives(running: Running) -> bool:
    return Path(f"/proc/{running.pid}/exe").exists()


def kill_command(machine: Machine, container: str = "db") -> None:
    """Kill all of the container's processes that are root's."""
    machine.sh(
        f"for pid in $(ip netns pids here.{container}); do [ $(stat -c %u /proc/$pid) != 0 ] || kill -9 $pid || true; done"
    )


def shells_of(machine: Machine, container: str) -> int:
    """How many processes with the command's mark run in the container's namespace, as root."""
    script = (
        f"for pid in $(ip netns pids here.{container}); do "
        f"! grep -qz ^{COMMAND_MARK}= /proc/$pid/environ || stat -c %u /proc/$pid; done"
    )
    return machine.sh(script).split().count("0")


# --- marks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "netns"),
    [
        pytest.param((), "", id="on the host"),
        pytest.param(("unshare", "--user", "--map-root-user", "--net"), "", id="root of a user namespace"),
        pytest.param((), "here.web", id="in another container"),
        pytest.param((), "here.db", id="in the container itself"),
        pytest.param(("unshare", "--user", "--map-root-user"), "here.db", id="root of a user namespace in the container"),
    ],
)
def test_a_forged_mark_does_not_stand_in_for_a_dead_command(
    machine: Machine, path: Path, words: tuple[str, ...], netns: str
) -> None:
    """With a user's process that has the command's mark, `diff` sees that the command is dead, and `apply` starts it."""
    forged = start_as_user(machine, *words, *marks(), *SLEEP, netns=netns)
    assert machine.netctl("diff", path).status == 0
    kill_command(machine)
    assert machine.netctl("diff", path).status == 1
    done = machine.netctl("apply", path)
    assert done.status == 0, done.err
    assert shells_of(machine, "db") == 1
    assert lives(forged) == (netns != "here.db"), "a container's own process is what is left of its command"
    assert machine.netctl("destroy", path).status == 0
    assert lives(forged) == (netns != "here.db")


def test_a_set_user_id_program_does_not_stand_in(machine: Machine, path: Path) -> None:
    """Neither as a user starts it nor all root, as sudo is while it asks for a password."""
    machine.sh("cp $(readlink -f $(command -v sleep)) /run/asks; chmod 4755 /run/asks")
    kill_command(machine, "web")
    kill_command(machine, "db")
    asking = [
        machine.start_command(*AS_USER, *marks(), "/run/asks", "infinity", netns="here.db"),
        machine.start_command(*marks("web"), "/run/asks", "infinity", netns="here.web"),
    ]
    wait_for(lambda: all("asks" in str(Path(f"/proc/{one.pid}/exe").readlink()) for one in asking))
    assert machine.netctl("apply", path).status == 0
    assert (shells_of(machine, "web"), shells_of(machine, "db")) == (1, 1)


@pytest.mark.parametrize("netns", ["", "here.db"])
@pytest.mark.parametrize("mark", [DEEP, "\0", "{}", '[["sleep"],[["A",{}]]]', "[1,2]", '["ab",["cd"]]', "\x1b]0;x\x07", "\ud800"])
def test_a_mark_that_is_none_fails_no_command(machine: Machine, path: Path, mark: str, netns: str) -> None:
    """Deep JSON, wrong types and bytes that are no text: every command works, and finds the true command."""
    mark = mark.replace("\0", "").encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    start_as_user(machine, *marks(command=mark), *SLEEP, netns=netns)
    for command in ("diff", "status", "apply", "destroy"):
        done = machine.netctl(command, path)
        assert done.status == 0, done.err
        assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize("name", ["db\nx", "db\n$(touch /run/owned)", "db/../web", "\x1b[2J", "", "x" * 100_000])
def test_a_name_in_a_mark_ends_in_no_script(machine: Machine, path: Path, name: str) -> None:
    """Whatever container a mark names, nothing of it is printed, and the printed script ends no bystander."""
    bystander = start_as_user(machine, *SLEEP)
    forged = [
        start_as_user(machine, "env", f"{PROCESS_MARK}=here/{name}", f"{COMMAND_MARK}=[]", *SLEEP, netns=netns)
        for netns in ("", "here.db", "here.web")
    ]
    before = machine.netctl("diff", path, "--commands", "--show-secrets")
    assert before.status == 0, before.out
    path = write(machine, WITHOUT_COMMAND)
    script = machine.netctl("diff", path, "--commands", "--show-secrets")
    assert script.status == 1
    if name:
        assert name not in script.out
    machine.sh(script.out)
    assert lives(bystander)
    assert all(map(lives, forged))
    assert machine.sh("ls /run").count("owned") == 0


def test_the_printed_script_ends_a_command_in_its_namespace_only(machine: Machine, path: Path) -> None:
    """A user's process that has the mark on the host, or in another container, lives; the command does not."""
    forged = [start_as_user(machine, *marks(), *SLEEP, netns=netns) for netns in ("", "here.web")]
    path = write(machine, WITHOUT_COMMAND)
    script = machine.netctl("diff", path, "--commands", "--show-secrets")
    assert script.status == 1, script.err
    machine.sh(script.out)
    wait_for(lambda: shells_of(machine, "db") == 0)
    assert all(map(lives, forged))


def test_a_command_that_gives_up_its_privileges(machine: Machine) -> None:
    """It is seen as alive, also where only an unprivileged child does the work; its end is seen, and destroy ends all of it."""
    drop = " ".join(AS_USER)
    command = f'command: [sh, -c, "{drop} setsid sleep 1001 & exec {drop} sleep 1002"], env'
    path = write(machine, TOPOLOGY.replace("command: [sleep, infinity], env", command))
    assert machine.netctl("apply", path).status == 0
    count = "ip netns pids here.db | wc -l"
    wait_for(lambda: machine.sh(count).strip() == "3")
    assert machine.netctl("diff", path).status == 0
    machine.sh("kill -9 $(pgrep -x -f 'sleep 1002')")
    wait_for(lambda: machine.sh(count).strip() == "1")
    assert machine.netctl("diff", path).status == 1
    assert machine.netctl("apply", path).status == 0
    wait_for(lambda: machine.sh(count).strip() == "3")
    assert machine.netctl("destroy", path).status == 0
    assert machine.sh("pgrep -c sleep || true").strip() == "0"


def test_a_command_whose_namespace_has_lost_its_name(machine: Machine, path: Path) -> None:
    """After `ip netns delete` the command runs on without a place: apply starts it in the new namespace, and destroy ends it."""
    machine.sh("ip netns delete here.db")
    assert machine.netctl("apply", path).status == 0
    assert shells_of(machine, "db") == 1
    assert machine.netctl("diff", path).status == 0
    machine.sh("ip netns delete here.db")
    assert machine.netctl("destroy", path).status == 0
    assert machine.sh("pgrep -c sleep || true").strip() == "0"


# --- /run/netctl ------------------------------------------------------------------------------------------------------


def exposed(machine: Machine) -> str:
    return machine.sh("find /run/netctl -perm /077 ! -type l")


def test_all_files_are_roots_alone(machine: Machine, path: Path) -> None:
    """No directory and no file under /run/netctl has a bit for others; those of an earlier version lose theirs."""
    assert exposed(machine) == ""
    assert machine.sh("find /run/netctl -name web.log") != ""
    machine.sh("mkdir -p /run/netctl/local; chmod 755 /run/netctl /run/netctl/*; chmod 644 /run/netctl/*/*.log")
    kill_command(machine)
    assert machine.netctl("apply", path).status == 0
    assert exposed(machine) == ""


@pytest.mark.parametrize("target", ["/run/netctl/local/lock", "/run/netctl/local", "/run/netctl", "/run/netns"])
def test_a_users_lock_holds_up_nothing(machine: Machine, path: Path, target: str) -> None:
    """A lock that a user took on what an earlier version left open, or on /run/netns, delays no apply and no destroy."""
    machine.sh("cd /run/netctl; mkdir -p local; : >local/lock; chmod 755 . local; chmod 644 local/lock")
    holder = start_as_user(machine, "flock", target, *SLEEP)
    assert machine.run("flock", "-n", target, "true", check=False).status == 1, "the lock is held"
    write(machine, TOPOLOGY + "  more: {networks: {front: 10.44.0.30}}\n")
    begun = time.monotonic()
    for command in ("apply", "destroy"):
        done = machine.netctl(command, path)
        assert done.status == 0, done.err
    assert time.monotonic() - begun < 8
    assert lives(holder)


def test_a_user_cannot_lock_what_netctl_makes(machine: Machine, path: Path) -> None:
    """Every directory and file that an apply leaves is out of reach for a user's flock."""
    machine.sh("mkdir -p /run/netctl/local")
    for each in machine.sh("find /run/netctl").split():
        assert machine.run(*AS_USER, "flock", "-n", each, "true", check=False).status != 0, each


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"mkdir /run/evil; chown {USER} /run/evil; ln -s /run/evil /run/netctl", "/run/netctl is a symbolic link"),
        (f"mkdir /run/netctl; chown {USER} /run/netctl", f"/run/netctl belongs to user ID {USER}"),
        ("mkdir -m 777 /run/netctl", "/run/netctl can be written by other users (mode 0777)"),
        (
            "mkdir -p /run/netctl/local; chmod 1777 /run/netctl/local",
            "/run/netctl/local can be written by other users (mode 1777)",
        ),
    ],
)
def test_a_directory_that_is_not_roots_is_refused(machine: Machine, script: str, words: str) -> None:
    """Commands that read or write it end with status 3, and say what is wrong and what to do."""
    machine.sh(script)
    path = write(machine, TOPOLOGY)
    for command in ("diff", "apply", "destroy"):
        done = machine.netctl(command, path)
        assert done.status == 3, done.err
        assert words in done.err
        assert "rm " in done.err


# --- plans and secrets ------------------------------------------------------------------------------------------------


def test_a_saved_plan_is_its_owners_alone(machine: Machine) -> None:
    """It is 0600, over a wider file, too; it has the values; and it is not written through another user's link."""
    path, plan = write(machine, TOPOLOGY), machine.folder / "plan.json"
    plan.write_text("before")
    plan.chmod(0o666)
    assert machine.netctl("diff", path, "--plan", plan).status == 1
    assert plan.stat().st_mode & 0o7777 == 0o600
    assert "hunter2-of-db" in plan.read_text()
    links = "cd /run/tmp; touch mine; ln -s mine link; ln -s nowhere gone"
    machine.sh(f"mkdir -m 1777 /run/tmp; {' '.join(AS_USER)} sh -c '{links}'")
    for name in ("link", "gone"):
        done = machine.netctl("diff", path, "--plan", f"/run/tmp/{name}")
        assert done.status == 2, done.err
        assert f"it is a link of user ID {USER}" in done.err
    assert machine.sh("cat /run/tmp/mine; ls /run/tmp") == "gone\nlink\nmine\n"
    own = machine.folder / "own"
    own.symlink_to("plan.json")
    plan.write_text("before")
    assert machine.netctl("diff", path, "--plan", own).status == 1
    assert own.is_symlink()
    assert "hunter2-of-db" in plan.read_text()
    assert "hunter2-of-db" in machine.netctl("diff", path, "--plan", "/dev/stdout").out
    assert machine.netctl("apply", path, "--plan", own).status == 0


@pytest.mark.parametrize(
    ("script", "words", "remedy"),
    [
        (f"chown {USER}", f"belongs to user ID {USER}", "chown root"),
        ("chmod g+w", "other users can write", "chmod go-w"),
    ],
)
def test_a_plan_that_another_user_can_change_is_no_approval(machine: Machine, script: str, words: str, remedy: str) -> None:
    """It is refused with status 2 and says how to make it one's own."""
    path, plan = write(machine, TOPOLOGY), machine.folder / "plan.json"
    assert machine.netctl("diff", path, "--plan", plan).status == 1
    machine.sh(f"{script} {plan}")
    done = machine.netctl("apply", path, "--plan", plan)
    assert done.status == 2
    assert words in done.err
    assert remedy in done.err


def test_secrets_are_masked(machine: Machine) -> None:
    """Nothing that is printed has the value of a variable, before and after a change of it; `--show-secrets` prints it."""
    path = write(machine, TOPOLOGY)
    flags: tuple[tuple[str, ...], ...] = ((), ("--verbose",), ("--json",), ("--commands",))
    printed = [machine.netctl("diff", path, *flag) for flag in flags]
    shown = [machine.netctl("diff", path, *flag, "--show-secrets") for flag in flags]
    assert "--show-secrets" in printed[3].out.splitlines()[4]
    assert machine.run("sh", text=printed[3].out, check=False).status == 1, "it would start what has *** as its password"
    assert "--show-secrets" not in shown[3].out
    assert "PASSWORD" in printed[2].out
    assert ["hunter2" in one.out for one in shown] == [False, False, True, True]
    printed.append(machine.netctl("apply", path, "--json"))
    path.write_text(TOPOLOGY.replace("hunter2-of-db", "hunter2-changed"))
    printed += [machine.netctl("diff", path, *flag) for flag in flags]
    assert "PASSWORD is ***, wanted ***" in printed[-3].out
    assert "PASSWORD is hunter2-of-db, wanted hunter2-changed" in machine.netctl("diff", path, "-v", "--show-secrets").out
    printed.append(machine.netctl("status", path))
    printed.append(machine.netctl("status", path, "--json"))
    printed.append(machine.netctl("apply", path, "--json"))
    printed.append(machine.netctl("destroy", path, "--json"))
    assert not [one for one in printed if "hunter2" in one.out + one.err]
    assert json.loads(printed[-1].out)["changes"]


def test_the_unmasked_script_does_what_apply_does(machine: Machine) -> None:
    """With `--show-secrets` the script starts the command that apply would."""
    path = write(machine, TOPOLOGY)
    machine.sh(machine.netctl("diff", path, "--commands", "--show-secrets").out)
    wait_for(lambda: machine.netctl("diff", path).status == 0)
    assert exposed(machine) == ""
