"""`python -m reconciler` is `netctl`."""

from reconciler.cli.main import start

if __name__ == "__main__":
    start()
