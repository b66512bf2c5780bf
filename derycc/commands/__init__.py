"""The commands of the command line, one module a verb; each imports what it needs when it runs."""

import typer

from derycc.commands import (
    bench,
    build,
    demo,
    doctor,
    explain,
    export,
    front,
    judge,
    partition,
    predict,
    profile,
    recipe,
    solve,
    store,
    sweep,
    targets,
    verify,
    zoo,
)


def register(app: typer.Typer, zoo_app: typer.Typer) -> None:
    """Add the commands to the command line."""
    zoo_app.command("list")(zoo.zoo_list)
    zoo_app.command("show")(zoo.zoo_show)
    zoo_app.command("fetch")(zoo.zoo_fetch)
    app.add_typer(targets.app, name="targets")
    app.add_typer(store.app, name="store")
    app.add_typer(recipe.app, name="recipe")
    for command in (
        profile.profile,
        judge.judge,
        predict.predict,
        partition.partition,
        build.build,
        sweep.sweep,
        solve.solve,
        front.front,
        explain.explain,
        bench.bench,
        verify.verify,
        export.export,
        demo.demo,
        doctor.doctor,
    ):
        app.command()(command)
