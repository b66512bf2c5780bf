"""Printing one donor: what is known of it, and where it can be cut."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from rich.table import Table

from compiler.cut import Cut
from compiler.dissection import Dissection
from compiler.preprocessing import Preprocessing
from compiler.zoo import ZooModel
from derycc.console import percent, table


@dataclass(frozen=True, slots=True)
class CutRow:
    """One cut, and the block that ends there.

    Attributes:
        cut: the position.
        params: parameters between the cut before it and this one.
        macs: multiply-accumulates of convolutions and linear layers there, batch 1.
        params_before: share of the donor's parameters that lies before the cut.
        macs_before: the same of its multiply-accumulates.
    """

    cut: Cut
    params: int
    macs: int
    params_before: float
    macs_before: float


def cut_rows(dissection: Dissection, every: bool) -> tuple[CutRow, ...]:
    """The donor's cuts, from its input to its output.

    Args:
        dissection: of the donor.
        every: all legal positions, not only the stem and the ends of the repeated modules.
    """
    cuts = dissection.every_cut() if every else _thinned(dissection)
    first, last = cuts[0], cuts[-1]
    whole = dissection.block(first, last)
    rows = []
    for before, cut in zip((first, *cuts), cuts, strict=False):
        block, so_far = dissection.block(before, cut), dissection.block(first, cut)
        shares = (_share(so_far.params, whole.params), _share(so_far.macs, whole.macs))
        rows.append(CutRow(cut, block.params, block.macs, *shares))
    return tuple(rows)


def model_lines(model: ZooModel, dissection: Dissection) -> list[str]:
    """What is known of the donor, one thing a line."""
    whole = dissection.block(dissection.cuts[0], dissection.cuts[-1])
    answer = dissection.cuts[-1].tensor.shape
    random = "random, the same on every load"
    options = ", ".join(f"{name}={value}" for name, value in model.options)
    facts = {
        "architecture": f"{model.architecture} ({options})" if options else model.architecture,
        "source": model.source,
        "licence": model.licence,
        "weights": f"sha256 {model.weights_sha256}" if model.weights_sha256 else random,
        "input": _preprocessing(model.preprocessing),
        "output": f"{prod(answer[1:])} numbers",
        "parameters": f"{model.params:,}",
        "MACs": f"{whole.macs:,} at {dissection.input_size} px",
        "published": _published(model),
    }
    return [model.name, *(f"  {fact:13} {said}" for fact, said in facts.items())]


def cuts_table(dissection: Dissection, rows: Sequence[CutRow]) -> Table:
    """The cuts, one a row."""
    columns = (
        "cut",
        "tensor",
        "grid",
        ">depth",
        ">parameters",
        ">MACs",
        ">parameters so far",
        ">MACs so far",
    )
    title = f"{len(rows)} cuts of {dissection.name} at {dissection.input_size} px"
    return table(title, columns, [_row(row) for row in rows])


def model_data(model: ZooModel, dissection: Dissection, rows: Sequence[CutRow]) -> dict[str, Any]:
    """A donor and its cuts for `--json`."""
    nodes = {node.name for node in dissection.nodes}
    return {
        **zoo_data(model),
        "input_size": dissection.input_size,
        "macs_at_input_size": dissection.block(dissection.cuts[0], dissection.cuts[-1]).macs,
        "cuts": [
            {
                "name": row.cut.name,
                "node": row.cut.name in nodes,
                "layout": row.cut.tensor.layout,
                "shape": row.cut.tensor.shape,
                "dtype": row.cut.tensor.dtype,
                "stride": row.cut.stride,
                "token_grid": row.cut.token_grid,
                "prefix_tokens": row.cut.prefix_tokens,
                "depth": row.cut.depth,
                "params": row.params,
                "macs": row.macs,
                "params_before": row.params_before,
                "macs_before": row.macs_before,
            }
            for row in rows
        ],
    }


def zoo_data(model: ZooModel) -> dict[str, Any]:
    """A donor for `--json`."""
    path = model.weights_path
    return {**asdict(model), "weights_path": None if path is None else str(path)}


def _thinned(dissection: Dissection) -> tuple[Cut, ...]:
    first, *inner, last = dissection.cuts
    stem = (dissection.stem,) if dissection.stem != first else ()
    return (first, *stem, *inner, last)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _row(row: CutRow) -> tuple[str, ...]:
    cut = row.cut
    return (
        cut.name,
        f"{cut.tensor.layout} {'x'.join(map(str, cut.tensor.shape))}",
        _grid(cut),
        percent(cut.depth),
        f"{row.params:,}",
        f"{row.macs / 1e6:,.1f} M",
        percent(row.params_before),
        percent(row.macs_before),
    )


def _grid(cut: Cut) -> str:
    if not cut.token_grid:
        return "none"
    tokens = "token" if cut.prefix_tokens == 1 else "tokens"
    prefix = f" + {cut.prefix_tokens} {tokens}" if cut.prefix_tokens else ""
    return f"{'x'.join(map(str, cut.token_grid))}{prefix}, stride {cut.stride}"


def _published(model: ZooModel) -> str:
    if model.known_top1 is None:
        return "nothing is known"
    return f"top-1 {model.known_top1:.2f} % on ImageNet-1k"


def _preprocessing(wanted: Preprocessing) -> str:
    mean, std = (", ".join(f"{v:.4g}" for v in values) for values in (wanted.mean, wanted.std))
    return (
        f"{wanted.input_size} px, crop {wanted.crop:.4g}, {wanted.interpolation}, mean ({mean}), "
        f"deviation ({std})"
    )
