"""The move of an uplink into a bridge, and back, as command lines. Called by `render.commands`.

What has to be moved is known when the script runs, not before: so it is a shell's work, a line for each address and route.
`apply` does it in one message to the kernel; by hand, a script must do it in one go too, for it cuts its own way back.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.state import steps as s

if TYPE_CHECKING:
    from reconciler.render.commands import Place

def dhcp_lines(step: s.Step, place: Place) -> Iterator[str]:
    """A client by hand, with the script that its package brings. TypeError for a step that is none of a client."""
    match step:
        case s.DhcpStart():
            yield "# apply runs it with a script of its own, which sets nothing but the address and routes"
            yield place.tool(step.netns, "udhcpc", "-b", "-R", "-i", step.dev)
        case s.DhcpStop():
            yield place.tool(step.netns, "pkill", "-f", f"udhcpc.*-i {step.dev}")
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")


_MOVE = """\
for family in 4 6; do
  ip -$family -o address show dev FROM scope global | sed 's/ valid_lft forever//; s/ preferred_lft forever//; s/sec//g' |
  while read -r _ _ _ address rest; do
    flags=; for word in noprefixroute nodad mngtmpaddr; do case " $rest " in *" $word "*) flags="$flags $word";; esac; done
    life=$(printf '%s\\n' "$rest" | grep -o 'valid_lft.*' || true)
    ip -$family address replace "$address" dev TO $flags $life
  done
done
routes=$(mktemp)
for family in 4 6; do
  ip -$family route show dev FROM table all | grep -Ev '^(local|broadcast|anycast|multicast|fe80::|ff00::)|proto kernel' |
  sed "s/ \\(linkdown\\|dead\\|pref medium\\)//g; s/sec//; s/^/-$family /" >>"$routes" || true
done
ip -4 address flush dev FROM scope global; ip -6 address flush dev FROM scope global
while read -r family route; do ip "$family" route replace $route dev TO; done <"$routes"
rm "$routes\""""


def uplink_lines(step: s.Step, place: Place) -> Iterator[str]:
    """The lines of an UplinkEnslave or UplinkRelease: a shell in the host's namespace. TypeError for any other step."""
    match step:
        case s.UplinkEnslave():
            source, target, master = step.name, step.bridge, f"master {shlex.quote(step.bridge)}"
            silent = f"sysctl -qw net.ipv6.conf.{shlex.quote(step.bridge)}.accept_dad=0 || true"
            yield "# apply also notes what was before, so that destroy can put it back even after a crash"
        case s.UplinkRelease():
            source, target, master = step.bridge, step.name, "nomaster"
            silent = "true"
        case _:
            raise TypeError(f"no command line for {type(step).__name__}")
    move = _MOVE.replace("FROM", shlex.quote(source)).replace("TO", shlex.quote(target))
    script = f"{silent}\nip link set dev {shlex.quote(step.name)} {master} up\n{move}"
    yield place.tool(step.netns, "sh", "-euc", script)
