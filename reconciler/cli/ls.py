"""`netctl ls`: a table of the containers, with their addresses, ports and states; or the same as JSON or YAML."""

from __future__ import annotations

import argparse

from reconciler.cli.parser import Command, Parser, add_host, add_names

FORMATS = ("wide", "json", "yaml")
EXAMPLES = """\
  netctl ls                           every container: host, subnet, addresses, ports, state
  netctl ls worker --subnet back      the replicas of worker that are in this subnet
  netctl ls -o wide                   with interfaces, links of the host, runtimes and images
  netctl ls -o json | jq -r '.containers[].networks[].addresses[]'
                                      for programs
"""


def add_arguments(parser: Parser) -> None:
    """FILE, names, filters, and the format."""
    add_names(parser, "the topology, and the containers to list; of replicas, also the name that they share")
    add_host(parser)
    parser.add_argument("--subnet", metavar="NAME", action="append", default=[], help="only containers in it; may be repeated")
    parser.add_argument("--output", "-o", choices=FORMATS, help="more columns, or the whole as JSON or YAML")


def run(options: argparse.Namespace) -> int:
    """0. UsageError for an unknown name."""
    from reconciler.cli.common import check_name, open_job, palette, plan_present, print_json
    from reconciler.cli.status import read_status
    from reconciler.plan.document import CODEC
    from reconciler.render.listing import compile_listing, render_listing, select_containers

    with open_job(options, lock=False, to_apply=False) as job:
        plans = plan_present(job.fleet, job.desired)
    waiting = {conflict.awaited: conflict.host for conflict in job.desired.conflicts if conflict.awaited}
    origins = {container.name: container.origin for container in job.topology.containers.values()}
    for name in options.names:
        check_name("container", name, (*origins, *origins.values(), *waiting))
    for name in options.subnet:
        check_name("subnet", name, job.topology.subnets)
    listing = compile_listing(job.topology, job.desired.resolved, job.facts, read_status(job, plans), waiting)
    listing = select_containers(listing, options.names, origins, options.subnet)
    if options.json or options.output == "json":
        print_json(CODEC.encode(listing))
    elif options.output == "yaml":
        import yaml

        print(yaml.safe_dump(CODEC.encode(listing), sort_keys=False, allow_unicode=True), end="")
    else:
        print(render_listing(listing, palette(), wide=options.output == "wide"))
    return 0


COMMAND = Command("ls", "list the containers with their addresses, ports and states", EXAMPLES, add_arguments, run)
