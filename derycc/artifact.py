"""The artifact: one folder with the network, its papers, and a script that runs it."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from compiler.cache import digest
from compiler.candidates import Candidate
from compiler.closed_loop import Trial
from compiler.imagenet_labels import class_names
from compiler.quality import Quality as Measured
from compiler.stitching import StitchShape
from compiler.workbench import Workbench
from derycc import __version__, manifest
from derycc.building import Built, Request
from derycc.doctor import REQUIRED
from derycc.report import report_html
from derycc.session import DEMO_PHOTOGRAPHS, Options, caution, labelled
from targets.errors import UsageError, WorkspaceError

LOCK = "derycc.lock"


def check_folder(out: Path) -> None:
    """Refuse a folder that a build must not replace.

    Raises:
        UsageError: it exists and is something else than a build or an empty folder.
    """
    if out.is_dir() and ((out / manifest.NAME).exists() or not any(out.iterdir())):
        return
    if out.exists():
        raise UsageError(
            f"{out} exists and is no build of derycc, so it is not overwritten. Name another "
            "folder with --out."
        )


def write_artifact(
    out: Path, built: Built, request: Request, options: Options, bench: Workbench
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
            if out.exists():
                out.rename(Path(temporary) / "old")
            folder.rename(out)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot write the build to {out}: {error.strerror}. Name another folder with --out."
        ) from error
    return papers


def _fill(
    folder: Path, built: Built, request: Request, options: Options, bench: Workbench
) -> manifest.Manifest:
    candidate = built.candidate
    candidate.model.save(folder / "model.onnx")
    shutil.copyfile(candidate.weights, folder / "network.safetensors")
    shutil.copyfile(Path(__file__).parent / "run_template.py", folder / "run.py")
    _text(folder / "labels.txt", "".join(f"{name}\n" for name in _labels(candidate)))
    _text(folder / "assembly.json", _assembly(built, bench))
    _text(folder / "verify.json", json.dumps(asdict(built.verification), indent=2) + "\n")
    _text(folder / LOCK, _lock(built, request, options, bench))
    papers = _manifest(built, request, options, bench)
    _text(folder / "report.html", report_html(papers))
    papers = replace(papers, files=_hashes(folder))
    (folder / manifest.NAME).write_bytes(papers.to_json())
    return papers


def _text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def _labels(candidate: Candidate) -> tuple[str, ...]:
    classes = candidate.model.outputs[0].shape[-1]
    names = class_names()
    return names if classes == len(names) else tuple(f"class {i}" for i in range(classes))


def _assembly(built: Built, bench: Workbench) -> str:
    answer = json.loads(built.trial.assembly.to_json())
    return json.dumps({**answer, "recipe": _recipe(built, bench)}, indent=2) + "\n"


def _recipe(built: Built, bench: Workbench) -> dict[str, object]:
    """The network as `derycc.recipe/1`: nodes inclusive, in the donors' own names."""
    blueprint = built.candidate.blueprint
    size, classes = blueprint.input_size, built.candidate.model.outputs[0].shape[-1]
    segments = []
    for segment in blueprint.segments:
        names = [cut.name for cut in bench.donors.dissection(segment.model, size).cuts]
        first = names[names.index(segment.start) + 1]
        segments.append({"model": segment.model, "first": first, "last": segment.end})
    kinds = [{"kind": shape.kind, "stride": shape.stride} for shape in _shapes(built, bench)]
    return {
        "format": "derycc.recipe/1",
        "input": [3, size, size],
        "classes": classes,
        "stem": "donor",
        "segments": segments,
        "stitches": kinds,
        "head": "donor",
    }


def _shapes(built: Built, bench: Workbench) -> list[StitchShape]:
    blueprint = built.candidate.blueprint
    size, segments = blueprint.input_size, blueprint.segments
    return [
        StitchShape.between(
            bench.donors.dissection(left.model, size).cut(left.end),
            bench.donors.dissection(right.model, size).cut(right.start),
        )
        for left, right in pairwise(segments)
    ]


def _lock(built: Built, request: Request, options: Options, bench: Workbench) -> str:
    """What the answer followed from, and the answer."""
    costs = sorted((key, cost.rounds) for key, cost in bench.table.costs.items())
    content = {
        "format": "derycc.lock/1",
        "versions": _versions(),
        "target": str(bench.target),
        "sizes": list(bench.settings.sizes),
        "request": asdict(request),
        "budget_us": built.budget_us,
        "views": options.views,
        "donors": {model.name: model.weights_sha256 for model in bench.zoo},
        "images": bench.photographs.digest,
        "cost_table": digest(costs),
        "seed": built.trial.assembly.seed,
        "network": asdict(built.candidate.blueprint),
    }
    return json.dumps(content, indent=2) + "\n"


def _versions() -> dict[str, str]:
    return {"derycc": __version__, **{name: version(name) for name in REQUIRED}}


def _manifest(
    built: Built, request: Request, options: Options, bench: Workbench
) -> manifest.Manifest:
    photographs = bench.photographs
    return manifest.Manifest(
        format=manifest.FORMAT,
        derycc=__version__,
        versions=_versions(),
        target=str(bench.target),
        environment=bench.table.environment.fingerprint,
        machine=asdict(bench.table.environment),
        budget=request.latency,
        zoo=options.zoo,
        network=_network(built, bench),
        donors=_donors(built, bench),
        latency=_latency(built),
        quality=manifest.Quality(
            expected=built.trial.expected,
            calibration=_score(built.candidate.judged.calibration),
            chosen_by=built.candidate.judged.score,
            held_out=_score(built.candidate.judged.held_out),
            reference=bench.reference,
        ),
        solver=_solver(built.trial),
        tried=tuple(_tried(trial) for trial in built.trials),
        verified=manifest.Verified(**asdict(built.verification), passed=built.verification.passed),
        data=manifest.Data(
            calibration=len(photographs.calibration),
            held_out=len(photographs.held_out),
            labelled=labelled(photographs.held_out),
            source=DEMO_PHOTOGRAPHS if options.data is None else str(options.data.resolve()),
            digest=photographs.digest,
            caution=caution(photographs),
        ),
        files={},
    )


def _network(built: Built, bench: Workbench) -> manifest.Network:
    blueprint = built.candidate.blueprint
    segments = tuple(manifest.Segment(s.model, s.start, s.end) for s in blueprint.segments)
    wants = bench.donors.preprocessing(blueprint.segments[0].model, blueprint.input_size)
    return manifest.Network(
        input_size=blueprint.input_size,
        segments=segments,
        stitches=tuple(f"{shape.kind} {shape}" for shape in _shapes(built, bench)),
        params=int(built.trial.assembly.cost("params")),
        crop=wants.crop,
        interpolation=wants.interpolation,
        mean=wants.mean,
        std=wants.std,
    )


def _donors(built: Built, bench: Workbench) -> tuple[manifest.Donor, ...]:
    models = [bench.donors.model(name) for name in built.candidate.blueprint.donors]
    return tuple(manifest.Donor(m.name, m.source, m.licence, m.weights_sha256) for m in models)


def _latency(built: Built) -> manifest.Latency:
    measured, predicted = built.candidate.latency, built.trial.predicted
    return manifest.Latency(
        budget_us=built.budget_us,
        predicted_us=predicted.median_us,
        predicted_upper_us=predicted.upper_us,
        measured_us=measured.median_us,
        measured_interval_us=measured.interval_us,
        p90_us=measured.p90_us,
        p99_us=measured.p99_us,
        samples=measured.n,
        noisy=measured.noisy,
        within_budget=measured.upper_us <= built.budget_us,
    )


def _score(quality: Measured) -> manifest.Score:
    return manifest.Score(quality.images, quality.top1, quality.top5, quality.agreement)


def _solver(trial: Trial) -> manifest.Solver:
    answer = trial.assembly
    assert answer.objective is not None
    return manifest.Solver(
        answer.solver,
        answer.status,
        answer.objective,
        answer.bound,
        answer.gap,
        answer.wall_s,
        answer.seed,
        trial.order,
    )


def _tried(trial: Trial) -> manifest.Tried:
    latency = trial.candidate.latency
    return manifest.Tried(
        network=str(trial.candidate.blueprint),
        predicted_us=trial.predicted.median_us,
        measured_us=latency.median_us,
        measured_upper_us=latency.upper_us,
        expected=trial.expected,
        quality=trial.quality,
        within_budget=trial.within,
    )


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }
