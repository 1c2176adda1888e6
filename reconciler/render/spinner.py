"""A sign on a terminal that netctl still reads the hosts. It goes to standard error, and is gone afterwards."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TextIO

from reconciler.render.colour import wants_colour
from reconciler.state.visible import visible_line

DELAY_S, TURN_S = 0.4, 0.1
"""When it appears, and how long each of its frames stays."""
FRAMES = "|/-\\"
ERASE = "\r\x1b[K"


@contextlib.contextmanager
def spin(stream: TextIO, text: str, *, quiet: bool = False) -> Iterator[None]:
    """Show `text` with a turning bar as long as the block runs, if that takes a while and `stream` is a terminal."""
    if quiet or not wants_colour(stream):
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_turn, args=(getattr(stream, "steering", stream), visible_line(text), ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _turn(stream: TextIO, text: str, ended: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):  # a closed terminal
        number, wait_s = 0, DELAY_S
        while not ended.wait(wait_s):
            stream.write(f"{ERASE}{FRAMES[number % len(FRAMES)]} {text}")
            stream.flush()
            number, wait_s = number + 1, TURN_S
        if number:
            stream.write(ERASE)
            stream.flush()
