"""The unit of systemd: a path is one word in it, whatever characters it has."""

from __future__ import annotations

import pytest

from reconciler.agent.unit import quote_word, render_unit
from reconciler.errors import UsageError


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/etc/netctl/shop.yaml", "/etc/netctl/shop.yaml"),
        ("/srv/my shop.yaml", '"/srv/my shop.yaml"'),
        ("/srv/100%i.yaml", '"/srv/100%%i.yaml"'),
        ("/srv/$HOME.yaml", '"/srv/$$HOME.yaml"'),
        ('/srv/a"; b\\c', '"/srv/a\\"; b\\\\c"'),
    ],
)
def test_a_path_is_one_word(word: str, written: str) -> None:
    """Spaces, quotes, backslashes, variables and specifiers mean nothing in it."""
    assert quote_word(word) == written
    assert f" agent {written}\n" in render_unit(word)


def test_a_line_break_is_rejected() -> None:
    """A path with one would add a line of its own to the unit, which root runs."""
    with pytest.raises(UsageError, match="control character"):
        render_unit("/srv/a\nExecStartPre=/bin/sh")
