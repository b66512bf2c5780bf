"""`derycc recipe`: networks written down by hand."""

from typing import Annotated

import typer

from derycc.options import AsJson, Home, WeightsText, ZooText, frame, print_json

app = typer.Typer(help="Networks written down by hand.", no_args_is_help=True)


@app.command("list")
def recipe_list(as_json: AsJson = False) -> None:
    """Lists the recipes that come with derycc; `check` and `build` take them by name."""
    from compiler.recipe import read_recipe, shipped
    from derycc.console import stdout
    from derycc.printing_recipe import recipes_table

    with frame():
        found = {name: read_recipe(str(path)) for name, path in shipped().items()}
        if as_json:
            print_json([{"name": name, **recipe.content()} for name, recipe in found.items()])
            return
        stdout().print(recipes_table(found))


@app.command("check")
def recipe_check(
    file: Annotated[str, typer.Argument(help="A recipe file, or a name of derycc recipe list.")],
    home: Home,
    zoo: ZooText = None,
    weights: WeightsText = "random",
    as_json: AsJson = False,
) -> None:
    """Counts a recipe's network: parameters, MACs, what is trained if donors are frozen, tensors.

    Nothing is trained, measured or run. With `--weights pretrained` the donors' weights are
    fetched and compared with the architectures. Exit code 2: the recipe cannot be used; 7: a donor
    cannot.
    """
    from compiler.donors import Donors
    from compiler.recipe import read_recipe
    from compiler.recipe_plan import plan_recipe
    from compiler.recipe_zoo import open_recipe_zoo, parse_weights
    from derycc.console import Bars, stdout
    from derycc.printing_recipe import recipe_data, recipe_lines, recipe_table

    with frame():
        recipe = read_recipe(file)
        kind, bars = parse_weights(weights), Bars(quiet=as_json)
        full, opened = open_recipe_zoo(recipe, home, zoo, kind, bars)
        plan = plan_recipe(full, Donors(opened, shapes_only=True))
        if as_json:
            print_json(recipe_data(plan))
            return
        stdout().print(recipe_table(plan))
        typer.echo("\n".join(recipe_lines(plan)))
