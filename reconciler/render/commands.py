"""Steps as a shell script of `ip`, `bridge`, `nft`, `sysctl` and `docker` command lines: what `diff --commands` prints.

The same steps that `kernel/` executes, each in its own words (`Step.commands`), so a reader can see how container networking
works, and can run it: on a fresh lab the script leaves the same live state as `netctl apply`.
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
    """The whole script, ready for `sh`. With a `refusal` it is to be read only: it says that and ends with 1."""
    needs = "Needs root, iproute2 and nftables. Stops at the first command that fails."
    lines = ["#!/bin/sh", comment(title), comment(needs), "set -eu"]
    lines += [f"{join(['echo', refusal])} >&2", "exit 1"] if refusal else []
    for section in sections:
        if not section.runs:
            continue
        lines += ["", comment(section.title)]
        body = [*shell_functions((step for run in section.runs for step in run), section.shell)]
        body += [line for run in section.runs for line in render_run(run, section.shell)]
        # The shell there reads the steps as they stand here: nothing is quoted twice.
        lines += here_document(section.through, "\n".join(["set -eu", *body]), "THERE") if section.through else body
    return "\n".join(lines) + "\n"


def shell_functions(steps: Iterable[Step], shell: HostShell) -> Iterator[str]:
    """The shell functions that the lines of these steps call, each once."""
    yield from dict.fromkeys(function for step in steps for function in step.shell_functions(shell))


def render_run(steps: Iterable[Step], shell: HostShell) -> Iterator[str]:
    """The command lines of the steps, in order; those of one class that follow each other in one namespace are rendered together.

    So nft steps that follow each other become one `nft -f`, which is one transaction.
    """
    for (step_class, _), alike in groupby(steps, key=lambda step: (type(step), step.netns)):
        yield from step_class.commands_of(tuple(alike), shell)
