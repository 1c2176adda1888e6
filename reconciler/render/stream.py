"""The text of standard output and standard error: it steers no terminal.

Texts come from files, hosts, engines and programs, and are printed at fifty positions. If one of these does not escape,
the stream does. Only netctl's own few colours pass, if the stream wants colour.
"""

from __future__ import annotations

import re

from reconciler.state.visible import visible

_COLOURS = re.compile("(\x1b\\[(?:0|1|2|31|32|33)m)")
"""The escape sequences of `colour.Palette`."""


def filter_text(text: str, *, has_colour: bool) -> str:
    """The text with escapes for all that is not printable; line breaks and tabs stay."""
    if not has_colour:
        return visible(text)
    return "".join(part if _COLOURS.fullmatch(part) else visible(part) for part in _COLOURS.split(text))
