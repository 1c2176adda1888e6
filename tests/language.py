"""The language of the project: words to avoid with what to write instead, and the length of sentences. `make lint` runs it.

It reads the documents, and the docstrings and comments of the package, the tests and the benchmarks. Of the package it also reads
the texts that users read (errors, help lines, headings of a plan). Of the tests and the benchmarks it also reads the names of
files, classes and functions. Code, in a document or between backticks, is not prose. CONTRIBUTING.md says how to write.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "tests/README.md")
PACKAGE = "reconciler"
BESIDE_THE_PACKAGE = ("tests", "benchmarks")

WORDS = {
    "somebody": "the user, an administrator, another program",
    "someone": "the user, an administrator, another program",
    "nobody": "no user, no container, no host",
    "anybody": "any user, any container, any node",
    "everybody": "all users, all containers, all hosts",
    "heed": "follow, react to",
    "heeds": "follows, reacts to",
    "told": "reported, printed, notified",
    "tells": "reports, states",
    "belongings": "link configuration",
    "anew": "again; of a thing: re-created",
    "made again": "re-created",
    "boxes": "disjoint intervals",
    "goes along": "is deleted with",
    "go along": "are deleted with",
    "takes along": "deletes, too",
    "taken along": "deleted with",
    "in the way of": "conflicts with",
    "in the place of": "in place of, instead of",
    "of ours": "owned, of netctl's",
    "let go of": "delete, release",
    "lets go of": "deletes, releases",
    "take back": "roll back",
    "takes back": "rolls back",
    "taken back": "rolled back",
    "takes itself back": "rolls back",
    "takes over": "adopts, continues",
    "put back": "restore",
    "puts back": "restores",
    "go back": "roll back",
    "goes back": "rolls back",
    "gives way": "is moved, is replaced",
    "give way": "are moved, are replaced",
    "let alone": "ignore",
    "lets alone": "ignores",
    "mend": "repair",
    "whoever": "a user who, a program that",
    "far side": "remote host",
    "far end": "remote end",
    "near end": "local end",
    "over there": "on that host",
    "obstacles": "foreign resources",
    "abilities": "capabilities",
    "has no say": "controls nothing",
    "borrowed": "spoofed",
    "leg": "host subnet",
    "legs": "host subnets",
    "station": "remote endpoint",
    "stations": "remote endpoints",
    "for ever": "without end",
}
"""Each word that is not written, and what is written in its place."""

_WORDS = re.compile(rf"(?<![\w-])(?:{'|'.join(sorted(WORDS, key=len, reverse=True))})(?![\w-])", re.IGNORECASE)

_SENTENCE_END = re.compile(r"(?<=[.!?])[)\"]*\s+(?=[\"(]*(?:[A-Z0-9/]|netctl|ovs|libyaml|nft |docs/))")

SENTENCE_MAX_WORDS = 25


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of prose, and where it starts."""

    file: Path
    line: int
    words: str

    def __str__(self) -> str:
        """For an editor: file and line first."""
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    """All documents for users and maintainers."""
    return sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern))


def find_modules(*directories: str) -> list[Path]:
    """All Python files under the directories."""
    return sorted(path for directory in directories for path in (ROOT / directory).rglob("*.py"))


# --- documents --------------------------------------------------------------------------------------------------------


def read_prose(file: Path) -> Iterator[Text]:
    """The paragraphs, list items and table cells of a document; of the changelog, those that are not released yet."""
    text = file.read_text()
    if file.name == "CHANGELOG.md":
        text = "\n## [".join(text.split("\n## [")[:2])  # released versions stay as they were
    yield from split_prose(file, text)


def split_prose(file: Path, text: str) -> Iterator[Text]:
    """The same of a text, with code left out: a span counts as one word."""
    fenced, start, held = False, 0, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.startswith("```"):
            fenced = not fenced
        ends = fenced or not line.strip() or line.startswith(("#", "|", "```")) or re.match(r"\s*(-|\d+\.) ", line)
        if ends and held:
            yield Text(file, start, _plain(" ".join(held)))
            held = []
        if fenced or line.startswith(("```", "    ")):
            continue
        if line.startswith("|"):
            yield from (Text(file, number, _plain(cell)) for cell in re.split(r"(?<!\\)\|", line))
        elif line.strip():
            start = start if held else number
            held.append(re.sub(r"^\s*(-|\d+\.|#+) ", "", line).strip())


def _plain(text: str) -> str:
    text = re.sub(r"``.+?``|`[^`]*`", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return text.replace("**", "").replace("*", "").strip()


def split_sentences(text: str) -> list[str]:
    """A semicolon or a colon between two sentences does not end one: it is how a long one hides."""
    return [each for each in _SENTENCE_END.split(text) if each]


def count_words(sentence: str) -> int:
    """Words have a letter or a digit."""
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def find_long(texts: Iterable[Text]) -> list[tuple[Text, str]]:
    """The sentences with more words than are allowed."""
    return [
        (text, sentence)
        for text in texts
        for sentence in split_sentences(text.words)
        if count_words(sentence) > SENTENCE_MAX_WORDS
    ]


# --- docstrings and comments ------------------------------------------------------------------------------------------


def read_docs(file: Path) -> Iterator[Text]:
    """The paragraphs of a module's docstrings, those of its fields included, and its comments."""
    yield from _read_docstrings(file)
    yield from _read_comments(file)


def _read_docstrings(file: Path) -> Iterator[Text]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from _shift(split_prose(file, inspect.cleandoc(node.value.value)), node.lineno - 1)


def _read_comments(file: Path) -> Iterator[Text]:
    """Comments on lines of their own that follow each other are one text; one behind code is a text of its own."""
    block, start, last = list[str](), 0, 0
    with tokenize.open(file) as source:
        tokens = [token for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.COMMENT]
    for token in tokens:
        line, column = token.start
        is_alone = not token.line[:column].strip()
        if block and not (is_alone and line == last + 1):
            yield from _shift(split_prose(file, "\n".join(block)), start - 1)
            block = []
        start = start if block else line
        block.append(token.string.lstrip("#").strip())
        last = line if is_alone else 0
    if block:
        yield from _shift(split_prose(file, "\n".join(block)), start - 1)


def _shift(texts: Iterable[Text], lines: int) -> Iterator[Text]:
    return (replace(text, line=text.line + lines) for text in texts)


def read_names(file: Path) -> Iterator[Text]:
    """The name of a module, and the names of its classes and functions, as the words that they consist of."""
    yield Text(file, 1, _split_name(file.stem))
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield Text(file, node.lineno, _split_name(node.name))


def _split_name(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")


# --- texts of the package ---------------------------------------------------------------------------------------------


def read_texts(file: Path) -> Iterator[Text]:
    """The literals of a module that read as prose: with a space, and no docstring."""
    tree = ast.parse(file.read_text())
    read = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            read |= {id(part) for part in node.values}
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in read:
            text = node.value
        else:
            continue
        if " " in text:
            yield Text(file, node.lineno, _plain(text))


def find_words(texts: Iterable[Text]) -> list[tuple[Text, str]]:
    """Each use of a word that is to be avoided."""
    return [(text, found[0].lower()) for text in texts for found in _WORDS.finditer(text.words)]


def find_faults() -> Iterator[str]:
    """What lint reports, each with its place. Texts have no limit of length: a message may list hosts or commands."""
    package, beside = find_modules(PACKAGE), find_modules(*BESIDE_THE_PACKAGE)
    prose = [text for file in documents() for text in read_prose(file)]
    prose += [text for file in (*package, *beside) for text in read_docs(file)]
    texts = [text for file in package for text in read_texts(file)]
    texts += [text for file in beside for text in read_names(file)]
    yield from (f"{text}: `{word}`: write {WORDS[word]}" for text, word in find_words([*prose, *texts]))
    for text, sentence in find_long(prose):
        yield f"{text}: {count_words(sentence)} words, and {SENTENCE_MAX_WORDS} are allowed: {sentence}"


def main() -> int:
    """1 if there is a fault, 0 otherwise."""
    faults = list(find_faults())
    print("".join(f"{fault}\n" for fault in faults), end="")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
