"""Draws `dissection.svg`: the operators of a small ResNet, what is live behind each, its cuts.

    python docs/figures/draw_dissection.py

The picture is made from the real graph, so that it shows what the code does.
"""

from html import escape
from pathlib import Path

import timm
import torch
from torch import fx

from compiler.dissection import Dissection
from compiler.graph import aten_graph
from compiler.liveness import Liveness

NETWORK, SIZE, UNITS = "resnet10t", 64, 2
STEP, TOP, SIDE = 46, 96, 34
COLOURS = {"conv2d": "#9ecae9", "batch_norm": "#c7e9c0", "relu": "#fdd0a2", "add": "#fa9fb5"}


def main() -> None:
    """Write the picture beside this script."""
    torch.manual_seed(0)
    graph = aten_graph(timm.create_model(NETWORK).eval(), SIZE, NETWORK)
    dissection, liveness = Dissection(NETWORK, graph, SIZE), Liveness(graph)
    stop = dissection.cuts[UNITS].position + 1
    start = dissection.stem.position
    parts = [
        part
        for place, position in enumerate(range(start, stop))
        for part in _column(place, position, liveness, dissection)
    ]
    width = STEP * (stop - start) + 2 * SIDE
    Path(__file__).with_name("dissection.svg").write_text(_page(width, parts))


def _column(place: int, position: int, liveness: Liveness, dissection: Dissection) -> list[str]:
    """One operator, the number of activations live behind it, and its cut if it has one."""
    x = SIDE + place * STEP
    node = liveness.nodes[position]
    live = len(liveness.live[position])
    parts = [_box(x, _operator(liveness, node)), _text(x + 19, TOP + 62, str(live), "14")]
    names = {cut.position: cut.name for cut in dissection.boundaries}
    if position in liveness.legal:
        named = names.get(position)
        colour, dash = ("#d62728", "") if named else ("#888", 'stroke-dasharray="4 3" ')
        parts.append(
            f'<line x1="{x + 42}" y1="{TOP - 40}" x2="{x + 42}" y2="{TOP + 72}" stroke="{colour}" '
            f'{dash}stroke-width="{3 if named else 1}"/>'
        )
        if named:
            parts.append(_text(x + 42, TOP - 48, named, "13", "#d62728"))
    return parts


def _operator(liveness: Liveness, node: fx.Node) -> str:
    if node.op == "call_module":
        return "batch_norm"
    return str(node.target).split(".")[1].rstrip("_")


def _box(x: int, name: str) -> str:
    colour = COLOURS.get(name, "#dddddd")
    return (
        f'<rect x="{x}" y="{TOP - 34}" width="38" height="76" rx="5" fill="{colour}"/>'
        f'<text transform="translate({x + 23} {TOP + 36}) rotate(-90)" font-size="12">'
        f"{escape(name)}</text>"
    )


def _text(x: int, y: int, text: str, size: str, colour: str = "#222") -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def _page(width: int, parts: list[str]) -> str:
    legend = (
        f"operators of {NETWORK} behind its stem; below each, how many activations are live; "
        "dashed: legal cuts; red: the cuts that are kept"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 200" '
            'font-family="Helvetica, Arial, sans-serif">',
            '<rect width="100%" height="100%" fill="white"/>',
            *parts,
            f'<text x="{SIDE}" y="186" font-size="13" fill="#444">{escape(legend)}</text>',
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    main()
