"""With `--wait` a shell runs the words that Compose or the image would have run, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.compose.model import ComposeService, Project
from reconciler.compose.override_text import Words
from reconciler.compose.waits import ImageWords, find_words, image_of, needs_image
from reconciler.errors import UsageError

IMAGE = ImageWords(("/entry.sh",), ("serve", "$HOME"))


def service(**keys: Any) -> ComposeService:
    return ComposeService.model_validate({"image": "web", **keys})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, Words(("/entry.sh",), ("serve", "$$HOME"))),
        ({"command": ("run", "$$X")}, Words(("/entry.sh",), ("run", "$$X"))),
        ({"command": ()}, Words(("/entry.sh",), ())),
        ({"entrypoint": ("/own",)}, Words(("/own",), ())),
        ({"entrypoint": ("/own",), "command": ("a b",)}, Words(("/own",), ("a b",))),
        ({"entrypoint": (), "command": ("a",)}, Words((), ("a",))),
    ],
)
def test_the_words_are_those_of_compose(given: dict[str, Any], words: Words) -> None:
    """An entrypoint of the file ends the image's command, a command keeps the image's entrypoint (as `docker run` does)."""
    assert needs_image(service(**given)) == ("entrypoint" not in given)
    assert find_words(service(**given), "web", IMAGE if needs_image(service(**given)) else None) == words


def test_an_image_that_runs_nothing_is_an_error() -> None:
    """A shell without words would end at once."""
    with pytest.raises(UsageError, match="cannot write the wait of web: it runs no program"):
        find_words(service(), "web", ImageWords((), ()))


def test_an_image_that_compose_builds_has_compose_s_name() -> None:
    """The project and the service, with a hyphen."""
    project = Project.model_validate({"name": "shop", "services": {"web": {}, "db": {"image": "pg"}}})
    assert (image_of(project, "web"), image_of(project, "db")) == ("shop-web", "pg")
