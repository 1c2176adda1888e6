"""nftables: one transaction from text, a dry run of it, and what is live of our tables. Called by the executor and the snapshot.

Text goes in through libnftables, in this process: a command line would cost a fork and 10 ms more at the end of each run. What
is live is read raw (`kernel.nftdump`). Whether a table is as it should be is found by loading its program into a throwaway
namespace and comparing the two, so that no state file and no second description of the ruleset is needed.

A context's socket is opened when it is made and stays in that namespace, so each is made in a thread that has entered it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from reconciler.errors import HostError
from reconciler.kernel.namespaces import CLONE_NEWNET, run_in_thread
from reconciler.kernel.nftdump import Structure, TableReader
from reconciler.kinds.firewall_program import SETS, check_element, render_table
from reconciler.state.snapshot import TableInfo
from reconciler.state.steps import NftCommand, StepError

LIBRARY = "libnftables.so.1"
_PLACE = re.compile(r"^(?:internal|/dev/stdin|<cmdline>):(\d+):\d+(?:-\d+)?: (?:Error: )?(.*)$", re.MULTILINE)
_ELEMENT = re.compile(r"((?:add|delete) element \S+ \S+ \S+) \{ (.*) \}")


class NftSession:
    """A libnftables context in the namespace of the thread that makes it. One thread at a time may use it."""

    def __init__(self) -> None:
        """HostError where libnftables or its binding is not there."""
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise HostError(f"{LIBRARY} is missing on this host", "apt-get install libnftables1") from error
        try:
            from nftables import Nftables
        except ImportError as error:
            raise HostError("the Python module nftables is missing", "pip install oxl-libnftables") from error
        self._nft = Nftables(LIBRARY)
        # The binding is older than the library, and has no word for a dry run.
        self._set_dry_run = library.nft_ctx_set_dry_run
        self._set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
        self._context = self._nft._Nftables__ctx  # noqa: SLF001  the binding shows its context to nobody

    def run(self, steps: Sequence[NftCommand]) -> None:
        """All steps as one transaction: all are done, or none. StepError where the kernel or nft refuses one."""
        text, owners = join_commands(steps)
        fault = self._command(text)
        if fault:
            raise StepError(steps[owners[min(fault.line, len(owners)) - 1]], fault.message)

    def check(self, steps: Sequence[NftCommand]) -> str:
        """What the kernel would say to the transaction, "" for nothing. It sees the request, and does not commit it."""
        text, _ = join_commands(steps)
        self._set_dry_run(self._context, True)
        try:
            fault = self._command(text)
        finally:
            self._set_dry_run(self._context, False)
        return fault.message if fault else ""

    def _command(self, text: str) -> _Fault | None:
        status, _, words = self._nft.cmd(text)
        return None if status == 0 else _parse_fault(words)


@dataclass(frozen=True, slots=True)
class _Fault:
    line: int
    message: str


def _parse_fault(words: str) -> _Fault:
    """The first complaint of nft's: the line it means (from 1), and its sentence with the text it shows."""
    place = _PLACE.search(words)
    line = int(place[1]) if place else 1
    lines = [part.strip() for part in words.strip().splitlines() if part.strip(" ^~\t")]
    sentence = place[2] if place else (lines[0] if lines else "no reason given")
    shown = lines[1] if len(lines) > 1 else ""
    return _Fault(line, f"nft: {sentence}" + (f" ({shown[:200]})" if shown and shown != sentence else ""))


def join_commands(steps: Sequence[NftCommand]) -> tuple[str, list[int]]:
    """One text of many steps, and for each of its lines the index of the step that it comes from.

    Elements that are added to, or removed from, the same set in a row become one command with many elements: nft needs
    three times as long for them one by one.
    """
    lines: list[str] = []
    owners: list[int] = []
    groups: dict[str, tuple[int, list[str]]] = {}

    def close_groups() -> None:
        for head, (owner, elements) in groups.items():
            lines.append(f"{head} {{ {', '.join(elements)} }}")
            owners.append(owner)
        groups.clear()

    verb = ""
    for index, step in enumerate(steps):
        for line in step.text.splitlines():
            element = _ELEMENT.fullmatch(line)
            # The sets of a run are independent of each other, but what is deleted and added again must keep its order.
            if groups and (element is None or not line.startswith(verb)):
                close_groups()
            if element is None:
                lines.append(line)
                owners.append(index)
            else:
                verb = line.partition(" ")[0]
                groups.setdefault(element[1], (index, []))[1].append(element[2])
    close_groups()
    return "\n".join(lines) + "\n", owners


# --- reading ----------------------------------------------------------------------------------------------------------


def read_tables(reader: TableReader, topology: str) -> tuple[TableInfo, ...]:
    """The tables of the topology that are live in the reader's namespace. HostError where they cannot be read."""
    name = f"netctl-{topology}"
    found = []
    for family in SETS:
        dump = reader.read_table(family, name)
        if dump is None:
            continue
        elements = tuple(element for element in dump.elements if _is_ours(family, element))
        # An element that our grammar does not know was put there by somebody else; only a new table is free of it.
        intact = len(elements) == len(dump.elements) and dump.structure == read_program(family)
        found.append(TableInfo(family, name, intact, elements))
    return tuple(found)


def _is_ours(family: str, element: tuple[str, str, str]) -> bool:
    try:
        check_element(family, *element)
    except ValueError:
        return False
    return True


@cache
def read_program(family: str) -> Structure:
    """The structure of the program as this kernel has it after loading; read once in a process, in a throwaway namespace."""

    def load() -> Structure:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise HostError("a network namespace cannot be made", "netctl needs root on this host")
        reader = TableReader()
        try:
            NftSession().run((NftCommand("", render_table(family, "program")),))
            dump = reader.read_table(family, "netctl-program")
        except StepError as error:
            raise HostError(f"this kernel cannot filter as netctl needs it: {error.message}") from error
        finally:
            reader.close()
        if dump is None:
            raise HostError("a table that was loaded cannot be read back")
        return dump.structure

    return run_in_thread(load)


def missing_features(families: Iterable[str] = tuple(SETS)) -> tuple[str, ...]:
    """What this kernel lacks for our programs, in a sentence each; empty where it has all. Nothing is committed anywhere."""
    faults = []
    for family in families:
        try:
            read_program(family)
        except HostError as error:
            faults.append(error.message)
    return tuple(faults)
