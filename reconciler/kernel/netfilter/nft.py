"""nftables: one transaction from text, a dry run of it, and the live contents of netctl's tables.

libnftables reads the text in this process: a command line would cost a fork and 10 ms more at the end of each run. Live
tables are read raw (`kernel.netfilter.table_dump`). To check a table, the module loads its program into a temporary
namespace and compares the two. So it needs no state file and no second description of the ruleset.

The socket of a context is opened with it and stays in that namespace. So a thread that has entered the namespace
creates it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Sequence

from reconciler.errors import SHORT_OF_MEMORY, HostError
from reconciler.kernel.namespaces import leave_for_new, run_in_thread
from reconciler.kernel.netfilter.table_dump import Structure, TableDump, TableReader, names_of_difference
from reconciler.kinds.firewall.element_text import is_element
from reconciler.kinds.firewall.program import SETS, parse_table_name, render_table, table_name
from reconciler.state.snapshot import TableInfo
from reconciler.state.steps.firewall import NftCommand
from reconciler.state.steps.step import StepError
from reconciler.state.traffic import TrafficCount

LIBRARY = "libnftables.so.1"
NO_SUCH_FILE = "No such file"
"""The message of dlopen(3) for a missing library; a host without memory has another."""
PROBE = "probe"
"""The topology whose programs are loaded to test the kernel."""
_ELEMENT = re.compile(r"((?:add|delete) element \S+ \S+ \S+) \{ (.*) \}")


class NftSession:
    """A libnftables context in the namespace of the thread that creates it. One thread at a time may use it."""

    def __init__(self) -> None:
        """HostError if libnftables or its binding is missing."""
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            if NO_SUCH_FILE in str(error):
                raise HostError(f"{LIBRARY} is missing on this host", "apt-get install libnftables1") from error
            raise HostError(f"cannot load {error}", SHORT_OF_MEMORY) from error
        try:
            from nftables import Nftables
        except ImportError as error:
            raise HostError("the Python module nftables is missing", "pip install oxl-libnftables") from error
        self._nft = Nftables(LIBRARY)
        # The binding is older than the library, and has no method for a dry run.
        self._set_dry_run = library.nft_ctx_set_dry_run
        self._set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
        self._context = self._nft._Nftables__ctx  # noqa: SLF001  the binding has no public access to its context

    def run(self, steps: Sequence[NftCommand]) -> None:
        """Run all steps as one transaction: all or none. StepError if the kernel or nft rejects one."""
        if self._command(join_commands(steps)):
            step, words = self._find_fault(steps)
            raise StepError(step, f"nft refuses `{shorten(step.text)}`: {words}")

    def check(self, steps: Sequence[NftCommand]) -> str:
        """The kernel's answer to the transaction, "" for success. The kernel checks the request, and does not commit it."""
        self._set_dry_run(self._context, True)
        try:
            return self._command(join_commands(steps))
        finally:
            self._set_dry_run(self._context, False)

    def list_rules(self, family: str, table: str, chain: str) -> dict[int, str]:
        """The text of a chain's rules by their handles; none if the chain cannot be listed."""
        self._nft.set_handle_output(True)
        try:
            status, text, _ = self._nft.cmd(f"list chain {family} {table} {chain}")
        finally:
            self._nft.set_handle_output(False)
        found = re.findall(r"^\t\t(\S.*?) # handle (\d+)$", str(text), re.MULTILINE) if status == 0 else []
        return {int(handle): words for words, handle in found}

    def _find_fault(self, steps: Sequence[NftCommand]) -> tuple[NftCommand, str]:
        """The step that makes the transaction fail, by bisection: libnftables 1.0.6 shows the wrong line of a text."""
        good, bad = 0, len(steps)
        words = self.check(steps) or "it failed once, and now succeeds"
        while bad - good > 1:
            middle = (good + bad) // 2
            fault = self.check(steps[:middle])
            if fault:
                bad, words = middle, fault
            else:
                good = middle
        return steps[bad - 1], words

    def _command(self, text: str) -> str:
        """The first sentence of nft's error message, "" for none."""
        status, _, words = self._nft.cmd(text)
        if status == 0:
            return ""
        return str(words).strip().partition("\n")[0].removeprefix("Error: ") or "no reason given"


def shorten(text: str) -> str:
    """The first line of a command's text, at most 120 characters of it."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 120 else line[:119] + "…"


def join_commands(steps: Sequence[NftCommand]) -> str:
    """The text of many steps.

    Consecutive elements that are added to, or removed from, the same set become one command with many elements. nft
    needs three times as long for single ones.
    """
    lines: list[str] = []
    groups: dict[str, list[str]] = {}

    def close_groups() -> None:
        lines.extend(f"{head} {{ {', '.join(elements)} }}" for head, elements in groups.items())
        groups.clear()

    verb = ""
    for line in (line for step in steps for line in step.text.splitlines()):
        element = _ELEMENT.fullmatch(line)
        # The sets of a run are independent, but an element that is deleted and added again must keep its order.
        if groups and (element is None or not line.startswith(verb)):
            close_groups()
        if element is None:
            lines.append(line)
        else:
            verb = line.partition(" ")[0]
            groups.setdefault(element[1], []).append(element[2])
    close_groups()
    return "\n".join(lines) + "\n"


# --- reading ----------------------------------------------------------------------------------------------------------


def read_tables(reader: TableReader, topology: str) -> tuple[TableInfo, ...]:
    """The topology's live tables in the reader's namespace. HostError if they cannot be read."""
    found = []
    for family, name in ((each, name) for each in SETS for name in reader.read_names(each)):
        if parse_table_name(name)[0] != topology:
            continue
        dump = reader.read_table(family, name)
        if dump is None:
            continue
        known = reader.memo.infos.get((family, name)) if reader.memo else None
        info = known[1] if known and known[0] is dump else _table_info(family, name, topology, dump)
        if reader.memo:
            reader.memo.infos[family, name] = dump, info
        found.append(info)
    return tuple(found)


def read_traffic(topology: str) -> tuple[TrafficCount, ...]:
    """What the topology's table in the namespace of this thread has counted. HostError if it cannot be read."""
    reader = TableReader()
    try:
        return reader.read_counters("inet", table_name(topology))
    finally:
        reader.close()


def _table_info(family: str, name: str, topology: str, dump: TableDump) -> TableInfo:
    """The table as netctl sees it. An element outside of the grammar is foreign; only a new table removes it."""
    elements = tuple(element for element in dump.elements if is_element(family, *element))
    program = read_program(family, topology)
    intact = len(elements) == len(dump.elements) and dump.structure == program
    strange = {f"set {element[0]}" for element in set(dump.elements) - set(elements)}
    changed = () if intact else tuple(sorted({*strange, *names_of_difference(dump.structure, program)}))
    return TableInfo(family, name, intact, elements, dump.hooks, changed)


_programs: dict[tuple[str, str], Structure] = {}
"""The programs read so far, by family and topology. They depend on the kernel alone."""


def read_program(family: str, topology: str) -> Structure:
    """The structure of the program as this kernel shows it after loading; read once in a process, in a temporary namespace."""
    if refusal := _load_programs((family,), topology).get(family):
        raise refusal
    return _programs[family, topology]


def _load_programs(families: Iterable[str], topology: str) -> dict[str, HostError]:
    """Read the unknown programs, and return by family the kernel's errors.

    All share one namespace: the kernel frees one slowly, and a user may have few.
    """
    unknown = [family for family in families if (family, topology) not in _programs]

    def load_all() -> dict[str, HostError]:
        leave_for_new()
        refused = {}
        for family in unknown:
            try:
                _programs[family, topology] = _load(family, topology)
            except HostError as error:
                refused[family] = error
        return refused

    return run_in_thread(load_all) if unknown else {}


def _load(family: str, topology: str) -> Structure:
    """Load a program in the namespace of this thread, and read it again."""
    reader = TableReader()
    try:
        NftSession().run((NftCommand("", render_table(family, table_name(topology))),))
        dump = reader.read_table(family, table_name(topology))
    except StepError as error:
        raise HostError(f"this kernel cannot filter as netctl needs it: {error.message}") from error
    finally:
        reader.close()
    if dump is None:
        raise HostError("cannot read a table that was just loaded")
    return dump.structure


def remember_programs(topology: str) -> None:
    """Read the programs of the topology's tables in advance: a rollback reads them, and may not get a namespace for it.

    HostError if there is none now. A program that the kernel rejects is no error: the kernel may have no fast path.
    """
    _load_programs(SETS, topology)


def missing_features(families: Iterable[str]) -> tuple[str, ...]:
    """The features that this kernel lacks for netctl's programs, one sentence each; empty if it has all. It commits nothing."""
    try:
        refused = list(_load_programs(families, PROBE).values())
    except HostError as error:  # no namespace to try them in
        refused = [error]
    faults = [f"{error.message}: {error.help_text}" if error.help_text else error.message for error in refused]
    return tuple(dict.fromkeys(faults))
