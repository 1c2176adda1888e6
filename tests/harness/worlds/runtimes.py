"""A topology with containers of one runtime, through the command line: the same for every runtime."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.engines import Engine
from tests.harness.netctl import Outcome, run_netctl

SERVES = "trap 'exit 0' TERM; busybox httpd -f -p 80 & wait"
"""A command with spaces and quotes that serves, and ends at once on SIGTERM."""
STAYS = "trap 'exit 0' TERM; sleep 1000 & wait"


@dataclass
class RuntimeWorld:
    """A topology with two owned containers, and where the runtime has such, a foreign one."""

    path: Path
    name: str
    engine: Engine | None
    greeting: str = "hello"
    command: str = SERVES
    shares: bool = False
    """Whether there is a third owned container, `app`, in the network of `web`."""
    more: str = ""
    """More keys of `web`, each with a comma after it."""

    @property
    def own_names(self) -> set[str]:
        """The engine's names of all owned containers, holders too."""
        suffixes = ("", ".net") if self.engine and self.engine.runtime == "docker" else ("",)
        return {f"{self.name}-{container}{suffix}" for container in ("web", "db") for suffix in suffixes}

    @property
    def web(self) -> str:
        """The engine's name of container `web`."""
        return f"{self.name}-web"

    def write(self) -> None:
        runtime = self.engine.runtime if self.engine else "netns"
        where = f', {runtime}: "{self.engine.url}"' if self.engine else ""
        image = f"image: {self.engine.image}, " if self.engine else ""
        lines = [
            f"version: 1\nname: {self.name}\nhosts: {{alpha: {{connect: lab, address: 192.0.2.11{where}}}}}",
            "subnets: {front: {cidr: [10.44.0.0/24, 'fd44::/64']}}\ncontainers:",
            f'  web:\n    {{runtime: {runtime}, {image}command: [sh, -c, "{self.command}"],',
            f'     env: {{GREETING: "{self.greeting}"}}, {self.more}',
            '     networks: {front: 10.44.0.10}, ports: ["8080:80"]}',
            f'  db: {{runtime: {runtime}, {image}command: [sh, -c, "{STAYS}"], networks: {{front: 10.44.0.20}}}}',
        ]
        if self.shares:
            lines.append(f'  app: {{runtime: {runtime}, {image}command: [sh, -c, "{STAYS}"], share: web}}')
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

    def netns_of(self, container: str) -> str:
        """The network namespace that netctl enters for a container."""
        return self.netctl("exec", container, "--", "readlink", "/proc/self/ns/net").out.strip()

    def process_of(self, container: str) -> int:
        """The first process of a container, or the command of a bare namespace."""
        if self.engine:
            return int(self.engine.pid(f"{self.name}-{container}"))
        shown = self.netns_of(container)
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and str((entry / "ns/net").readlink()) == shown and int(entry.name) != os.getpid():
                    return int(entry.name)
            except OSError:
                continue
        raise AssertionError(f"nothing runs in {container}")

    def lose_namespace(self, container: str) -> None:
        """End what holds the namespace of a container: its holder, or the file."""
        assert self.engine
        if self.engine.runtime == "docker":
            self.engine.stop(f"{self.name}-{container}.net")
        else:
            subprocess.run(["ip", "netns", "delete", f"{self.name}.{container}"], check=True)


@contextmanager
def runtime_world(engine: Engine | None, name: str, path: Path) -> Iterator[RuntimeWorld]:
    """Applied, and destroyed at the end."""
    if engine and "theirs" not in engine.names():
        engine.run("theirs")
    made = RuntimeWorld(path, name, engine)
    try:
        made.netctl("apply")
        yield made
    finally:
        made.write()
        run_netctl("destroy", made.path)
