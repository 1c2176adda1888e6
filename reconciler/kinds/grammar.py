"""The grammar of texts in records: the form of each field of a kind. It checks the records that a host reports.

Such a record becomes steps, and steps become command lines for `diff --commands`. Desired records are the controller's
own, checked with the file; live ones come from a machine that may lie. So each text is compared with the form of its
field, whose name has the same meaning in every kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, cast

from reconciler.kinds.firewall.element_text import check_element
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.state.codec import fields_of
from reconciler.state.container_spec import HELD, LOST, OWN
from reconciler.state.engines import ENGINES
from reconciler.state.grammar import ADDRESS, CIDR, DOMAIN, ENGINE_NAME, LABEL, LINE, LINK, MAC, NETNS, TEXT
from reconciler.state.jsontext import MalformedError
from reconciler.state.record import Record
from reconciler.state.resolver import VIEW

WORD = r"[a-zA-Z0-9_-]{0,64}"
FIELDS: Mapping[str, str] = {
    "actions": r"[ -~]{0,131072}",
    "address": ADDRESS,
    "alias": TEXT,
    "altname": rf"(?:{LINE})?",
    "bridge": rf"(?:{LINK})?",
    "chain": WORD,
    "cidr": CIDR,
    "command": "iptables|ip6tables",
    "container": LABEL,
    "datapath": WORD,
    "dev": rf"(?:{LINK})?",
    "domain": DOMAIN,
    "dst": rf"default|{CIDR}",
    "engine": "|".join(("", *ENGINES)),
    "engine_name": ENGINE_NAME,
    "fail_mode": WORD,
    "family": "inet|bridge|arp|netdev",
    "feature": "tx|gro",
    "form": r"[a-z0-9 ,./-]{0,64}",
    "fragments": WORD,
    "holder": rf"(?:{ENGINE_NAME})?",
    "key": r"(?!.*\.\.)[^\s\0]{1,255}",
    "local": rf"(?:{ADDRESS})?",
    "link_kind": WORD,
    "lower": rf"(?:{LINK})?",
    "mac": MAC,
    "master": rf"(?:{LINK})?",
    "match": r"[ -~]{0,4096}",
    "mode": WORD,
    "name": LINK,
    "netns": NETNS,
    "network": f"{OWN}|{HELD}|{LOST}",
    "peer": rf"(?:{ADDRESS}(?:/[0-9]{{1,3}})?)?",
    "peer_name": rf"(?:{LINK})?",
    "peer_netns": NETNS,
    "port": rf"(?:{LINK})?",
    "queue": WORD,
    "remote": rf"(?:{ADDRESS})?",
    "runtime": "|".join(ENGINES),
    "set": r"[a-z0-9_]{1,32}",
    "share": rf"(?:{LABEL})?",
    "src": rf"(?:{ADDRESS})?",
    "subnet": rf"(?:{LABEL})?",
    "topology": LABEL,
    "value": LINE,
    "view": VIEW,
    "via": rf"(?:{ADDRESS})?",
}
"""The form of each field that holds text, by the field's name."""
ELEMENT_FIELDS = {"key": LINE, "value": LINE}
"""Of elements, which have a grammar of their own (`kinds.firewall.element_text`)."""


def check_record(record: Record) -> None:
    """Raise MalformedError if a text in the record does not have the form of its field."""
    texts, pattern = _form_of(cast("Hashable", type(record)))
    if not pattern.fullmatch(texts(record)):
        raise MalformedError(f"a record of the kind {record.kind} that cannot be")
    if isinstance(record, FirewallElement):
        try:
            check_element(record.family, record.set, record.key, record.value)
        except ValueError:
            raise MalformedError("an element that is in no set of netctl's") from None


@cache
def _form_of(cls: Any) -> tuple[Callable[[Any], str], re.Pattern[str]]:
    """The function that joins the texts of a record, and the pattern of the whole: no text has a NUL, so fields cannot shift."""
    names = [name for name, _, kind in fields_of(cls) if kind is str]
    forms = {**FIELDS, **(ELEMENT_FIELDS if issubclass(cls, FirewallElement) else {})}
    pattern = re.compile("\0".join(f"(?:{forms[name]})" for name in names), re.ASCII)
    if len(names) == 1:
        return lambda record: str(getattr(record, names[0])), pattern
    values = attrgetter(*names)
    return lambda record: "\0".join(values(record)), pattern
