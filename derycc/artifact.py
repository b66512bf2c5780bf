"""The artifact: one folder with the network, its papers, and a script that runs it."""

import json
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from errno import EEXIST, ENOTEMPTY
from itertools import count
from pathlib import Path

from compiler.candidates import Candidate
from compiler.imagenet_labels import class_names
from compiler.workbench import Workbench
from derycc import manifest
from derycc.building import Built
from derycc.dery import PARTITION
from derycc.lock import NAME as LOCK
from derycc.lock import lock_text
from derycc.papers import AnyBuilt, AnyRequest, built_recipe, describe
from derycc.report import report_html
from derycc.session import Options
from derycc.verify_file import VerifyFile, on_target, pieces_of, sha256_of
from derycc.writable import obstacle
from targets.errors import UsageError, WorkspaceError

_TURNS = 100
"""How often a folder is put in its place where other builds put theirs there all the time."""


def check_folder(out: Path) -> None:
    """Refuse a folder that a build must not replace.

    Raises:
        UsageError: it exists and is something else than a build or an empty folder.
        WorkspaceError: nothing can be put there.
    """
    why = obstacle(out)
    if why is not None:
        raise WorkspaceError(_unwritten(out, why))
    ours = out.is_dir() and ((out / manifest.NAME).exists() or not any(out.iterdir()))
    if out.exists() and not ours:
        raise UsageError(
            f"{out} exists and is no build of derycc, so it is not overwritten. Name another "
            "folder with --out."
        )


def _unwritten(out: Path, why: str) -> str:
    return f"Cannot write the build to {out}: {why}. Name another folder with --out."


def write_artifact(
    out: Path, built: AnyBuilt, request: AnyRequest, options: Options, bench: Workbench
) -> manifest.Manifest:
    """Write a build's folder; it is there whole or not at all, and replaces only a build.

    Raises:
        UsageError: the folder exists and is something else.
        WorkspaceError: it cannot be written.
    """
    check_folder(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".derycc-") as temporary:
            folder = Path(temporary) / "build"
            folder.mkdir()
            papers = _fill(folder, built, request, options, bench)
            put_folder(folder, out, Path(temporary))
    except OSError as error:
        raise WorkspaceError(_unwritten(out, str(error.strerror))) from error
    return papers


def put_folder(folder: Path, out: Path, aside: Path) -> None:
    """Put a folder in the place of another, which is moved aside.

    Another build may do the same at the same time: whichever is later stays, and each is whole.
    """
    for turn in count():
        with suppress(FileNotFoundError):
            out.rename(aside / f"old-{turn}")
        try:
            folder.rename(out)
        except OSError as error:
            if error.errno not in (ENOTEMPTY, EEXIST) or turn == _TURNS:
                raise
        else:
            return


def _fill(
    folder: Path, built: AnyBuilt, request: AnyRequest, options: Options, bench: Workbench
) -> manifest.Manifest:
    candidate = built.candidate
    candidate.model.save(folder / "model.onnx")
    shutil.copyfile(candidate.weights, folder / "network.safetensors")
    shutil.copyfile(Path(__file__).parent / "run_template.py", folder / "run.py")
    _text(folder / "labels.txt", "".join(f"{name}\n" for name in _labels(candidate)))
    _text(folder / "assembly.json", _assembly(built, bench))
    if isinstance(built, Built) and built.dery:
        _text(folder / PARTITION, built.dery.partition.to_json())
    _text(folder / LOCK, lock_text(built, request, options, bench))
    papers = describe(built, request, options, bench)
    _text(folder / "report.html", report_html(papers))
    papers = replace(papers, files=_hashes(folder))
    _verified(papers, built).write(folder)
    (folder / manifest.NAME).write_bytes(papers.to_json())
    return papers


def _verified(papers: manifest.Manifest, built: AnyBuilt) -> VerifyFile:
    """What the build's own verification found, on every target."""
    others = built.elsewhere if isinstance(built, Built) else ()
    found = ((papers.target, built.verification), *others)
    rows = tuple(on_target(name, one) for name, one in found)
    return VerifyFile(papers.files["model.onnx"], papers.data.source, rows, pieces_of(papers))


def _text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def _labels(candidate: Candidate) -> tuple[str, ...]:
    classes = candidate.model.outputs[0].shape[-1]
    names = class_names()
    return names if classes == len(names) else tuple(f"class {i}" for i in range(classes))


def _assembly(built: AnyBuilt, bench: Workbench) -> str:
    """The solver's answer, if there is one, and the network as a recipe."""
    answer = json.loads(built.trial.assembly.to_json()) if isinstance(built, Built) else {}
    recipe = built_recipe(built, bench).content()
    return json.dumps({**answer, "recipe": recipe}, indent=2) + "\n"


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
