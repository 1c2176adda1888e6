"""The process `netctl`, also as `python -m reconciler`.

Before `start` reports it, the kernel's default ends the process at Ctrl-C: without a traceback of an import.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)

from reconciler.cli.main import start  # noqa: E402  importing takes a while

if __name__ == "__main__":
    start()
