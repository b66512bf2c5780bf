"""`derycc store`: what was measured, looked at, moved between machines, cleaned and checked."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derycc.grouped_options import Measuring, grouped
from derycc.options import AsJson, DryRun, Home, StoreText, frame, print_json

if TYPE_CHECKING:
    from profilers.store import CostStore

app = typer.Typer(help="The cost store: what was measured, and where.", no_args_is_help=True)

FingerprintText = Annotated[
    str | None,
    typer.Argument(
        help="Environment, by the beginning of its fingerprint; the only one if left out.",
        show_default=False,
    ),
]
FormatText = Annotated[
    str | None,
    typer.Option(
        "--format", help="jsonl or parquet; by the file's suffix if left out.", show_default=False
    ),
]


@app.command("list")
def store_list(home: Home, store: StoreText = None, as_json: AsJson = False) -> None:
    """Lists the environments in which something was measured."""
    from derycc.console import stdout
    from derycc.printing_store import summary_data, summary_lines, summary_table
    from profilers.store_summary import summarize

    with frame(), _read(home, store) as opened:
        found = summarize(opened)
        if as_json:
            print_json(summary_data(found))
            return
        stdout().print(summary_table(found))
        typer.echo("\n".join(summary_lines(found)))


@app.command("show")
def store_show(
    home: Home,
    fingerprint: FingerprintText = None,
    model: Annotated[
        str, typer.Option("--model", help="Only models whose name or key contains this.")
    ] = "",
    store: StoreText = None,
    as_json: AsJson = False,
) -> None:
    """Shows what was measured in one environment, model by model."""
    from derycc.console import stdout
    from derycc.printing_store import environment_lines, models_data, models_table
    from profilers.store_summary import find_environment, models_of
    from targets.errors import UsageError

    with frame(), _read(home, store) as opened:
        environment = find_environment(opened, fingerprint)
        costs = models_of(opened, environment, model)
        if not costs and model:
            raise UsageError(
                f"No model whose name or key contains {model!r} was measured on "
                f"{environment.target}. Leave --model out to see all."
            )
        if as_json:
            print_json(models_data(environment, costs))
            return
        typer.echo("\n".join(environment_lines(environment)))
        out = stdout()
        out.print(models_table(costs, out.width))


@app.command("merge")
def store_merge(
    home: Home,
    sources: Annotated[
        list[str], typer.Argument(help="Stores to take over: files or URLs; they stay as they are.")
    ],
    store: StoreText = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Takes over from other stores what this one does not have; again changes nothing."""
    from derycc.printing_store import absorbed_data, absorbed_line
    from profilers.database import redacted
    from profilers.store_merge import merge

    with frame(), _made(home, store, dry_run) as opened:
        rows = []
        for source in sources:
            found, name = merge(opened, source, dry_run), redacted(source)
            rows.append({"source": name, **absorbed_data(found)})
            if not as_json:
                typer.echo(absorbed_line(name, found, dry_run))
        if as_json:
            print_json({"dry_run": dry_run, "merged": rows})


@app.command("export")
def store_export(
    home: Home,
    file: Annotated[Path, typer.Argument(help="File to write: .jsonl or .parquet.")],
    format: FormatText = None,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            help="Only this environment, by the beginning of its fingerprint.",
            show_default=False,
        ),
    ] = None,
    store: StoreText = None,
    as_json: AsJson = False,
) -> None:
    """Writes everything that was measured into one file."""
    from profilers.store_files import export_store, file_format
    from profilers.store_summary import find_environment

    with frame():
        file_format(file, format)
        with _read(home, store) as opened:
            only = None if environment is None else find_environment(opened, environment)
            fingerprint = None if only is None else only.fingerprint
            count = export_store(opened, file, format, fingerprint)
        if as_json:
            print_json({"file": str(file), "records": count})
        else:
            typer.echo(f"{count} records written to {file}.")


@app.command("import")
def store_import(
    home: Home,
    file: Annotated[Path, typer.Argument(help="A file that `derycc store export` wrote.")],
    format: FormatText = None,
    store: StoreText = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Takes over a file's measurements, all or none of them; again changes nothing."""
    from derycc.printing_store import absorbed_data, absorbed_line
    from profilers.store_files import file_format, import_file

    with frame():
        file_format(file, format)
        with _made(home, store, dry_run) as opened:
            found = import_file(opened, file, format, dry_run)
        if as_json:
            print_json({"dry_run": dry_run, "source": str(file), **absorbed_data(found)})
        else:
            typer.echo(absorbed_line(str(file), found, dry_run))


KeptGenerations = Annotated[
    int,
    typer.Option(
        "--keep-generations",
        help="Newest measurements of every model that stay; --fresh makes a new generation.",
        min=1,
    ),
]
OlderThan = Annotated[
    float | None,
    typer.Option(
        "--older-than",
        help="Remove models that were not measured for so many days, too.",
        show_default=False,
    ),
]
OnlyEnvironment = Annotated[
    str | None,
    typer.Option(
        "--environment",
        help="Remove all of this environment, and nothing else.",
        show_default=False,
    ),
]


@app.command("gc")
def store_gc(
    home: Home,
    keep_generations: KeptGenerations = 1,
    older_than: OlderThan = None,
    environment: OnlyEnvironment = None,
    store: StoreText = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Removes what is no longer used: older generations, old models, a whole environment."""
    from dataclasses import asdict

    from derycc.printing_store import cleaned_line
    from profilers.store_cleaning import Cleaning, clean
    from profilers.store_summary import find_environment

    with frame(), _open(home, store) as opened:
        only = None if environment is None else find_environment(opened, environment)
        age = None if older_than is None else timedelta(days=older_than)
        found = clean(opened, Cleaning(keep_generations, age, only), dry_run)
        if as_json:
            print_json({"dry_run": dry_run, **asdict(found)})
        else:
            typer.echo(cleaned_line(found, dry_run))


@app.command("check")
@grouped
def store_check(
    bench: Measuring,
    blocks: Annotated[int, typer.Option("--blocks", help="Blocks to measure again.", min=1)] = 5,
    as_json: AsJson = False,
) -> None:
    """Measures a few blocks again and says whether the store still holds; exit code 4 if not."""
    from derycc.console import Bars, stdout
    from derycc.printing_store import validity_table
    from derycc.store_checking import check

    with frame():
        found = check(bench.options(), blocks, Bars(quiet=as_json))
        if as_json:
            print_json(found.data())
        else:
            stdout().print(validity_table(found.validity))
        found.require()
        if not as_json:
            typer.echo(f"The costs of {found.environment.target!r}: {found.validity.text}.")


def _read(home: Path, store: str | None) -> AbstractContextManager["CostStore"]:
    """The store that is meant, for a command that only looks at it."""
    from profilers.store_reading import read_store

    return read_store(_where(home, store))


@contextmanager
def _made(home: Path, store: str | None, dry: bool) -> Iterator["CostStore"]:
    """The store that is meant, made if it is not there; one that stays empty is taken away."""
    from profilers.database import is_url

    where = _where(home, store)
    is_new = not is_url(where) and not Path(where).exists()
    try:
        with _open(home, store, create=not dry) as opened:
            yield opened
    except BaseException:
        if is_new and _holds_nothing(Path(where)):
            for suffix in ("", "-wal", "-shm"):
                Path(f"{where}{suffix}").unlink(missing_ok=True)
        raise


def _holds_nothing(where: Path) -> bool:
    from profilers.store_reading import read_store
    from profilers.store_summary import summarize

    if not where.exists():
        return False
    with read_store(where) as found:
        return not summarize(found).environments


def _open(home: Path, store: str | None, create: bool = False) -> "CostStore":
    """The store that is meant, to be written; only a command that fills it makes one."""
    from profilers.store import CostStore

    return CostStore(_where(home, store), create=create)


def _where(home: Path, store: str | None) -> str | Path:
    from derycc.session import Options

    return Options(home, store=store).costs
