"""`derycc targets`: the devices that networks are built for."""

from typing import TYPE_CHECKING, Annotated

import typer

from derycc.options import AsJson, DryRun, frame, print_json

if TYPE_CHECKING:
    from targets.detection import Detection
    from targets.target_file import TargetFile

app = typer.Typer(help="Devices that networks are built for.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name: lower-case letters, digits, '-', '_', '.'.")]
Backend = Annotated[
    str | None, typer.Option("--backend", help="Runtime; ort if left out.", show_default=False)
]
Threads = Annotated[
    str | None,
    typer.Option(
        "--threads", help="A number, or physical: all physical cores.", show_default=False
    ),
]
Affinity = Annotated[
    str | None,
    typer.Option(
        "--affinity", help="One processor a thread, e.g. 0+1; or any.", show_default=False
    ),
]
Precisions = Annotated[
    str | None, typer.Option("--precisions", help="E.g. fp32+int8.", show_default=False)
]
Spinning = Annotated[
    str | None,
    typer.Option("--spinning", help="Whether idle threads spin: on or off.", show_default=False),
]
PowerMode = Annotated[
    str | None,
    typer.Option(
        "--power-mode", help="The mode that the machine must be in; or any.", show_default=False
    ),
]
Description = Annotated[
    str | None, typer.Option("--description", help="One line for the list.", show_default=False)
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="A target or TOML file that has what the other options leave out.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace your target of that name.")]


@app.command("list")
def targets_list(as_json: AsJson = False) -> None:
    """Lists the targets that `--target` takes, and what is missing here."""
    from derycc.console import stdout
    from derycc.printing_targets import problem_lines, target_row, targets_table
    from targets.facts import Facts
    from targets.registry import entries

    with frame():
        facts = Facts.read()
        rows = [target_row(entry, facts) for entry in entries()]
        if as_json:
            print_json([row.data() for row in rows])
            return
        stdout().print(targets_table(rows))
        lines = [*problem_lines(rows), "Options follow a colon: cpu:threads=1,spinning=off"]
        typer.echo("\n".join(lines))


@app.command("show")
def targets_show(
    target: Annotated[str, typer.Argument(help="A target's name or TOML file, options allowed.")],
    as_json: AsJson = False,
) -> None:
    """Prints a target's file, and every setting that it has on this machine."""
    from derycc.printing_targets import target_data, target_lines
    from targets.registry import find, split_reference
    from targets.target import get_target

    with frame():
        found, resolved = find(split_reference(target)[0]), get_target(target)
        if as_json:
            print_json(target_data(found, resolved))
            return
        typer.echo("\n".join(target_lines(found, resolved)))


@app.command("add")
def targets_add(
    name: Name,
    backend: Backend = None,
    threads: Threads = None,
    affinity: Affinity = None,
    precisions: Precisions = None,
    spinning: Spinning = None,
    power_mode: PowerMode = None,
    description: Description = None,
    source: From = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Writes a target of your own into $DERYCC_TARGETS, else ~/.config/derycc/targets."""
    from derycc.target_book import Wishes, compose

    with frame():
        wishes = Wishes(backend, threads, affinity, precisions, spinning, power_mode, description)
        _add(compose(name, wishes, source), force, dry_run)


@app.command("remove")
def targets_remove(name: Name) -> None:
    """Deletes one of your own targets; what was measured on it is kept."""
    from targets.registry import remove

    with frame():
        typer.echo(f"Removed {remove(name)}.")


@app.command("detect")
def targets_detect(
    add: Annotated[
        bool, typer.Option("--add", help="Write the targets that can be used at once.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Looks at this machine and proposes targets, with a reason for every setting."""
    from backends.registry import list_backends
    from derycc.printing_targets import detection_data, machine_lines, proposal_lines
    from targets.detection import detect

    with frame():
        found = detect(list_backends())
        added, kept = _add_all(found) if add else ([], [])
        if as_json:
            print_json({**detection_data(found), "added": added, "kept": kept})
            return
        lines = machine_lines(found)
        for proposal in found.proposals:
            lines += proposal_lines(proposal)
        lines += ["", *(f"Written: {path}" for path in added)]
        lines += [f"There already, left as it is: {name}" for name in kept]
        if not add:
            lines.append("Nothing was written: derycc targets detect --add writes what is ready.")
        typer.echo("\n".join(lines))


def _add(file: "TargetFile", force: bool, dry: bool) -> None:
    from derycc.target_doctor import examine
    from targets.facts import Facts
    from targets.registry import Found, check_free, save
    from targets.target import Target

    path = check_free(file.name, force)
    if dry:
        typer.echo(f"# {path} (not written: --dry-run)\n{file.to_toml()}", nl=False)
    else:
        save(file, force)
        typer.echo(f"Written: {path}")
    target = Target.from_found(Found(file, path, "user"))
    for problem in examine(target, Facts.read()).problems:
        typer.echo(f"Note: {problem}")


def _add_all(found: "Detection") -> tuple[list[str], list[str]]:
    """Writes what can be used at once: paths of new targets, names of those that are there."""
    from targets.registry import save, user_files

    there = user_files()
    ready = [proposal.file for proposal in found.proposals if not proposal.missing]
    added = [str(save(file)) for file in ready if file.name not in there]
    return added, [file.name for file in ready if file.name in there]
