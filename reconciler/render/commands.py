"""Steps as a shell script of `ip`, `bridge`, `nft`, `sysctl` and `docker` command lines, for `diff --commands`.

They are the same steps that `kernel/` executes, each in its own words (`Step.commands`). A reader can see how container
networking works, and can run it. On a fresh lab the script creates the same live state as `netctl apply`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from reconciler.state.shell import HostShell, comment, here_document, join
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the script: steps of one host, in runs. A run is a batch of the plan."""

    title: str
    shell: HostShell
    runs: tuple[tuple[Step, ...], ...]
    through: str = ""
    """The command line of a shell on another machine; "" for this one's."""


def render_script(title: str, sections: Sequence[Section], refusal: str = "") -> str:
    """The whole script, ready for `sh`. With a `refusal`, it is only for reading: it prints that and ends with 1."""
    needs = "Needs root, iproute2 and nftables. Stops at the first command that fails."
    lines = ["#!/bin/sh", comment(title), comment(needs), "set -eu"]
    lines += [f"{join(['echo', refusal])} >&2", "exit 1"] if refusal else []
    for section in sections:
        if not section.runs:
            continue
        lines += ["", comment(section.title)]
        body = [*shell_functions((step for run in section.runs for step in run), section.shell)]
        body += [line for run in section.runs for line in render_run(run, section.shell)]
        # The remote shell reads the steps as they are: nothing is quoted twice.
        lines += here_document(section.through, "\n".join(["set -eu", *body]), "THERE") if section.through else body
    return "\n".join(lines) + "\n"


def shell_functions(steps: Iterable[Step], shell: HostShell) -> Iterator[str]:
    """The shell functions that the lines of these steps call, each once."""
    yield from dict.fromkeys(function for step in steps for function in step.shell_functions(shell))


def render_run(steps: Iterable[Step], shell: HostShell) -> Iterator[str]:
    """The command lines of the steps, in order; consecutive steps of one class in one namespace are rendered together.

    So consecutive nft steps become one `nft -f`, which is one transaction.
    """
    for (step_class, _), alike in groupby(steps, key=lambda step: (type(step), step.netns)):
        yield from step_class.commands_of(tuple(alike), shell)
