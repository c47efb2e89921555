# SPDX-License-Identifier: Apache-2.0
"""Draw a block graph: of a scenario's end, or of what answers on a QMP socket.

Formats: text, mermaid, and svg (with Graphviz's dot).
"""
import json
import pathlib
import socket
import sys

from blockstep.commands import CommandError


def add_arguments(parser) -> None:
    parser.add_argument("scenario", nargs="?", metavar="SCENARIO")
    parser.add_argument("--socket", metavar="PATH", help="a QMP server's unix socket")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the scenario")
    parser.add_argument("--format", choices=["text", "mermaid", "svg"], default="text")
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE")


def graphs_of_scenario(path: str, seed: int) -> list[dict]:
    from blockstep.commands.run import hash_in_a_fixed_order, load
    from blockstep.scenario import run_scenario
    hash_in_a_fixed_order()
    outcome = run_scenario(load(path), seed)
    if not outcome.passed:
        print(outcome.error, file=sys.stderr)
        raise CommandError(f"{path} failed; its graph is that of the failure")
    return outcome.graphs


def graph_of_socket(path: str) -> dict:
    from blockstep.drawing import from_debug_query
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            stream = client.makefile("rw", encoding="utf-8")
            json.loads(stream.readline())
            ask(stream, "qmp_capabilities")
            return from_debug_query(ask(stream, "x-debug-query-block-graph"))
    except (OSError, ValueError) as error:
        raise CommandError(f"no QMP server answers on {path}: {error}") from error


def ask(stream, command: str):
    stream.write(json.dumps({"execute": command}) + "\n")
    stream.flush()
    while True:
        reply = json.loads(stream.readline())
        if "error" in reply:
            raise CommandError(f"{command}: {reply['error']['desc']}")
        if "return" in reply:
            return reply["return"]


def run(args) -> int:
    from blockstep.drawing import DrawError, to_mermaid, to_svg, to_text
    if (args.scenario is None) == (args.socket is None):
        raise CommandError("graph takes a scenario or --socket PATH")
    if args.socket is not None:
        graphs = [graph_of_socket(args.socket)]
    else:
        graphs = graphs_of_scenario(args.scenario, args.seed)
    if not graphs:
        raise CommandError(f"{args.scenario} has no virtual machine")
    draw = {"text": to_text, "mermaid": to_mermaid, "svg": to_svg}[args.format]
    try:
        text = "\n".join(draw(graph) for graph in graphs)
    except DrawError as error:
        raise CommandError(str(error)) from error
    if args.output is None:
        print(text)
    else:
        args.output.write_text(text + "\n")
    return 0
