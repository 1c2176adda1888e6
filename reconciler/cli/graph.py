"""`netctl graph`: draws the topology. With --live, drift is marked; with --plan, what an apply would add, change and remove."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_file
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.graph.model import Badge, Badges, Graph
    from reconciler.plan.document import HostPlan
    from reconciler.render.status import StatusDocument
    from reconciler.state.host import HostFacts, HostState
    from reconciler.state.subject import Subject
    from reconciler.topology.types import Topology

FORMATS = ("svg", "html", "mermaid", "dot", "json")
SUFFIXES = {
    "svg": "svg",
    "html": "html",
    "htm": "html",
    "mmd": "mermaid",
    "mermaid": "mermaid",
    "dot": "dot",
    "gv": "dot",
    "json": "json",
}
"""By the end of a file's name, the format that it means."""
EXAMPLES = """\
  netctl graph -o shop.svg            a picture: hosts, subnets, containers, policies, ports
  netctl graph -o shop.html           a page with search, details and the verify matrix
  netctl graph --live -o shop.svg     the same, with what has drifted
  netctl graph --plan -o shop.svg     the same, with what an apply would add and remove
"""


def add_arguments(parser: Parser) -> None:
    """FILE, the form and the place of the picture."""
    add_file(parser)
    parser.add_argument("--format", choices=FORMATS, help="the form (default: by the end of the name of -o, else svg)")
    parser.add_argument("--live", action="store_true", help="read the hosts, and mark what has drifted")
    parser.add_argument("--plan", action="store_true", help="read the hosts, and mark what an apply would add, change and remove")
    parser.add_argument("--output", "-o", metavar="FILE", help="write it there, and not to standard output")


def run(options: argparse.Namespace) -> int:
    """0; a drift is not an error here."""
    text = render(_compile(options), _format_of(options))
    if not options.output:
        sys.stdout.write(text)
        return 0
    try:
        with open(options.output, "w", encoding="utf-8") as file:  # noqa: PTH123  every start of netctl would import pathlib
            file.write(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot write {options.output}: {reason}", "name a file in a directory that you can write to") from None
    return 0


def render(graph: Graph, form: str) -> str:
    """The text of a graph in one of FORMATS."""
    if form == "mermaid":
        from reconciler.graph.mermaid import render_mermaid

        return render_mermaid(graph)
    if form == "dot":
        from reconciler.graph.dot import render_dot

        return render_dot(graph)
    if form == "json":
        import json

        from reconciler.graph.document import compile_document
        from reconciler.plan.document import CODEC

        return json.dumps(CODEC.encode(compile_document(graph)), indent=2) + "\n"
    from reconciler.graph.html import render_html
    from reconciler.graph.layout import lay_out
    from reconciler.graph.svg import render_svg

    return render_html(lay_out(graph)) if form == "html" else render_svg(lay_out(graph))


def _format_of(options: argparse.Namespace) -> str:
    if options.json and options.format not in (None, "json"):
        raise UsageError(f"--json and --format {options.format} exclude each other", "ask for one of them")
    if options.json:
        return "json"
    suffix = (options.output or "").rpartition(".")[2].lower()
    return str(options.format or SUFFIXES.get(suffix, "svg"))


def _compile(options: argparse.Namespace) -> Graph:
    return _compile_live(options) if options.live or options.plan else _compile_file(options)


def _compile_file(options: argparse.Namespace) -> Graph:
    from reconciler.cli.common import load
    from reconciler.compile import check_alone
    from reconciler.compile.resolve import resolve
    from reconciler.graph.compile import compile_graph

    topology = load(options)
    check_alone(topology)
    graph = compile_graph(topology, resolve(topology, {})[0], {})
    if not _has_paths(options):
        return graph
    from reconciler.cli.explain import load_states

    return _with_paths(graph, *load_states(topology))


def _compile_live(options: argparse.Namespace) -> Graph:
    """The graph of the topology with the members that the hosts have, and with badges."""
    from reconciler.cli.common import open_job, plan_present
    from reconciler.cli.explain import live_states
    from reconciler.cli.status import read_status
    from reconciler.graph.compile import compile_graph

    options.host = None
    with open_job(options, lock=False, to_apply=False) as job:
        plans = plan_present(job.fleet, job.desired)
    status = read_status(job, plans) if options.live else None
    badges = compile_badges(status, plans if options.plan else {})
    graph = compile_graph(job.topology, job.desired.resolved, job.facts, badges)
    if not _has_paths(options):
        return graph
    states = live_states(job.desired.hosts, plans) if options.live else job.desired.hosts
    return _with_paths(graph, job.topology, states, job.facts)


def _has_paths(options: argparse.Namespace) -> bool:
    """Whether the format shows the paths of packets."""
    return _format_of(options) in ("html", "json")


def _with_paths(graph: Graph, topology: Topology, states: Mapping[str, HostState], facts: Mapping[str, HostFacts]) -> Graph:
    """The graph with the paths that `netctl explain` finds in these states."""
    from dataclasses import replace

    from reconciler.explain.build import build_world
    from reconciler.graph.paths import explain_cells

    world = build_world(topology, states, facts)
    return replace(graph, explanations=explain_cells(world, graph.cells, graph.nodes))


def compile_badges(status: StatusDocument | None, plans: Mapping[str, HostPlan]) -> Badges:
    """The badges of what `netctl status` shows, and of the lines that `netctl diff` prints; each as far as it is given."""
    from dataclasses import replace

    from reconciler.graph.model import NO_BADGE, Badge
    from reconciler.plan.subjects import names_lent_by
    from reconciler.render.plan import compile_lines

    badges: dict[tuple[str, Subject], Badge] = {}
    for host in status.hosts if status else ():
        for item in host.items:
            badges[host.host, item.subject] = Badge(item.state, "", tuple(each.text for each in item.differences))
    records = (record for plan in plans.values() for change in plan.changes for record in (change.before, change.after) if record)
    names = names_lent_by(records)
    for name, plan in plans.items():
        for line in compile_lines(plan, names):
            known = badges.get((name, line.subject), NO_BADGE)
            badges[name, line.subject] = replace(known, sign=line.sign, texts=(*known.texts, line.text))
    return badges


COMMAND = Command("graph", "draw the topology as a picture or a page", EXAMPLES, add_arguments, run)
