"""The last dumps of nftables tables, for a worker that reads them again and again (see `kernel.netlink.memo`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.state.snapshot import TableInfo

if TYPE_CHECKING:
    from reconciler.kernel.netfilter.table_dump import TableDump


@dataclass(slots=True)
class TableMemo:
    """The last dumps of one namespace: a table with the same bytes is not parsed again."""

    dumps: dict[tuple[str, str], tuple[object, TableDump]] = field(default_factory=dict)
    """By family and name, the bytes and the dump."""
    infos: dict[tuple[str, str], tuple[TableDump, TableInfo]] = field(default_factory=dict)
    """The dump, and what it is to netctl (`kernel.netfilter.nft`)."""
