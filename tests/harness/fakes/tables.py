"""The firewalls of the fake host: tables of nftables, and Docker's chain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv6Address

from reconciler.kinds.firewall.docker_user import DOCKER_CHAIN
from reconciler.kinds.firewall.program import WAYS
from reconciler.state.ref import HOST
from reconciler.state.snapshot import IptablesRuleInfo, TableInfo
from reconciler.state.steps.firewall import ConntrackFlush, IptablesAdd, IptablesDelete, NftCommand
from tests.harness.fakes.base import Base, Handlers, Refused

_ELEMENT = re.compile(r"(add|delete) element (\S+) (\S+) (\S+) \{ (.*) \}")
_NUMBER = re.compile(r"\b0x[0-9a-f]{32}\b")  # an IPv6 address where nft wants a number
_HOOK = re.compile(r"(add chain|add rule|flush chain|delete chain) (\S+) (\S+) at-(\S+)(?: (goto .*|\{.*))?$")
_TABLE = re.compile(r"(add |delete |)table (\S+) (\S+)(?: \{)?$")


class Tables(Base):
    """The steps of nft and iptables."""

    def table_handlers(self) -> Handlers:
        return {
            NftCommand: self._nft,
            ConntrackFlush: lambda _: None,
            IptablesAdd: self._iptables_add,
            IptablesDelete: self._iptables_delete,
        }

    def _nft(self, step: NftCommand) -> None:
        for line in step.text.splitlines():
            if element := _ELEMENT.match(line):
                self._nft_element(*element.groups())
            elif table := _TABLE.match(line):
                self._nft_table(*table.groups())
            elif hook := _HOOK.match(line):
                self._nft_hook(hook[1], (hook[2], hook[3]), hook[4], hook[5] or "")

    def _nft_table(self, verb: str, family: str, table: str) -> None:
        if verb != "delete ":
            self.tables.setdefault((family, table), {})
            return
        self.hooks.pop((family, table), None)
        if self.tables.pop((family, table), None) is None:
            raise Refused("No such file or directory")

    def _nft_hook(self, verb: str, table: tuple[str, str], dev: str, words: str) -> None:
        """A base chain is made at a link, gets its only rule, and is deleted when it is empty."""
        hooks = self.hooks.setdefault(table, {})
        if verb == "add chain":  # newer kernels wait for the link
            hooks[dev] = ""
        elif dev not in hooks:
            raise Refused("No such file or directory")
        elif verb == "add rule":
            hooks[dev] = words.removeprefix("goto ")
        elif verb == "delete chain":
            del hooks[dev]

    def _nft_element(self, verb: str, family: str, table: str, name: str, text: str) -> None:
        if (family, table) not in self.tables:
            raise Refused("No such file or directory")
        text = _NUMBER.sub(lambda number: str(IPv6Address(int(number[0], 16))), text.replace('"', ""))
        key, _, value = text.replace(" ct count over ", " : ").partition(" : ")
        elements = self.tables[family, table]
        if name in WAYS and verb == "add":  # the kernel knows links by their numbers
            value = str(self._link(HOST, value).index)
        if verb == "delete":
            if elements.pop((name, key), None) is None:
                raise Refused("No such file or directory")
        elif elements.get((name, key), value) != value:
            raise Refused("File exists")
        else:
            elements[name, key] = value

    def _iptables_add(self, step: IptablesAdd) -> None:
        if step.chain != DOCKER_CHAIN or step.command not in self.chains:
            raise Refused("No chain/target/match by that name.")
        if step.rule not in self.chains[step.command]:
            self.chains[step.command].insert(0, step.rule)

    def _iptables_delete(self, step: IptablesDelete) -> None:
        if step.command in self.chains:
            self.chains[step.command] = [rule for rule in self.chains[step.command] if rule != step.rule]

    def read_tables(self) -> Iterator[TableInfo]:
        for table, elements in self.tables.items():
            yield TableInfo(
                *table,
                intact=True,
                elements=tuple((name, key, value) for (name, key), value in sorted(elements.items())),
                hooks=tuple(sorted(self.hooks.get(table, {}).items())),
            )

    def read_chains(self) -> Iterator[IptablesRuleInfo]:
        for command, rules in self.chains.items():
            yield from (IptablesRuleInfo(command, "filter", DOCKER_CHAIN, rule) for rule in rules)
