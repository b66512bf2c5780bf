"""`derycc explain`: why a build is the network it is."""

import typer

from derycc.options import AsJson, BuildFolder, Home, StoreText, frame, print_json


def explain(
    folder: BuildFolder, home: Home, store: StoreText = None, as_json: AsJson = False
) -> None:
    """Says where a build's latency goes, which limit binds, and what else there was."""
    from derycc.console import Bars, stdout
    from derycc.explaining import explain as look
    from derycc.loop_words import certificate_lines
    from derycc.printing import network_lines
    from derycc.printing_explain import (
        bounds_table,
        explain_data,
        explain_lines,
        prices_table,
        waterfall_table,
    )
    from derycc.printing_front import alone_table
    from derycc.session import home_of

    with frame():
        found = look(folder, home_of(folder, home), store, Bars(quiet=as_json))
        if as_json:
            print_json(explain_data(found))
            return
        out = stdout()
        typer.echo("\n".join(network_lines(found.manifest)))
        for made in (waterfall_table, bounds_table, prices_table):
            out.print(made(found))
        out.print(alone_table(found.donors, "quality"))
        typer.echo("\n".join(explain_lines(found)))
        if found.manifest.certificate is not None:
            typer.echo("\n".join(certificate_lines(found.manifest.certificate)))
