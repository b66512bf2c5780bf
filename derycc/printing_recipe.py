"""Printing recipes: as tables for people and as plain data for `--json`."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from compiler.recipe import Recipe
from compiler.recipe_plan import Part, RecipePlan
from derycc.console import table


def recipes_table(recipes: Mapping[str, Recipe]) -> Table:
    """The recipes that come with derycc."""
    rows = [
        (
            name,
            f"{recipe.input_size} px",
            str(recipe.classes),
            str(len(recipe.segments)),
            recipe.note,
        )
        for name, recipe in recipes.items()
    ]
    return table("Recipes", ("recipe", ">input", ">classes", ">segments", "what it is"), rows)


def recipe_table(plan: RecipePlan) -> Table:
    """The network part by part, with the tensor at every boundary."""
    columns = ("part", "what", "tensor that goes out", ">parameters", ">MACs")
    return table("The network of the recipe", columns, [_row(part) for part in plan.parts])


def recipe_lines(plan: RecipePlan) -> list[str]:
    """What the parts come to."""
    lines = [
        f"params            {plan.params:,}",
        f"macs              {plan.macs:,} ({plan.macs / 1e9:.4f} G; convolution and linear, "
        "batch 1)",
        f"trainable_frozen  {plan.trainable_frozen:,} (all donors' segments frozen)",
    ]
    if plan.untrained:
        lines.append(f"untrained         {', '.join(plan.untrained)}")
    return lines


def recipe_data(plan: RecipePlan) -> dict[str, Any]:
    """A checked recipe for `--json`."""
    return {
        "params": plan.params,
        "macs": plan.macs,
        "trainable_frozen": plan.trainable_frozen,
        "untrained": list(plan.untrained),
        "boundaries": [
            {
                "at": part.name,
                "what": part.what,
                "layout": part.tensor.layout,
                "shape": list(part.tensor.shape),
                "params": part.params,
                "macs": part.macs,
                "new": part.new,
            }
            for part in plan.parts
        ],
        "recipe": plan.recipe.content(),
    }


def _row(part: Part) -> tuple[str, ...]:
    shape = "x".join(map(str, part.tensor.shape))
    counts = (f"{part.params:,}", f"{part.macs / 1e6:,.1f} M") if part.what else ("", "")
    return (part.name, part.what, f"{part.tensor.layout} {shape}", *counts)
