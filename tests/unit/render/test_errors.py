"""Errors as users see them."""

from __future__ import annotations

from reconciler.errors import Fault, HostError, Position, TopologyError
from reconciler.render.colour import Palette
from reconciler.render.errors import render_error, source_and_caret

SOURCE = "name: shop\nsubnets:\n\tfront: {cidr: 10.44.0.1/24}\n  # 東京: x\n"


def test_of_very_many_faults_some_are_shown() -> None:
    """A generated file may have a fault on each line: the first fifty are shown."""
    source = "x\n" * 1000
    faults = tuple(Fault(Position(line, 1), f"fault {line}") for line in range(1, 1001))
    text = render_error(TopologyError("a.yaml", source, faults))
    assert text.count("error:") == 50
    assert "a.yaml:50:1:" in text
    assert "a.yaml:51:1:" not in text


def test_fault_shows_place_line_caret_and_help() -> None:
    """A fault is printed with its place, its line, a caret under the column, and what to write."""
    fault = Fault(Position(3, 16), "10.44.0.1/24 has host bits set", "write 10.44.0.0/24")
    assert render_error(TopologyError("topology.yaml", SOURCE, (fault,))) == (
        "topology.yaml:3:16: error: 10.44.0.1/24 has host bits set\n"
        "    3 |     front: {cidr: 10.44.0.1/24}\n"
        "      |                   ^\n"
        "  help: write 10.44.0.0/24"
    )


def test_caret_stands_under_its_character() -> None:
    """Tabs count as they are shown, wide characters as two columns, combining ones as none."""
    assert source_and_caret("\ta: b", 2) == ("    a: b", "    ^")
    assert source_and_caret("東京: x", 5) == ("東京: x", "      ^")
    assert source_and_caret("e\u0301: x", 5)[1] == "   ^"


def test_long_lines_are_cut_around_the_fault() -> None:
    """A line of a megabyte is shown as one line of the terminal, the caret still under its character."""
    line = "a" * 500_000 + "X" + "b" * 500_000
    shown, caret = source_and_caret(line, 500_001)
    assert len(shown) < 130
    assert shown[len(caret) - 1] == "X"


def test_faults_stand_in_the_order_of_the_file() -> None:
    """All faults are printed, first things first."""
    faults = (Fault(Position(3, 1), "second"), Fault(Position(1, 1), "first"))
    text = render_error(TopologyError("t.yaml", SOURCE, faults))
    assert text.index("first") < text.index("second")


def test_place_beyond_the_file() -> None:
    """A fault at the end of the file, or of an empty one, has no line to show and is still reported."""
    assert render_error(TopologyError("t.yaml", "", (Fault(Position(1, 1), "empty"),))) == "t.yaml:1:1: error: empty"


def test_control_characters_do_not_reach_the_terminal() -> None:
    """An escape sequence in a file or a message is made visible."""
    fault = Fault(Position(1, 1), "bad \x1b[31mname")
    assert "\x1b" not in render_error(TopologyError("t.yaml", "a: \x1b[2J\n", (fault,)))


def test_other_errors_are_a_sentence_and_help() -> None:
    """An error that is no file's fault is `error:` and `help:`; colour is added on a terminal only."""
    error = HostError("dockerd is not running", "systemctl start docker")
    assert render_error(error) == "error: dockerd is not running\nhelp: systemctl start docker"
    assert "\x1b[31merror:\x1b[0m" in render_error(error, Palette(enabled=True))


def test_a_help_of_several_lines_is_one_help() -> None:
    """An example of several lines stands below its sentence, as it is to be written."""
    fault = Fault(Position(1, 1), "the file is empty", "write:\nversion: 1\nname: shop")
    assert render_error(TopologyError("t.yaml", "", (fault,))).endswith("  help: write:\n        version: 1\n        name: shop")
