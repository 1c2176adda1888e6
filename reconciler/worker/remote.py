"""The worker on a host that a controller reaches by ssh: it outlives a lost connection until the host is consistent again.

It serves like any worker. Between `arm` and the commit, the host belongs to the controller only as long as it receives
signs of life. The controller sends twelve beats within `patience_s`. If the connection ends, or nothing arrives for
`patience_s`, the worker rolls back. After a `keep`, it keeps the change. It writes the result to the host's log.
Meanwhile its lock says that it is an orphan, and a new controller replaces it at once.
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
"""After this part of the patience another controller may take the lock: three beats were missed."""


def main(remove_code: Callable[[], None]) -> None:
    """Serve one controller until it ends or is lost.

    At the end, `remove_code` deletes the code if the host does not need it.
    """
    inbox, send = open_channel()
    service = Service(send, inbox.cancelled.is_set)
    threading.Thread(target=_watch, args=(inbox, service), daemon=True).start()
    try:
        serve(inbox, send, service)
    except BrokenPipeError:
        inbox.end()
    # The rest must not fail because its messages have no receiver.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        service.end()
    except NetctlError as error:
        service.log(f"the rollback is incomplete: {error.message}")
    except Exception as error:  # noqa: BLE001  only the log can still report it
        service.log(f"the rollback is incomplete: {type(error).__name__}: {error}\n{traceback.format_exc()}")
    service.leave()
    remove_code()
    os._exit(0)


def _watch(inbox: Inbox, service: Service) -> None:
    """Report to others that the controller sends no signs of life, and give it up after the patience."""
    while not inbox.ended.wait(WATCH_INTERVAL_S):
        silent_s = time.monotonic() - inbox.heard_s
        service.mark(orphan=silent_s > service.patience_s / ORPHAN_SHARE)
        if silent_s > service.patience_s:
            inbox.end()
    service.mark(orphan=True)
