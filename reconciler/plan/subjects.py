"""The subject of every record of a host: by the record itself, or by the names that other records lend (see `state.subject`).

A container's neighbor entry, its filter on the bridge and its published port are on its line of a plan and of a status.
Each of them holds only an address or the name of a link.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.subject import LentNames, Subject


def names_lent_by(records: Iterable[Record]) -> dict[str, Subject]:
    """By name: the subject of the record that lends it; of several records, the last."""
    return {name: record.subject for record in records for name in record.names_lent if name}


def subjects_of(records: Iterable[Record], everywhere: Mapping[str, Subject] = MappingProxyType({})) -> dict[Ref, Subject]:
    """The subject of every record of one host. `everywhere` are the names that the records of all hosts lend."""
    records = tuple(records)
    names = LentNames(names_lent_by(records), everywhere)
    return {record.ref: record.subject_among(names) for record in records}
