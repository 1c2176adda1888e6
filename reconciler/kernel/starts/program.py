"""The program `netctl-runtime`: an OCI runtime that runs runc with one hook more, and that hook.

dockerd runs it as the runtime of a container (`--runtime netctl`). With the word `create` it adds a createRuntime hook to the
bundle, and then becomes runc. A container with a CDI device gets the same hook by its specification. The program runc executes
the hook when the container has its namespaces, and before its program (runtime-spec, config.md, "createRuntime Hooks").

The hook writes a record below /run/netctl/.hook, and waits until netctl answers in that file:

    {"identity": …, "name": …, "labels": {…}, "pid": …, "began": …, "root": …, "hook": …}   the record, a line
    shop wired                                                                               answers, a line each

The hook holds a lock on the file (flock(2)) while it waits. The record stays, and is true as long as the process of the
container lives. A hook must not ask dockerd, which has locked the container and answers no request at boot.

A copy of this file is installed by itself, so it imports only Python's own modules, and only those that it needs.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUNC = "runc"
HOOK = "netctl-hook"
DIRECTORY = "/run/netctl/.hook"
AGENTS = "/run/netctl/.agent"
OWN_MOUNTS = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
"""What Docker mounts from the directory of a container."""
OWN_LABEL = "netctl.topology"
"""Of the containers that netctl creates. It connects these before it starts them."""
WAIT_LABEL = "netctl.wait-for"
"""Names the topology whose answer counts."""
WIRED, OTHER, REFUSED = "wired", "other", "refused"
"""An answer: it has its network; it is none of the topology; the topology cannot connect it."""
STARTED_TICKS = 19
"""The place of the start time behind the name of the command in /proc/PID/stat: field 22 (proc_pid_stat(5))."""
POLLS_S = ((1.0, 0.005), (10.0, 0.05), (float("inf"), 0.5))
"""Until so long after the start of the wait, the pause between two looks at the file."""
FIRST_NOTICE_S, NOTICE_S = 2.0, 60.0
"""After so long the system log says that the start waits, and then again and again."""


class HookError(Exception):
    """Why the container cannot start, in a sentence."""


def main() -> None:
    """The runtime, or the hook."""
    words = sys.argv[1:]
    try:
        if words[:1] == [HOOK]:
            run_hook(sys.stdin.read())
            return
        if "create" in words and "--bundle" in words[:-1]:
            add_hook(words[words.index("--bundle") + 1], os.path.abspath(sys.argv[0]))
        os.execvp(RUNC, [RUNC, *words])  # noqa: S606  no shell is wanted
    except (HookError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        sys.stderr.write(f"netctl: cannot start the container: {error}\n")
        sys.exit(1)


# --- the runtime ------------------------------------------------------------------------------------------------------


def add_hook(bundle: str, program: str) -> None:
    """Add the hook to the configuration of a container that is to be created."""
    import json

    path = os.path.join(bundle, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    hooks = config.get("hooks") or {}
    config["hooks"] = {**hooks, "createRuntime": [*(hooks.get("createRuntime") or []), hook_of(program)]}
    temporary = f"{path}.netctl"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(config, file)
    os.replace(temporary, path)


def hook_of(program: str) -> dict[str, object]:
    """The hook, in the words of the OCI and of CDI."""
    return {"path": program, "args": [os.path.basename(program), HOOK]}


# --- the hook ---------------------------------------------------------------------------------------------------------


def run_hook(state: str) -> None:
    """Return when the container may start. HookError if it cannot have its network."""
    import json

    given = json.loads(state)
    record = describe(str(given["id"]), int(given["pid"]), str(given["bundle"]))
    if record is None or OWN_LABEL in record["labels"]:
        return
    secure(os.path.dirname(DIRECTORY))
    secure(DIRECTORY)
    path = os.path.join(DIRECTORY, str(record["identity"]))
    descriptor = write_record(path, json.dumps(record).encode() + b"\n")
    try:
        await_answer(descriptor, record)
    except HookError:
        os.unlink(path)
        raise


def describe(identity: str, pid: int, bundle: str) -> dict[str, Any] | None:
    """The record of a container; None if it has no network namespace of its own. HookError if it is none of Docker's.

    Docker mounts files of the container's directory into it, and keeps its name and its labels there (config.v2.json).
    """
    import json

    if not all(character in "0123456789abcdef" for character in identity):
        raise HookError("it is not one of Docker's: netctl-runtime serves no other engine")
    with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    spaces = {space["type"]: space.get("path", "") for space in config["linux"]["namespaces"]}
    if "network" not in spaces or spaces["network"].startswith("/proc/"):
        return None  # that of the host, or of another container
    middle = f"/containers/{identity}/"
    sources = (str(mount.get("source", "")) for mount in config.get("mounts") or () if mount.get("destination") in OWN_MOUNTS)
    root = next((source.partition(middle)[0] for source in sources if middle in source), "")
    if not root:
        raise HookError("it is not one of Docker's: netctl-runtime serves no other engine")
    with open(os.path.join(root, "containers", identity, "config.v2.json"), encoding="utf-8") as file:
        known = json.load(file)
    return {
        "identity": identity,
        "name": str(known["Name"]).lstrip("/"),
        "labels": (known.get("Config") or {}).get("Labels") or {},
        "pid": pid,
        "began": read_start_time(pid),
        "root": root,
        "hook": os.getpid(),
    }


def read_start_time(pid: int) -> int:
    """When a process started, in ticks since boot; with its number it identifies the process. OSError if there is none."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[STARTED_TICKS])


def secure(directory: str) -> None:
    """Create a directory for root alone. HookError if it is another user's, or others can write there."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    found = os.lstat(directory)
    if found.st_uid != os.geteuid() or found.st_mode & 0o170022 != 0o040000:
        raise HookError(f"{directory} is no directory of root's alone: look at it, then remove it")


def write_record(path: str, line: bytes) -> int:
    """Write a record in place of the last one, as a whole and locked; its descriptor."""
    import fcntl

    temporary = f"{path}.tmp"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, line)
    os.rename(temporary, path)
    return descriptor


def await_answer(descriptor: int, record: dict[str, Any]) -> None:
    """Return when the answers let the container start. HookError if one refuses it, or if runc has ended."""
    import time

    wanted, parent = str(record["labels"].get(WAIT_LABEL, "")), os.getppid()
    began_s, notice_s, seen = time.monotonic(), FIRST_NOTICE_S, 0
    while True:
        size = os.fstat(descriptor).st_size
        # An answer of one agent may be the last that counts only after another agent has ended.
        if size != seen or not wanted:
            seen = size
            answers = parse_answers(os.pread(descriptor, size, 0))
            if decide(answers, wanted, set() if wanted else find_agents()):
                return
        waited_s = time.monotonic() - began_s
        if os.getppid() != parent:
            raise HookError("runc has ended")
        if waited_s >= notice_s:
            notice_s = waited_s + NOTICE_S
            give_notice(str(record["name"]), wanted, waited_s)
        time.sleep(next(pause_s for until_s, pause_s in POLLS_S if waited_s < until_s))


def parse_answers(data: bytes) -> dict[str, tuple[str, str]]:
    """The last answer of each topology: a word, and the reason of a refusal."""
    lines = (line.split(" ", 2) for line in data.decode("utf-8", "replace").split("\n")[1:-1])
    return {words[0]: (words[1], " ".join(words[2:])) for words in lines if len(words) > 1}


def decide(answers: dict[str, tuple[str, str]], wanted: str, agents: set[str]) -> bool:
    """Whether the container may start. HookError if a topology that counts refuses it.

    Without a topology that it names, one that has connected it is enough. It is none of any, if all agents say so.
    """
    counted = {name: answer for name, answer in answers.items() if wanted in ("", name)}
    for name, (word, reason) in counted.items():
        if word == REFUSED:
            raise HookError(f"topology {name} cannot connect it: {reason}")
    words = [word for word, _ in counted.values()]
    others = {name for name, (word, _) in counted.items() if word == OTHER}
    return WIRED in words or (bool(others) and agents <= others)


def find_agents() -> set[str]:
    """The topologies that agents hold here, or held before a kill."""
    try:
        names = os.listdir(AGENTS)
    except FileNotFoundError:
        return set()
    return {name.partition(".")[0] for name in names if name.endswith(".lock")}


def give_notice(name: str, wanted: str, waited_s: float) -> None:
    """Say in the system log that a start waits. runc shows what a hook prints only if the hook fails."""
    import syslog

    whom = f"the agent of topology {wanted}" if wanted else "an agent of netctl"
    syslog.openlog("netctl-hook", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(
        syslog.LOG_WARNING,
        f"container {name} waits for its network since {waited_s:.0f} s: {whom} has not connected it. "
        f"`netctl hook show` lists all that wait; to end this start: kill {os.getpid()}",
    )


if __name__ == "__main__":
    main()
