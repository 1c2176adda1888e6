"""The process `netctl`, also as `python -m reconciler`.

Until `start` can say it better, a Ctrl-C ends it as the kernel does: without a traceback of what was just being imported.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)

from reconciler.cli.main import start  # noqa: E402  importing takes a while

if __name__ == "__main__":
    start()
