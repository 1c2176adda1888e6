"""A world of two machines for each module, and a clean one for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.names import draw_name, remove_leftovers
from tests.harness.worlds.ssh import SshWorld

FILE = """\
version: 1
name: {name}
hosts:
  alpha: {{connect: ssh://root@alpha, address: 192.0.2.11}}
  beta: {{connect: ssh://root@beta, address: 192.0.2.12}}
subnets:
  front: {{cidr: 10.44.0.0/24}}
  back: {{cidr: 10.45.0.0/24}}
containers:
  web: {{host: alpha, networks: {{front: auto}}, ports: ["8080:80"], command: [sleep, infinity]}}
  db: {{host: beta, networks: {{back: auto}}}}
"""


@pytest.fixture(scope="module")
def world() -> Iterator[SshWorld]:
    require_capability("root")
    require_capability("sshd")
    name = draw_name()
    # Not below pytest's own, which is root's alone: sshd looks for keys as the user who logs in.
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    folder.chmod(0o755)
    built = SshWorld(name, folder)
    try:
        built.build("alpha", "beta")
        yield built
    finally:
        built.stop()
        remove_leftovers(name)
        shutil.rmtree(folder)


@pytest.fixture
def write(world: SshWorld) -> Callable[[str], Path]:
    """Writes the topology, with the words replaced that the test says: `write("8080", "8081")`."""

    def write_file(*pairs: str) -> Path:
        text = FILE.format(name=world.name)
        for before, after in zip(pairs[::2], pairs[1::2], strict=True):
            assert before in text
            text = text.replace(before, after)
        path = world.folder / "topology.yaml"
        path.write_text(text)
        return path

    return write_file


@pytest.fixture
def shop(world: SshWorld, write: Callable[..., Path]) -> Iterator[Path]:
    """The topology; nothing of it is there before, and nothing afterwards."""
    path = write()
    yield path
    for host in ("alpha", "beta"):
        world.repair(host)
        world.serve(host)
    world.trust("alpha", "beta")
    done = world.netctl("destroy", write())
    assert done.status == 0, done.err
    assert [machine.files() for machine in world.machines.values()] == [[], [], []]
