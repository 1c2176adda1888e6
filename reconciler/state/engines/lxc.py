"""LXC's command lines. Its place is the directory of its containers (lxc.lxcpath), an option of each of its programs."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.state.engines.base import ContainerOrder, EngineCommands
from reconciler.state.lxc_config import Mark, create_commands
from reconciler.state.shell import join


class LxcCommands(EngineCommands):
    """Of LXC, which has a program for each verb."""

    __slots__ = ()
    has_socket = False

    def create(self, command: tuple[str, ...], order: ContainerOrder) -> Iterator[str]:
        """The container's files, then its start."""
        directory = f"{self._place(command)}/{order.engine_name}"
        mark = Mark(order.topology, order.host_key, order.container, order.spec, joins=order.joins)
        yield from create_commands(mark, order.spec, directory, order.owner)
        yield self.start(command, order.engine_name)

    def start(self, command: tuple[str, ...], engine_name: str) -> str:
        """lxc-start(1)."""
        return self._line("start", command, engine_name)

    def stop(self, command: tuple[str, ...], engine_name: str) -> str:
        """lxc-stop(1)."""
        return self._line("stop", command, engine_name, "--timeout", "10")

    def remove(self, command: tuple[str, ...], engine_name: str) -> Iterator[str]:
        """Its directory is all that it has."""
        yield f"{self.stop(command, engine_name)} || true"
        yield join(["rm", "-r", f"{self._place(command)}/{engine_name}"])

    def pid(self, command: tuple[str, ...], engine_name: str) -> str:
        """lxc-info(1)."""
        return self._line("info", command, engine_name, "--pid", "--no-humanize")

    def logs(self, engine_name: str) -> str:
        """It keeps none, and says why if it starts in the foreground."""
        return f"lxc-start -n {engine_name} -F"

    def start_words(self, engine_name: str) -> str:
        """lxc-start(1)."""
        return f"lxc-start {engine_name}"

    def _line(self, verb: str, command: tuple[str, ...], engine_name: str, *options: str) -> str:
        return join([f"lxc-{verb}", "-P", self._place(command), "-n", engine_name, *options])

    def _place(self, command: tuple[str, ...]) -> str:
        """The last word of a command that names a place."""
        return command[-1] if len(command) > 1 else self.usual_place
