"""The worker on a host that a controller reaches by ssh: it outlives a lost connection for as long as it takes to be whole again.

It serves as any worker does. From the moment an apply is announced (`arm`) until it is committed, the host belongs to the
controller only as long as that is heard of: when the connection ends, or nothing was heard for `patience_s` (the controller
beats twelve times in that), the worker takes back what was done, or keeps it where it was told to, and says so in the host's
log. Meanwhile its lock says that it is an orphan, and a new controller takes its place at once.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable

from reconciler.errors import NetctlError
from reconciler.worker.__main__ import Service, open_channel, serve
from reconciler.worker.channel import Inbox

WATCH_INTERVAL_S = 0.1
ORPHAN_SHARE = 4
"""After this part of the patience another controller may take over: three beats were missed."""


def main(remove_code: Callable[[], None]) -> None:
    """Serve one controller until it is done or gone. At the end, `remove_code` removes the code if the host has no use for it."""
    inbox, send = open_channel()
    service = Service(send, inbox.cancelled.is_set)
    threading.Thread(target=_watch, args=(inbox, service), daemon=True).start()
    try:
        serve(inbox, send, service)
    except BrokenPipeError:
        inbox.end()
    # What comes now must not fail because nobody hears it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        service.end()
    except NetctlError as error:
        service.log(f"not all could be taken back: {error.message}")
    except Exception as error:  # noqa: BLE001  nobody is left to be told, but whoever reads the log
        service.log(f"not all could be taken back: {type(error).__name__}: {error}\n{traceback.format_exc()}")
    service.leave()
    remove_code()
    os._exit(0)


def _watch(inbox: Inbox, service: Service) -> None:
    """Tell others when the controller is not heard of, and give it up when its time is over."""
    while not inbox.ended.wait(WATCH_INTERVAL_S):
        silent_s = time.monotonic() - inbox.heard_s
        service.mark(orphan=silent_s > service.patience_s / ORPHAN_SHARE)
        if silent_s > service.patience_s:
            inbox.end()
    service.mark(orphan=True)
