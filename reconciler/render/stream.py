"""What may leave netctl by standard output and standard error: text that steers no terminal.

Texts come from files, hosts, engines and programs, and are printed at fifty places; where one of these forgets that, the stream
does not. Only netctl's own few colours pass, where the stream wants colour.
"""

from __future__ import annotations

import re

from reconciler.state.visible import visible

_COLOURS = re.compile("(\x1b\\[(?:0|1|2|31|32|33)m)")
"""What `colour.Palette` makes."""


def filter_text(text: str, *, has_colour: bool) -> str:
    """The text with all that is not printable as escapes; line breaks and tabs stay."""
    if not has_colour:
        return visible(text)
    return "".join(part if _COLOURS.fullmatch(part) else visible(part) for part in _COLOURS.split(text))
