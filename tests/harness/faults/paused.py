"""netctl as a program that stands still at one moment of what it says to one host, until it is let go on.

    python -m tests.harness.faults.paused FOLDER MOMENT VERB HOST netctl's own arguments

MOMENT is `before` the verb is sent to the host, `after` it has answered, or `unheard`. In the last case the host has answered,
and the connection is lost before the answer is read. FOLDER/paused is there then, and FOLDER/go-on ends it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from reconciler.cli.main import start
from reconciler.fleet.session import ConnectionLostError, Session
from reconciler.worker.protocol import Request


def pause(folder: Path) -> None:
    (folder / "paused").touch()
    while not (folder / "go-on").exists():
        time.sleep(0.01)


def main() -> None:
    folder, moment, chosen, host = Path(sys.argv[1]), *sys.argv[2:5]
    del sys.argv[1:5]
    say = Session.call

    def call(session: Session, request: Request[Any], *arguments: Any) -> Any:
        here = (request.verb(), session.target.host) == (chosen, host)
        if here and moment == "before":
            pause(folder)
        answer = say(session, request, *arguments)
        if here and moment != "before":
            pause(folder)
        if here and moment == "unheard":
            session._worker.process.kill()
            raise ConnectionLostError(f"the connection to {host} was lost")
        return answer

    Session.call = call  # type: ignore[assignment,method-assign]
    start()


if __name__ == "__main__":
    main()
