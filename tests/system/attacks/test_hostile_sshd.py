# ruff: noqa: F811  fixtures are named where they are used
"""A machine whose sshd starts something else than netctl's worker: shown with a real ssh, a real sshd and real streams."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.netctl import Outcome
from tests.harness.worlds.ssh import SshWorld
from tests.system.ssh.conftest import shop, world, write  # noqa: F401

pytestmark = pytest.mark.kernel

LIAR = """\
#!/usr/bin/python3 -IS
import json, sys
MODE = {mode!r}
def say(text):
    sys.stdout.write(text); sys.stdout.flush()
sys.stdin.readline()
if MODE == "login":
    while True: say("x" * 65536)
if MODE == "bootstrap":
    say('netctl {{"say": ["error"], "message": 1}}\\n'); sys.exit()
if MODE == "again":
    while True: say('netctl {{"say": "again"}}\\n'); sys.stdin.readline()
say('netctl {{"say": "ready"}}\\n')
for line in sys.stdin:
    verb = json.loads(line)["verb"]
    if verb == "hello":
        say(json.dumps({{"answer": {{"machine": "m", "peers": {peers}}}}}) + "\\n")
    elif verb == "read" and MODE == "line":
        say('{{"answer": "')
        while True: say("x" * 65536)
    elif verb == "read" and MODE == "noise":
        while True: sys.stderr.write("x" * 65536)
    elif verb == "read" and MODE == "types":
        say('{{"answer": [1, 2, 3]}}\\n')
    elif verb == "read" and MODE == "error":
        say(json.dumps({{"error": "HostError", "message": "\\x1b[2J\\nalpha: all is well", "help": "\\x1b[2J"}}) + "\\n")
    elif verb != "beat":
        say('{{"answer": null}}\\n')
"""


@pytest.fixture
def lie(world: SshWorld) -> Iterator[Callable[..., None]]:
    """Lets beta's sshd start a program that lies, in one way or another."""

    def start(mode: str, peers: dict[str, str] | None = None) -> None:
        program = world.folder / f"liar-{mode}"
        program.write_text(LIAR.format(mode=mode, peers=json.dumps(peers or {})))
        program.chmod(0o755)
        world.stop_serving("beta")
        world.serve("beta", more=f"ForceCommand {program}")

    yield start
    world.stop_serving("beta")
    world.serve("beta")


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("login", "ssh://root@beta: its login shell prints output without end"),
        ("bootstrap", "ssh://root@beta answered netctl's bootstrap with an unknown message"),
        ("again", "ssh://root@beta answered netctl's bootstrap with an unknown message"),
        ("line", "host beta (ssh://root@beta) answered `read` with more than 64 MiB"),
        ("types", "host beta (ssh://root@beta) answered `read` with a list in place of an object for HostFacts"),
        ("noise", "the connection to beta was lost: it prints too much on its standard error"),
        ("error", "beta: \\x1b[2J\n    alpha: all is well"),
    ],
)
def test_a_machine_that_lies_is_named(
    world: SshWorld,
    shop: Path,
    lie: Callable[..., None],
    mode: str,
    said: str,
) -> None:
    """Each ends soon, with status 3, in bounded memory, and with a sentence that says which host it was; alpha is untouched."""
    lie(mode)
    before_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    begun = time.monotonic()
    done: Outcome = world.netctl("apply", shop, timeout_s=100)
    assert done.status == 3, done.err
    assert said in done.err
    assert "\x1b" not in done.err
    assert time.monotonic() - begun < 60
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before_kib, 400 * 1024)
    assert not [name for name in world.machines["alpha"].files() if "/netns/" in name]


def test_a_machine_that_lies_sends_ssh_nowhere(world: SshWorld, shop: Path, lie: Callable[..., None]) -> None:
    """What it remembers as peers is shown, and the file that an option of ssh's would make is not there."""
    marker = world.folder / "PWNED"
    lie("types", {"gamma": f"ssh://root@-oProxyCommand=touch {marker}", "delta": "ssh://root@192.0.2.99"})
    done = world.netctl("destroy", "--name", world.name, "--host", "ssh://root@beta", "--keep-going")
    assert done.status == 3, done.err
    done = world.netctl("diff", shop)
    assert done.status == 3
    assert "host beta remembers an invalid destination, which is ignored" in done.err
    assert "host beta says that" in done.err
    assert "ssh://root@192.0.2.99" in done.err
    assert not marker.exists()
