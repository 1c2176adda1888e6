"""Steps that move a host's uplink into a bridge, and back.

The addresses and routes to move are known only when a script runs. So the command lines are shell code with a loop over
them. `apply` moves them in one message to the kernel. A script must run in one go too, because it cuts its own
connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.state.shell import HostShell, quote
from reconciler.state.steps.backends import UPLINK
from reconciler.state.steps.step import Step

_MOVE = """\
# tac, because the kernel puts the newest IPv6 address in front
{ ip -4 -o address show dev FROM; ip -6 -o address show dev FROM | tac; } | tr '\\\\' ' ' |
while read -r _ _ inet address rest; do
  set -- $rest; kept=
  while [ $# -gt 0 ]; do
    case $1 in
      valid_lft|preferred_lft) kept="$kept $1 ${2%sec}"; shift;;
      brd|metric|peer|scope|proto) kept="$kept $1 $2"; shift;;
      noprefixroute|nodad|mngtmpaddr) kept="$kept $1";;
      FROM:*) kept="$kept label TO:${1#*:}";;
    esac
    shift
  done
  ip -$([ "$inet" = inet ] && echo 4 || echo 6) address replace "$address" dev TO $kept
done
for family in 4 6; do
  ip -$family neighbor show dev FROM nud permanent | grep -v 'proto 78' | while read -r address _ mac _; do
    ip neighbor replace "$address" lladdr "$mac" nud permanent dev TO
    ip neighbor delete "$address" dev FROM
  done || true
done
routes=$(mktemp)
for family in 4 6; do
  ip -$family route show dev FROM table all | grep -Ev '^(local|broadcast|anycast|multicast|fe80::|ff00::)' |
  sed "s/ \\(linkdown\\|dead\\|pref medium\\)//g; s/sec//; s/^/-$family /" >>"$routes" || true
done
ip -4 address flush dev FROM; ip -6 address flush dev FROM
# without a next hop first, because the next hops of the others are reached by them
{ grep -v ' via ' "$routes" || true; grep ' via ' "$routes" || true; } |
while read -r family route; do ip "$family" route replace $route dev TO; done
rm "$routes\""""


@dataclass(frozen=True, slots=True)
class UplinkEnslave(Step):
    """Move the host's uplink to a bridge, with its addresses and routes, in one go.

    The step first notes the previous state in the host's file under /run/netctl. If the uplink is a port already, the
    step moves the addresses and routes that it got since.
    """

    backend = UPLINK
    name: str
    bridge: str
    joins: tuple[Step, ...] = ()
    """Steps that add it to an Open vSwitch bridge. A Linux bridge needs none: the message with the addresses adds it, too."""

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield "# apply also notes the previous state, so that destroy can restore it even after a crash"
        for step in self.joins:
            yield from step.commands(shell)
        silent = f"sysctl -qw net.ipv6.conf.{quote(self.bridge)}.accept_dad=0 || true"
        link = f"ip link set dev {quote(self.name)} {'' if self.joins else f'master {quote(self.bridge)} '}up"
        script = f"{silent}\n{link}\n{_render_move(self.name, self.bridge)}"
        yield shell.tool(self.netns, "sh", "-euc", script)


@dataclass(frozen=True, slots=True)
class UplinkRelease(Step):
    """Take the uplink out of the bridge, and return its addresses and routes as they are now, in one go."""

    backend = UPLINK
    name: str
    bridge: str
    leaves: tuple[Step, ...] = ()
    """Steps that remove it from an Open vSwitch bridge."""

    def commands(self, shell: HostShell) -> Iterator[str]:
        link = f"ip link set dev {quote(self.name)} {'' if self.leaves else 'nomaster '}up"
        yield shell.tool(self.netns, "sh", "-euc", f"true\n{link}\n{_render_move(self.bridge, self.name)}")
        for step in self.leaves:
            yield from step.commands(shell)


def _render_move(source: str, target: str) -> str:
    return _MOVE.replace("FROM", quote(source)).replace("TO", quote(target))
