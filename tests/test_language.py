"""The language check itself: it finds each word in prose and in texts, and it leaves code alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import language

FILE = language.ROOT / "docs/example.md"


def words_of(text: str) -> list[str]:
    return [word for _, word in language.find_words(language.split_prose(FILE, text))]


@pytest.mark.parametrize("word", language.WORDS)
def test_each_word_is_found(word: str) -> None:
    """In a paragraph, over the end of a line, in a list, in a table, and as the first word of a sentence."""
    broken = word.replace(" ", "\n")
    for form in ("It is {}.", "- one\n- {}", "| a | {} |", "It was\n{}, and is."):
        assert word in words_of(form.format(word)), form
    for text in (f"It is\n{broken} here.", f"{word.capitalize()} it is."):
        assert word in words_of(text), text


@pytest.mark.parametrize("text", ["`told`", "```sh\ntold\n```", "an untold story", "told-you"])
def test_code_and_other_words_are_left_alone(text: str) -> None:
    """What stands between backticks or in a block is code; a word within a longer one is another word."""
    assert words_of(text) == []


def test_place_of_a_fault_is_its_paragraph() -> None:
    """An editor opens the file at the paragraph."""
    ((text, _),) = language.find_words(language.split_prose(FILE, "# Title\n\nOne.\n\nTwo is\ntold.\n"))
    assert str(text) == "docs/example.md:5"


@pytest.mark.parametrize(("sentence", "count"), [("One two three.", 3), ("A `long span of code` - and more.", 4), ("1 + 1", 2)])
def test_words_are_counted(sentence: str, count: int) -> None:
    """A span of code is one word, and a sign is none."""
    (text,) = language.split_prose(FILE, sentence)
    assert language.count_words(text.words) == count


def test_long_sentence_is_found() -> None:
    """Of two sentences in a paragraph, the one with more than 25 words."""
    long = " ".join(["word"] * 26) + "."
    ((_, sentence),) = language.find_long(language.split_prose(FILE, f"Short one. {long.capitalize()}"))
    assert sentence.lower() == long
    assert language.find_long(language.split_prose(FILE, f"{' '.join(['word'] * 25)}.")) == []


def test_texts_of_a_module_are_its_literals(tmp_path: Path) -> None:
    """A message and the parts of an f-string count; docstrings, comments and names do not."""
    module = tmp_path / "module.py"
    head = ('"""He told."""', "", "def told() -> str:", '    """It told."""')
    lines = (*head, '    return f"`{1}` told `{2}`" + "not told"  # told')
    module.write_text("\n".join(lines))
    assert [text.line for text, _ in language.find_words(language.read_texts(module))] == [5, 5]


def test_docs_of_a_module_are_its_docstrings_and_comments(tmp_path: Path) -> None:
    """Docstrings of a module, a class, a field and a function, a block of comments, and a comment behind code; no literals."""
    module = tmp_path / "module.py"
    module.write_text(
        '"""Two\n\nIt is\ntold.\n\n    code = told\n"""\n'
        'class A:\n    """It told."""\n\n    field = "not told"\n    """Told."""\n\n'
        "    # It is\n    # told.\n    size = 1  # told\n    # told\n"
    )
    found = language.find_words(language.read_docs(module))
    assert [(text.line, word) for text, word in found] == [(line, "told") for line in (3, 9, 12, 14, 16, 17)]


def test_names_of_a_module_are_its_files_classes_and_functions(tmp_path: Path) -> None:
    """A name is read as its words, in either form; arguments and variables are not read."""
    module = tmp_path / "test_who_is_told.py"
    lines = ("class TheFarSide:", "    def far_side(self, told: str) -> None:", "        anew = told", "    def untold(self): 0")
    module.write_text("\n".join(lines))
    found = language.find_words(language.read_names(module))
    assert [(text.line, word) for text, word in found] == [(1, "told"), (1, "far side"), (2, "far side")]


def test_tests_and_benchmarks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their docstrings, comments and names are held to the same words and the same length as those of the package."""
    long = " ".join(["word"] * 26)
    for directory in (language.PACKAGE, *language.BESIDE_THE_PACKAGE):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "a.py").write_text(f'"""It told."""\n# {long}\ndef anew() -> None:\n    """It is."""\n')
    monkeypatch.setattr(language, "ROOT", tmp_path)
    found = [":".join(fault.split(":")[:2]) for fault in language.find_faults()]
    lines = {"reconciler": (1, 2), "tests": (1, 2, 3), "benchmarks": (1, 2, 3)}
    assert sorted(found) == sorted(f"{directory}/a.py:{line}" for directory in lines for line in lines[directory])


def test_long_comment_is_found(tmp_path: Path) -> None:
    """A sentence over several lines of a comment counts as one; a blank comment line ends it."""
    module = tmp_path / "module.py"
    words = " ".join(["word"] * 13)
    module.write_text(f"# {words}\n# {words}\n\n# {words}\n#\n# {words}\n")
    ((text, _),) = language.find_long(language.read_docs(module))
    assert text.line == 1


def test_released_versions_are_not_read() -> None:
    """A version of the changelog that is out stays as it was."""
    lines = (language.ROOT / "CHANGELOG.md").read_text().splitlines()
    released = next(number for number, line in enumerate(lines, 1) if line.startswith("## [0"))
    assert all(text.line < released for text in language.read_prose(language.ROOT / "CHANGELOG.md"))


def test_language_of_the_project() -> None:
    """No document, docstring, comment, message or name has a word to avoid, and no sentence of the first three is too long."""
    assert list(language.find_faults()) == []
