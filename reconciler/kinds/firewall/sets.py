"""What a set or map of a table is: the types of its keys and values, and how nft(8) declares it."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.kinds.firewall.set_elements import SetElement

CONCATENATION = " . "
"""What stands between the parts of a key or value (nft(8), concatenations)."""
COUNT_MAX = 2**32 - 1
"""The largest limit of connections in an element (NFTA_CONNLIMIT_COUNT, linux/netfilter/nf_tables.h)."""


@dataclass(frozen=True, slots=True)
class SetSpec:
    """A set, or with `data` a map: the nft types of its key's and its data's parts, and whether parts may be ranges."""

    element: type[SetElement]
    """What its elements say."""
    key: tuple[str, ...]
    data: tuple[str, ...] = ()
    interval: bool = False
    typeof: str = ""
    """Expressions with the types of the key, if nft has no names for these types."""
    chains: tuple[str, ...] = ()
    """The chains of its table that its verdicts jump to."""
    single: tuple[int, ...] = ()
    """Of an interval set: the numbers of the parts that are one value, or all addresses."""
    statement: str = ""
    """The statement that runs when an element matches, with the element's value as its number: `ct count over`."""
    counted: bool = False
    """Whether the kernel counts the packets that match each element."""

    def declare(self, name: str) -> str:
        """Its declaration in a table."""
        is_map = self.data and not self.statement
        types = f"typeof {self.typeof}" if self.typeof else "type " + CONCATENATION.join(self.key)
        data = " : " + CONCATENATION.join(self.data) if is_map else ""
        flags = "\t\tflags interval\n" if self.interval else ""
        # The kernel requires one for the set, too; each element has its own.
        statement = f"\t\t{self.statement} {COUNT_MAX}\n" if self.statement else ""
        counter = "\t\tcounter\n" if self.counted else ""
        return f"\t{'map' if is_map else 'set'} {name} {{\n\t\t{types}{data}\n{flags}{statement}{counter}\t}}\n"
