"""The comments at the top of the files that an import writes: what each is for, and what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence


def topology_heading(files: Sequence[str]) -> tuple[str, ...]:
    """Of the topology of a Compose project."""
    return (
        f"Imported by `netctl import` from {', '.join(files)}.",
        "Compose runs the containers, and netctl connects them. Compose needs the file beside this one, so that it makes no",
        "networks: see the top of compose.netctl.yaml.",
        "A comment marks what has no counterpart here. Read it, change what you want, then: netctl validate",
    )


def override_heading(variable: str, *, waits: bool, has_hook: bool = False) -> tuple[str, ...]:
    """Of the override. `variable` is the value of COMPOSE_FILE that uses it."""
    held = (
        "Docker starts each program when its network is there: the runtime `netctl` waits for the agent. It is set up once",
        "on a host, by `netctl hook install`.",
    )
    waiting = (
        ("Each program starts when its network is there: /bin/sh waits for the carrier of eth0, and then runs it.",)
        if waits
        else (
            "A program starts before its network. `netctl agent` connects it some milliseconds later, and `netctl apply`",
            "when you run it. If a program cannot wait, import with --wait: a shell waits first, and then runs it.",
        )
    )
    waiting = held if has_hook else waiting
    return (
        "Written by `netctl import`. Compose merges this file over its own, and then makes no networks and no ports:",
        f"  export COMPOSE_FILE={variable}      (or a line in .env)",
        "",
        "name: the topology finds the containers by it, whatever the directory is called later.",
        "extra_hosts: with network_mode none Docker serves no names. So the names of neighbors are here, with the",
        "addresses of topology.yaml: change both together. A service with several containers has no name.",
        "hostname: a program finds its own address by it.",
        *waiting,
    )


def engine_heading(engine: str) -> tuple[str, ...]:
    """Of the topology of what an engine runs."""
    return (
        f"Imported by `netctl import docker` from {engine}.",
        "Docker runs the containers, and netctl connects them, after Docker has disconnected them from its own networks.",
        "Then Docker's name server serves them no names.",
        "A comment marks what has no counterpart here. Read it, change what you want, then: netctl validate",
    )
