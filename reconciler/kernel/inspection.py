"""What Docker runs, for an import: its containers, its networks and its images, as the engine's API describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.errors import HostError
from reconciler.kernel.engines.docker import DockerEngine
from reconciler.kernel.engines.docker_connection import NOT_FOUND, EngineError

Description = Mapping[str, Any]


class InspectedEngine(DockerEngine):
    """An engine that is only read. It belongs to no topology, so no container is netctl's own."""

    def __init__(self, url: str) -> None:
        """`url` is the engine's socket."""
        super().__init__("docker", "", "", url)

    def describe_containers(self) -> tuple[Description, ...]:
        """All containers that run, sorted by name. One that ends meanwhile is left out."""
        with self._asking() as client:
            identities = [str(item["Id"]) for item in client.containers()]
        found = [one for identity in identities if (one := self._describe(identity)) is not None]
        return tuple(sorted(found, key=lambda one: str(one.get("Name"))))

    def describe_networks(self) -> tuple[Description, ...]:
        """All networks of the engine."""
        with self._asking() as client:
            return tuple(client.networks())

    def describe_images(self, names: Iterable[str]) -> dict[str, Description]:
        """The images by name. HostError that names those that the engine lacks."""
        found: dict[str, Description] = {}
        missing: list[str] = []
        for name in dict.fromkeys(names):
            try:
                with self._asking() as client:
                    found[name] = client.inspect_image(name)
            except EngineError as error:
                if error.status != NOT_FOUND:
                    raise
                missing.append(name)
        if missing:
            message = f"cannot write waits: what these images run is not known, because they are not here: {', '.join(missing)}"
            raise HostError(message, "docker compose pull, and docker compose build; then import again")
        return found

    def _describe(self, identity: str) -> Description | None:
        try:
            return self._inspect(identity)
        except EngineError as error:
            if error.status == NOT_FOUND:
                return None
            raise
