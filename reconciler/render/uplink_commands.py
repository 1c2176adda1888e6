"""The move of an uplink into a bridge, and back, as command lines. Called by `render.commands`.

What has to be moved is known when the script runs, not before: so it is a shell's work, a line for each address and route.
`apply` does it in one message to the kernel; by hand, a script must do it in one go too, for it cuts its own way back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.render.openvswitch_commands import switch_lines
from reconciler.render.shell import quote
from reconciler.state.steps.addresses import DhcpStart, DhcpStop
from reconciler.state.steps.links import UplinkEnslave, UplinkRelease
from reconciler.state.steps.step import Step

if TYPE_CHECKING:
    from reconciler.render.commands import Place


def dhcp_lines(step: Step, place: Place) -> Iterator[str]:
    """A client by hand, with the script that its package brings. TypeError for a step that is none of a client."""
    match step:
        case DhcpStart():
            yield "# apply runs it with a script of its own, which sets nothing but the address and routes"
            yield place.tool(step.netns, "udhcpc", "-b", "-R", "-i", step.dev)
        case DhcpStop():
            pattern = f"udhcpc.*-i {_literally(step.dev)}( |$)"
            # A client of the same name runs in other containers, too, and any user can call a process so.
            kill = f"exec pkill --ns $$ --nslist net -u 0 -U 0 -f {quote(pattern)}"
            yield place.tool(step.netns, "sh", "-c", kill)
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")


def _literally(text: str) -> str:
    """The text as an extended regular expression (regex(7)) that matches it and nothing else."""
    return "".join(char if char.isalnum() or char in "-_" else "[\\^]" if char == "^" else f"[{char}]" for char in text)


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


def uplink_lines(step: Step, place: Place) -> Iterator[str]:
    """The lines of an UplinkEnslave or UplinkRelease: a shell in the host's namespace. TypeError for any other step."""
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    match step:
        case UplinkEnslave():
            before = step.joins
            source, target, master = step.name, step.bridge, "" if step.joins else f"master {quote(step.bridge)} "
            silent = f"sysctl -qw net.ipv6.conf.{quote(step.bridge)}.accept_dad=0 || true"
            yield "# apply also notes what was before, so that destroy can put it back even after a crash"
        case UplinkRelease():
            after = step.leaves
            source, target, master = step.bridge, step.name, "" if step.leaves else "nomaster "
            silent = "true"
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")
    move = _MOVE.replace("FROM", quote(source)).replace("TO", quote(target))
    script = f"{silent}\nip link set dev {quote(step.name)} {master}up\n{move}"
    for each in before:
        yield from switch_lines(each, place)
    yield place.tool(step.netns, "sh", "-euc", script)
    for each in after:
        yield from switch_lines(each, place)
