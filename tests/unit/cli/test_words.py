"""The words that people bring from other tools: accepted where they mean the same, answered with a hint where not."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.cli.main import COMMANDS
from reconciler.cli.parser import parse_arguments
from reconciler.cli.words import split_exec
from tests.harness.netctl import exec_netctl


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETCTL_FILE", raising=False)


def parse(*words: str) -> Namespace:
    return parse_arguments(words, COMMANDS)[1]


@pytest.mark.parametrize(
    "words",
    [
        ("diff", "shop.yml", "--host", "alpha", "-v"),
        ("diff", "-f", "shop.yml", "--host", "alpha", "-v"),
        ("-f", "shop.yml", "-v", "diff", "--host", "alpha"),
        ("--host", "alpha", "--file=shop.yml", "diff", "-v"),
        ("-v", "plan", "--host=alpha", "--file", "shop.yml"),
    ],
)
def test_options_stand_before_or_after_the_command(words: Sequence[str]) -> None:
    """The order of options and the command does not matter, and the file is an argument or an option."""
    options = parse(*words)
    assert (options.command, options.file, options.host, options.verbose) == ("diff", "shop.yml", "alpha", True)


@pytest.mark.parametrize(("word", "command"), [("plan", "diff"), ("up", "apply"), ("down", "destroy")])
def test_words_of_other_tools_that_mean_the_same(word: str, command: str) -> None:
    """They run netctl's command."""
    assert parse(word, "-f", "shop.yaml").command == command


def test_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NETCTL_FILE, else topology.yaml, else topology.yml; a file that the command line names precedes all of them."""
    assert parse("diff").file == "topology.yaml", "as a message names it if there is none"
    (tmp_path / "topology.yml").touch()
    assert parse("diff").file == "topology.yml"
    (tmp_path / "topology.yaml").touch()
    assert parse("diff").file == "topology.yaml"
    monkeypatch.setenv("NETCTL_FILE", "mine.yaml")
    assert parse("diff").file == "mine.yaml"
    assert parse("diff", "shop.yaml").file == "shop.yaml"
    assert parse("destroy").file is None, "which may have --name instead"
    assert parse("init").file is None, "a file that exists is never written"


@pytest.mark.parametrize(
    ("words", "file", "names"),
    [
        (("web", "db"), "topology.yaml", ["web", "db"]),
        (("shop.yaml", "web"), "shop.yaml", ["web"]),
        (("web", "dir/shop"), "dir/shop", ["web"]),
        (("-", "web"), "-", ["web"]),
        (("plain", "web"), "plain", ["web"]),
        (("web", "plain"), "topology.yaml", ["web", "plain"]),
        (("-f", "plain", "web", "--drifted", "db"), "plain", ["web", "db"]),
    ],
)
def test_a_file_among_names(words: Sequence[str], file: str, names: list[str], tmp_path: Path) -> None:
    """A file has a dot or a slash, which no name has; or it comes first, and exists."""
    (tmp_path / "plain").touch()
    options = parse("status", *words)
    assert (options.file, options.names) == (file, names)


@pytest.mark.parametrize(
    ("words", "own", "command"),
    [
        (["web", "ip", "-br", "link"], ["web"], ["ip", "-br", "link"]),
        (["-it", "web", "sh"], ["web"], ["sh"]),
        (["web", "sh", "-c", "echo -- $1"], ["web"], ["sh", "-c", "echo -- $1"]),
        (["web", "--", "sh", "--", "x"], ["web"], ["sh", "--", "x"]),
        (["web", "-f", "a.yaml", "--", "ip", "a"], ["web", "-f", "a.yaml"], ["ip", "a"]),
        (["--host", "alpha", "ss", "-lnt"], ["--host", "alpha"], ["ss", "-lnt"]),
        (["--host=alpha", "--", "ss"], ["--host=alpha"], ["ss"]),
        (["web"], ["web"], []),
    ],
)
def test_exec_needs_no_dashes(words: list[str], own: list[str], command: list[str]) -> None:
    """The command begins with the first word after the container, or after `--`; from there on nothing is netctl's."""
    assert split_exec(words, {"-f", "--file", "--host"}) == (own, command)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ps",), "`netctl ls`"),
        (("rm",), "`netctl destroy`"),
        (("up", "-d"), "leave it out"),
        (("apply", "--auto-approve"), "write --yes"),
        (("diff", "a.yaml", "-f", "b.yaml"), "given twice"),
        (("diff", "-f", ""), "is empty"),
        (("agent", "-"), "standard input"),
    ],
)
def test_words_that_mean_something_else_get_a_hint(words: Sequence[str], said: str) -> None:
    """Status 2, and what to write."""
    done = exec_netctl(*words)
    assert done.status == 2
    assert said in done.err


def test_a_file_from_standard_input(tmp_path: Path) -> None:
    """`-` reads it there; a fault is at its line of `<stdin>`."""
    bad = exec_netctl("validate", "-", stdin="version: 1\nname: 12\n")
    assert (bad.status, "<stdin>:2:7: error:" in bad.err) == (2, True)
    good = exec_netctl("validate", "-", stdin="version: 1\nname: shop\nhosts: {a: {connect: lab, address: 192.0.2.11}}\n")
    assert good.status == 0, good.err
