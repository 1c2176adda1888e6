"""The words that a service runs behind the shell that waits for its network: its own, or those of its image.

An entrypoint in a Compose file makes Compose drop the image's command, so the override repeats both.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.compose.model import ComposeService, Project
from reconciler.compose.override_text import Words
from reconciler.errors import UsageError


@dataclass(frozen=True, slots=True)
class ImageWords:
    """What an image runs by default."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...]


def image_of(project: Project, name: str) -> str:
    """The image of a service. Compose names one that it builds after the service."""
    return project.services[name].image or f"{project.name}-{name}"


def needs_image(service: ComposeService) -> bool:
    """Whether its words are not all in the Compose file."""
    return service.entrypoint is None


def find_words(service: ComposeService, name: str, image: ImageWords | None) -> Words:
    """The words of a service; `image` is None if the file has them all. UsageError if nothing says what it runs."""
    if image is None:
        words = Words(_words(service.entrypoint), _words(service.command))
    else:
        # An empty command in the file ends the image's, as `command: []` says in Compose.
        command = _words(service.command) if service.command is not None else _doubled(image.command)
        words = Words(_doubled(image.entrypoint), command)
    if not words.entrypoint + words.command:
        raise UsageError(f"cannot write the wait of {name}: it runs no program", "give it a `command` in the Compose file")
    return words


def _words(given: tuple[str, ...] | str | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else given or ()


def _doubled(words: tuple[str, ...]) -> tuple[str, ...]:
    """With `$` as Compose writes it; the normal form has its own words so already."""
    return tuple(word.replace("$", "$$") for word in words)
