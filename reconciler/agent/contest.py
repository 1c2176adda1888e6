"""What is left alone for a while: pure. That is what something else changes again and again, and what cannot be repaired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reconciler.state.backoff import Backoff
from reconciler.state.ref import Ref

REPAIRS_MAX, WINDOW_S = 5, 60.0
"""So many repairs of one thing within this time are a contest."""
PAUSE = Backoff(5.0, 60.0, failures=1)
"""How long a contested thing is left alone; longer after each repair that was undone."""
FAILED = Backoff(0.2, 60.0, failures=1)
"""The same of a thing whose repair failed; at first it may only have been read half gone."""

Thing = tuple[str, Ref]
"""A host, and a record there."""


@dataclass(slots=True)
class Contest:
    """One contested thing."""

    backoff: Backoff
    until_s: float
    """It is repaired again then."""
    programs: tuple[str, ...] = ()
    """Those that were at work when it was changed last, as far as they are known."""


@dataclass(slots=True)
class Contests:
    """The repairs of the last minute, and what is contested."""

    repairs: dict[Thing, list[float]] = field(default_factory=dict)
    contested: dict[Thing, Contest] = field(default_factory=dict)
    failing: dict[Thing, Contest] = field(default_factory=dict)
    """What could not be repaired, so that other repairs go on without it."""

    def note(self, things: Iterable[Thing], now_s: float, programs: tuple[str, ...] = ()) -> tuple[Thing, ...]:
        """Note that these were repaired after `programs` were at work; those that are contested from here on."""
        begun = []
        for thing in things:
            recent = [at_s for at_s in self.repairs.get(thing, ()) if at_s > now_s - WINDOW_S]
            self.repairs[thing] = [*recent, now_s]
            known = self.contested.get(thing)
            if known:
                known.backoff = known.backoff.failed()
                known.until_s = now_s + known.backoff.delay_s
                known.programs = programs or known.programs
            elif len(recent) + 1 >= REPAIRS_MAX:
                self.contested[thing] = Contest(PAUSE, now_s + PAUSE.delay_s, programs)
                begun.append(thing)
        return tuple(begun)

    def set_aside(self, thing: Thing, now_s: float) -> None:
        """Note that this could not be repaired."""
        known = self.failing.get(thing)
        backoff = known.backoff.failed() if known else FAILED
        self.failing[thing] = Contest(backoff, now_s + backoff.delay_s)

    def forget(self, now_s: float) -> None:
        """Forget what was not repaired for a while after its pause had ended: the contest is over."""
        for thing in [thing for thing, one in self.contested.items() if now_s > one.until_s + WINDOW_S]:
            del self.contested[thing]
        for thing in [thing for thing, one in self.failing.items() if now_s > one.until_s + WINDOW_S]:
            del self.failing[thing]
        for thing in [thing for thing, times in self.repairs.items() if times[-1] <= now_s - WINDOW_S]:
            del self.repairs[thing]

    def describe(self) -> tuple[str, ...]:
        """What is contested, for people: `alpha: address eth0 10.0.0.1/24 (changed by nft)`."""
        return tuple(
            f"{host}: {ref}" + (f" (changed by {', '.join(one.programs)})" if one.programs else "")
            for (host, ref), one in sorted(self.contested.items())
        )

    def is_failing(self, now_s: float) -> bool:
        """Whether something is left alone now because it could not be repaired."""
        return any(one.until_s > now_s for one in self.failing.values())

    def withheld(self, host: str, now_s: float) -> frozenset[Ref]:
        """What is not repaired on a host now."""
        found = (*self.contested.items(), *self.failing.items())
        return frozenset(ref for (name, ref), one in found if name == host and one.until_s > now_s)

    def next_s(self, now_s: float) -> float | None:
        """When the next pause ends."""
        found = (*self.contested.values(), *self.failing.values())
        return min((one.until_s for one in found if one.until_s > now_s), default=None)
