"""What may have made a verification fail: what differs from the file, and foreign resources that conflict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.render.colour import Palette
from reconciler.render.status import DRIFTED, MISSING, StatusDocument, is_explained_elsewhere
from reconciler.render.status_text import render_difference
from reconciler.state.ref import LAB
from reconciler.state.visible import visible_line

SHOWN = 8
"""The most that are printed; JSON has all."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A difference, or a foreign resource, on a host; `subject` is what differs: `container web`, or `foreign firewall`."""

    host: str
    subject: str
    text: str
    help_text: str = ""


def find_suspicions(status: StatusDocument) -> tuple[Suspicion, ...]:
    """The causes of drift, then what is missing, then foreign resources; of all hosts."""
    return (*_drifted(status), *_missing(status), *_foreign(status))


def _drifted(status: StatusDocument) -> Iterator[Suspicion]:
    for host in status.hosts:
        for item in host.items:
            roots = (one for one in item.differences if not one.follows_from) if item.state == DRIFTED else ()
            yield from (Suspicion(host.host, str(item.subject), render_difference(one)) for one in roots)


def _missing(status: StatusDocument) -> Iterator[Suspicion]:
    for host in status.hosts:
        absent = (item for item in host.items if item.state == MISSING)
        unexplained = (item for item in absent if not all(is_explained_elsewhere(one, item.subject) for one in item.differences))
        yield from (Suspicion(host.host, str(item.subject), "is missing") for item in unexplained)


def _foreign(status: StatusDocument) -> Iterator[Suspicion]:
    for host in status.hosts:
        for one in host.foreign:
            yield Suspicion(host.host, f"foreign {one.kind}", f"{one.name} {one.detail}".strip(), one.help_text)


def render_suspicions(causes: Sequence[Suspicion], palette: Palette) -> Iterator[str]:
    """The lines for users."""
    if not causes:
        return
    yield palette.bold("likely cause:")
    for one in causes[:SHOWN]:
        host = LAB if one.host == LAB else f"host {one.host}"
        where = host if one.subject in (LAB, "host") else f"{host}, {one.subject}"
        separator = " " if one.text.startswith("is ") else ": "
        yield palette.yellow(f"  {visible_line(f'{where}{separator}{one.text}')}")
        if one.help_text:
            yield f"    help: {visible_line(one.help_text)}"
    if len(causes) > SHOWN:
        yield f"  and {len(causes) - SHOWN:,} more"
    yield "  `netctl status` says more, and `netctl apply` repairs what has drifted"
