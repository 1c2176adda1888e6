"""The last dumps of nftables tables, for a worker that reads them again and again (see `kernel.netlink.memo`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.state.snapshot import TableInfo

if TYPE_CHECKING:
    from reconciler.kernel.netfilter.table_dump import TableDump


@dataclass(frozen=True, slots=True)
class KnownTable:
    """The bytes of a table's last dumps, and what they were parsed into."""

    objects: Mapping[int, Sequence[bytes]]
    """The table, its chains, rules and sets, by the number of the request."""
    bodies: Sequence[Sequence[bytes]]
    """The elements of each set; `elements` is parsed from them."""
    elements: Sequence[list[tuple[str, str, str]]]
    dump: TableDump


@dataclass(slots=True)
class TableMemo:
    """The last dumps of one namespace: a set with the same bytes is not parsed again."""

    dumps: dict[tuple[str, str], KnownTable] = field(default_factory=dict)
    """By family and name."""
    infos: dict[tuple[str, str], tuple[TableDump, TableInfo]] = field(default_factory=dict)
    """The dump, and what it is to netctl (`kernel.netfilter.nft`)."""
