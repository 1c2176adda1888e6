"""What every runtime does alike: create, wire, exec, restart, change, fail and come back, existing ones, destroy, a script.

One sequence for a bare namespace, Docker, Podman and LXC, each real, through the command line.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.engines import RUNNING, Engine
from tests.harness.netctl import Outcome, run_netctl

RUNTIMES = ("netns", "docker", "podman", "lxc")
SERVES = "trap 'exit 0' TERM; busybox httpd -f -p 80 & wait"
"""A command with spaces and quotes that serves, and ends at once on SIGTERM."""
STAYS = "trap 'exit 0' TERM; sleep 1000 & wait"


@pytest.fixture(scope="module", params=RUNTIMES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine | None]:
    """An engine of each runtime; None for bare namespaces, which need none."""
    require_capability("root")
    if request.param == "netns":
        yield None
        return
    require_capability({"docker": "dockerd"}.get(request.param, request.param))
    with RUNNING[request.param]() as running:
        yield running


@dataclass
class RuntimeWorld:
    """A topology with two owned containers, and where the runtime has such, a foreign one."""

    path: Path
    name: str
    engine: Engine | None
    greeting: str = "hello"
    command: str = SERVES

    def write(self) -> None:
        runtime = self.engine.runtime if self.engine else "netns"
        where = f', {runtime}: "{self.engine.url}"' if self.engine else ""
        image = f"image: {self.engine.image}, " if self.engine else ""
        lines = [
            f"version: 1\nname: {self.name}\nhosts: {{alpha: {{connect: lab, address: 192.0.2.11{where}}}}}",
            "subnets: {front: {cidr: [10.44.0.0/24, 'fd44::/64']}}\ncontainers:",
            f'  web:\n    {{runtime: {runtime}, {image}command: [sh, -c, "{self.command}"],',
            f'     env: {{GREETING: "{self.greeting}"}},',
            '     networks: {front: 10.44.0.10}, expose: ["8080:80"]}',
            f'  db: {{runtime: {runtime}, {image}command: [sh, -c, "{STAYS}"], networks: {{front: 10.44.0.20}}}}',
        ]
        if self.engine:
            lines.append(f"  other: {{runtime: {runtime}, existing: theirs, networks: {{front: 10.44.0.30}}}}")
        self.path.write_text("\n".join(lines) + "\n")

    def netctl(self, *words: str, status: int = 0) -> Outcome:
        """Run netctl on the file, and see how it ends."""
        self.write()
        line: tuple[str | Path, ...] = (*words, self.path)
        if words[0] == "exec":
            line = ("exec", "-f", self.path, *words[1:])
        done = run_netctl(*line)
        assert done.status == status, done.err + done.out
        return done

    def in_step(self) -> bool:
        return self.netctl("diff").out.startswith("Nothing to do")


@pytest.fixture
def world(engine: Engine | None, topology_name: str, tmp_path: Path) -> Iterator[RuntimeWorld]:
    """Applied, and destroyed at the end."""
    if engine and "theirs" not in engine.names():
        engine.run("theirs")
    made = RuntimeWorld(tmp_path / "topology.yaml", topology_name, engine)
    try:
        made.netctl("apply")
        yield made
    finally:
        made.write()
        run_netctl("destroy", made.path)


def process_of(world: RuntimeWorld, container: str) -> int:
    """A process of a container's, in its network namespace."""
    shown = world.netctl("exec", container, "--", "readlink", "/proc/self/ns/net").out.strip()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str((entry / "ns/net").readlink()) == shown and int(entry.name) != os.getpid():
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError(f"nothing runs in {container}")


def restart_web(world: RuntimeWorld) -> None:
    """As a user does who knows nothing of netctl; of a bare namespace, the command ends."""
    if world.engine:
        world.engine.restart(f"{world.name}-web")
    else:
        os.kill(process_of(world, "web"), signal.SIGKILL)


def stop_web(world: RuntimeWorld) -> None:
    if world.engine:
        world.engine.stop(f"{world.name}-web")
    else:
        restart_web(world)


def changed_subjects(world: RuntimeWorld) -> set[str]:
    """Whom the plan speaks of."""
    lines = world.netctl("diff", status=1).out.splitlines()
    return {line.split("  ")[1].strip(" ~+-/") for line in lines if line.startswith(("  ~", "  +", "  -"))}


@pytest.mark.invariant(9)
def test_contract(world: RuntimeWorld) -> None:
    """Made, wired, entered, restarted, changed, rolled back and destroyed: the same for every runtime."""
    engine, web = world.engine, f"{world.name}-web"
    identity: Callable[[], str] = (lambda: engine.identity(web)) if engine else (lambda: "")
    # Create and wire: all that the file promises passes, and there is no more to do.
    assert world.in_step()
    verified = world.netctl("verify")
    assert "probes are as the file says" in verified.out
    if engine:
        assert set(engine.names()) == {web, f"{world.name}-db", "theirs"}
        assert engine.exec(web, "cat", "/sys/class/net/eth0/address").startswith("02:")
    # Exec: this machine's command in the container's network.
    assert "10.44.0.10/24" in world.netctl("exec", "web", "--", "ip", "address").out
    # Restart and re-wire: one container's matter, and the other keeps its process.
    before, db = identity(), process_of(world, "db")
    restart_web(world)
    subjects = changed_subjects(world)
    assert subjects
    assert all("web" in subject for subject in subjects), subjects
    world.netctl("apply")
    assert world.in_step()
    assert (identity(), process_of(world, "db")) == (before, db)
    stop_web(world)
    world.netctl("apply")
    assert world.in_step()
    assert identity() == before
    # So does the foreign one, which stays the same container all along.
    theirs = engine.identity("theirs") if engine else ""
    if engine:
        engine.restart("theirs")
        assert changed_subjects(world) == {"container other"}
        world.netctl("apply")
        assert world.in_step()
        assert "10.44.0.30/24" in world.netctl("exec", "other", "--", "ip", "address").out
    # A change of what it is made from re-creates it, and the plan says what changes.
    world.greeting = "good evening"
    if engine:
        assert "GREETING is hello, wanted good evening" in world.netctl("diff", "--verbose", "--show-secrets", status=1).out
    world.netctl("apply")
    assert world.in_step()
    after = identity()
    assert (after != before) is bool(engine)
    assert process_of(world, "db") == db
    if engine:
        assert set(engine.names()) == {web, f"{world.name}-db", "theirs"}, "nothing is left of the old one"
    # One that cannot start, or ends when its engine has just said that it runs: the old one comes back, the very same.
    for command in ("exit 7", "sleep 0.03; exit 7") if engine else ():
        world.command = command
        assert "every host is as it was before" in world.netctl("apply", status=4).err
    world.command = SERVES
    assert world.in_step()
    assert identity() == after
    # Destroy: the owned ones go, the foreign one stays as it was, without our link.
    world.netctl("destroy")
    if engine:
        assert engine.names() == ["theirs"]
        assert engine.identity("theirs") == theirs
        assert "eth" not in engine.exec("theirs", "ls", "/sys/class/net")
    # The printed command lines make what apply makes.
    assert run_script(world.netctl("diff", "--commands", "--show-secrets", status=1).out) == ""
    assert world.in_step()


def run_script(script: str) -> str:
    """What a shell complains of while it runs the script."""
    done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""
