"""Another program that breaks netctl's things while netctl is at work: bounded, and repaired when that program has ended."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.harness.faults.damages import find_damages
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, LOCAL_CHANGED, write

pytestmark = pytest.mark.kernel
ROUNDS = int(os.environ.get("RACER_ROUNDS", "8"))
DAMAGES_EACH = 60
LONGEST_S = 30.0
"""An apply waits 10 s for a port that does not forward, and so does its rollback."""
UNMARKING = " group 99"
"""Without its group and its alias a link is another's; netctl then refuses to take it over, and says how to remove it."""


def test_a_foreign_racer(furnished: Machine) -> None:
    """In each round damages are done at random beside an apply. It ends as any apply does; the next one repairs everything."""
    seed = int(os.environ.get("RACER_SEED", "0")) or random.randrange(1, 1 << 30)
    choose = random.Random(seed)
    file = write(furnished, LOCAL_CHANGED)
    assert quick_netctl(furnished, "apply", "-q", file)[0].status == 0
    commands = [damage.command for damage in find_damages(furnished, "here") if UNMARKING not in damage.command]
    write(furnished, LOCAL)
    assert quick_netctl(furnished, "apply", "-q", file)[0].status == 0
    commands += [damage.command for damage in find_damages(furnished, "here") if UNMARKING not in damage.command]
    ended: Counter[int] = Counter()
    for number in range(ROUNDS):
        told = f"seed {seed}, round {number}"
        write(furnished, choose.choice((LOCAL, LOCAL_CHANGED)))
        script = "\n".join(f"({command}) 2>/dev/null || :" for command in choose.sample(commands, DAMAGES_EACH))
        racer = furnished.start_command("sh", "-c", script)
        begun = time.monotonic()
        done, _ = quick_netctl(furnished, "apply", "-q", file)
        assert time.monotonic() - begun < LONGEST_S, told
        racer.kill(signal.SIGKILL)
        racer.wait()
        ended[done.status] += 1
        inside = done.status == 1 and "changed during the apply" in done.err  # as a container's root would
        assert inside or done.status in {0, 3, 4, 5}, f"{told}: {done.err}"
        after, _ = quick_netctl(furnished, "apply", "-q", file)
        assert after.status == 0, f"{told}: {after.err}"
        after, _ = quick_netctl(furnished, "diff", file)
        assert after.status == 0, f"{told}: {after.out}{after.err}"
    assert ended[0] + ended[1] + ended[4] + ended[5] > 0, "the racer never met an apply"
    print(f"{ROUNDS} rounds of a foreign racer, seed {seed}: {dict(ended)}")
