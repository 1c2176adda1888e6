"""What a command does only on a terminal: it folds its output, asks before it removes containers, and shows that it reads."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from reconciler.errors import DeclinedError

if TYPE_CHECKING:
    from reconciler.plan.document import PlanDocument

NAMED = 5
"""The number of containers that a question names."""


def width() -> int:
    """The columns of standard output; 0 if it is no terminal."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    except (OSError, ValueError):  # closed, or a stream without a descriptor
        return 0


def show(text: str) -> None:
    """Print a text for users, folded to the terminal."""
    from reconciler.render.fold import fold

    print(fold(text, width()), flush=True)


def can_ask(options: argparse.Namespace) -> bool:
    """Whether a user sits before a terminal, and has not said --yes or asked for JSON."""
    if getattr(options, "yes", False) or getattr(options, "json", False):
        return False
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def confirm(options: argparse.Namespace, question: str) -> None:
    """Ask the user, if there is one. DeclinedError unless the answer is yes."""
    if not question or not can_ask(options):
        return
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DeclinedError("declined; nothing was changed", "`--yes` asks nothing")


def question_of(document: PlanDocument) -> str:
    """What to ask before a plan that removes or re-creates containers; "" if it does neither."""
    from reconciler.render.plan import find_losses

    removed, created_again = find_losses(document)
    parts = [_counted(names, verb) for names, verb in ((removed, "removed"), (created_again, "re-created")) if names]
    return f"{document.topology}: {', and '.join(parts)}. Go on?" if parts else ""


def _counted(names: Iterable[str], verb: str) -> str:
    known = tuple(names)
    shown = ", ".join(known[:NAMED]) + (f" and {len(known) - NAMED:,} more" if len(known) > NAMED else "")
    return f"{len(known):,} {'container is' if len(known) == 1 else 'containers are'} {verb} ({shown})"
