"""`derycc export`: what is handed out answers as the build does, whole or not at all."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import derycc
from compiler.progress import Silent
from derycc import exporting
from derycc.exporting import ExportRequest, export_build
from derycc.manifest import Manifest
from derycc.run_template import cropped
from derycc.session import Options
from derycc.triton import TritonModel
from targets.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

Export = Callable[..., "tuple[Path, str]"]


@pytest.fixture
def export(workshop: "Workshop", tmp_path: Path) -> Export:
    def run(form: str, *words: str) -> tuple[Path, str]:
        out = tmp_path / f"out.{form}"
        options = ("--home", workshop.home, "--data", workshop.plain, "--out", out)
        result = workshop.derycc("export", workshop.build, "--format", form, *options, *words)
        assert result.exit_code == 0, result.output
        return out, result.stdout

    return run


@pytest.fixture(scope="module")
def picture(workshop: "Workshop", papers: Manifest) -> np.ndarray:
    """A photograph as it is cropped for the network, (1, S, S, 3) uint8."""
    network = papers.network
    wants = {"input_size": network.input_size, "crop": network.crop}
    with Image.open(workshop.plain / "3.png") as image:
        return np.asarray(cropped(image, {**wants, "interpolation": network.interpolation}))[None]


@pytest.fixture(scope="module")
def expected(workshop: "Workshop") -> np.ndarray:
    with derycc.load(workshop.build) as session:
        return session(workshop.plain / "3.png").logits


def ready(picture: np.ndarray, papers: Manifest) -> np.ndarray:
    pixels = picture.astype(np.float32) / np.float32(255)
    pixels = (pixels - np.float32(papers.network.mean)) / np.float32(papers.network.std)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def answers(path: Path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": image})
    return np.asarray(logits)


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max())


def test_onnx_has_metadata_and_answers_as_the_build(
    export: Export, picture: np.ndarray, expected: np.ndarray, papers: Manifest
) -> None:
    path, said = export("onnx")

    model = onnx.load(path)
    told = {prop.key: prop.value for prop in model.metadata_props}
    onnx.checker.check_model(model, full_check=True)
    assert len(json.loads(told["classes"])) == 1000
    assert json.loads(told["mean"]) == list(papers.network.mean)
    assert json.loads(told["std"]) == list(papers.network.std)
    assert [one["name"] for one in json.loads(told["donors"])] == [d.name for d in papers.donors]
    assert told["model_sha256"] == papers.files["model.onnx"]
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == [
        "image",
        "logits",
    ]
    assert close(answers(path, ready(picture, papers))[0], expected)
    assert f"Written to {path}." in said
    assert "on 8 pictures." in said
    assert f"session = onnxruntime.InferenceSession('{path}')" in said


def test_onnx_of_any_batch_with_its_preprocessing_takes_pictures(
    export: Export, picture: np.ndarray, expected: np.ndarray
) -> None:
    path, said = export("onnx", "--dynamic-batch", "--with-preprocessing")

    found = answers(path, np.concatenate([picture] * 3))
    assert found.shape == (3, 1000)
    assert close(found[2], expected)
    assert "(n, 64, 64, 3) uint8" in said


@pytest.mark.parametrize(
    "words",
    [
        ("onnx",),
        ("onnx", "--batch", "3"),
        ("onnx", "--dynamic-batch", "--with-preprocessing"),
        ("ort",),
    ],
)
def test_what_is_printed_to_use_it_runs_as_it_is(
    words: tuple[str, ...], export: Export, workshop: "Workshop"
) -> None:
    _, said = export(*words)
    lines = said.partition("Use it:\n")[2].splitlines()
    photo = workshop.plain / "3.png"
    code = "\n".join(line.strip() for line in lines).replace("PHOTO", str(photo))

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    with derycc.load(workshop.build) as session:
        names = {label.name for label in session(photo).top(5)}
    assert done.stdout.strip() in names


def test_onnx_of_a_fixed_batch_takes_so_many(
    export: Export, picture: np.ndarray, expected: np.ndarray, papers: Manifest
) -> None:
    path, _ = export("onnx", "--batch", "3")

    found = answers(path, np.concatenate([ready(picture, papers)] * 3))
    assert close(found[1], expected)


def test_weights_of_a_large_graph_lie_beside_it(
    workshop: "Workshop",
    tmp_path: Path,
    picture: np.ndarray,
    expected: np.ndarray,
    papers: Manifest,
) -> None:
    out = tmp_path / "large.onnx"
    request = ExportRequest(workshop.build, "onnx", out, external_over=100_000)

    found = export_build(request, Options(workshop.home, data=workshop.plain), Silent())

    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.onnx", "large.onnx.data"]
    assert list(found.files) == ["large.onnx.data", "large.onnx"]
    assert out.stat().st_size < 200_000 < (tmp_path / "large.onnx.data").stat().st_size
    assert close(answers(out, ready(picture, papers))[0], expected)


def test_ort_format_answers_as_the_build(
    export: Export, picture: np.ndarray, expected: np.ndarray, papers: Manifest
) -> None:
    path, _ = export("ort", "--dynamic-batch")

    assert path.read_bytes()[4:8] == b"ORTM"
    assert close(answers(path, ready(picture, papers))[0], expected)


def test_a_triton_repository_has_a_model_that_its_config_describes(
    export: Export, picture: np.ndarray, expected: np.ndarray, papers: Manifest
) -> None:
    path, said = export("triton", "--batch", "4")

    files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    assert files == ["build/1/model.onnx", "build/config.pbtxt", "build/labels.txt"]
    text = (path / "build" / "config.pbtxt").read_text()
    assert text == TritonModel("build", 64, 1000, 4, False, 1).config()
    model = onnx.load(path / "build" / "1" / "model.onnx")
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    found = answers(path / "build" / "1" / "model.onnx", ready(picture, papers))
    assert close(found[0], expected)
    assert f"tritonserver --model-repository={path}" in said


def test_a_zip_runs_without_derycc(
    export: Export, workshop: "Workshop", tmp_path: Path, expected: np.ndarray
) -> None:
    path, _ = export("zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "network")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['derycc'] = None; import run; "
        "from PIL import Image; run.logits(Image.open(sys.argv[2])).tofile(sys.argv[3])"
    )
    words = [tmp_path / "network", workshop.plain / "3.png", tmp_path / "logits"]

    subprocess.run([sys.executable, "-I", "-c", code, *map(str, words)], check=True, timeout=60)

    found = np.fromfile(tmp_path / "logits", dtype=np.float32)
    assert close(found, expected)
    with derycc.load(tmp_path / "network") as session:
        assert np.array_equal(session(workshop.plain / "3.png").logits, expected)


def test_a_zip_is_the_same_bytes_whenever_it_is_made(
    export: Export, workshop: "Workshop", tmp_path: Path
) -> None:
    first, _ = export("zip")
    content = first.read_bytes()

    second, _ = export("zip", "--force")

    assert second.read_bytes() == content
    with zipfile.ZipFile(first) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert sorted(archive.namelist()) == [
            "README.txt",
            "labels.txt",
            "manifest.json",
            "model.onnx",
            "requirements.txt",
            "run.py",
            "verify.json",
        ]


def test_a_place_that_is_taken_is_refused(workshop: "Workshop", tmp_path: Path) -> None:
    out = tmp_path / "precious"
    out.write_text("mine")
    words = ("--format", "onnx", "--out", out, "--home", workshop.home, "--data", workshop.plain)

    refused = workshop.derycc("export", workshop.build, *words)

    assert workshop.refusal(refused, 2) == (
        f"{out} is there already. Say --force to replace it, or name another."
    )
    assert out.read_text() == "mine"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("mine")
    words = ("--format", "triton", "--out", folder, "--force", "--home", workshop.home)
    refused = workshop.derycc("export", workshop.build, *words)
    assert "is a folder of something else" in workshop.refusal(refused, 2)
    assert (folder / "file").read_text() == "mine"


def test_without_a_place_it_goes_beside_the_build(workshop: "Workshop") -> None:
    places = {
        form: ExportRequest(workshop.build, form).place.name
        for form in ("onnx", "ort", "triton", "zip")
    }

    assert places == {
        "onnx": "build.onnx",
        "ort": "build.ort",
        "triton": "build-triton",
        "zip": "build.zip",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"format": "pdf"}, "Unknown format 'pdf'"),
        ({"format": "onnx", "batch": 2, "dynamic": True}, "Give one"),
        ({"format": "onnx", "batch": 0}, "Cannot take 0 images at once"),
        ({"format": "ort", "out": Path("x.onnx")}, r"does not end in \.ort"),
        ({"format": "zip", "batch": 2}, "A zip holds the build as it is"),
    ],
)
def test_what_contradicts_itself_is_refused(words: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ExportRequest(Path("build"), **words)  # type: ignore[arg-type]


def test_what_was_not_verified_is_not_handed_out(workshop: "Workshop", tmp_path: Path) -> None:
    build = workshop.copy("build", tmp_path)
    (build / "verify.json").unlink()
    words = ("--format", "zip", "--home", workshop.home, "--data", workshop.plain)

    refused = workshop.derycc("export", build, *words)
    result = workshop.derycc("export", build, *words, "--unverified", "--json")

    assert "was not compared with its torch network" in workshop.refusal(refused, 5)
    assert json.loads(result.stdout)["notes"][0].startswith("UNVERIFIED: ")
    assert (tmp_path / "build.zip").exists()


def test_what_answers_otherwise_is_not_handed_out(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(path: Path, feeds: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        random = np.random.default_rng(0)
        return [
            {"logits": random.standard_normal((len(feed["image"]), 1000), dtype="f4")}
            for feed in feeds
        ]

    monkeypatch.setattr(exporting, "run_file", other)
    request = ExportRequest(workshop.build, "onnx", tmp_path / "out.onnx")

    with pytest.raises(VerificationError, match="does not answer as the build does"):
        export_build(request, Options(workshop.home, data=workshop.plain), Silent())
    assert list(tmp_path.iterdir()) == []


STEPS = ["export_graph", "save_graph", "run_file", "write_zip", "to_ort_format", "put_folder"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("form", ["onnx", "ort", "triton", "zip"])
def test_stopped_at_any_step_nothing_is_left(
    workshop: "Workshop",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    step: str,
) -> None:
    original = getattr(exporting, step)
    reached = []

    def stopped(*words: object) -> object:
        if step != "put_folder":
            original(*words)
        reached.append(step)
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, step, stopped)
    request = ExportRequest(workshop.build, form, tmp_path / f"out.{form}")

    try:
        export_build(request, Options(workshop.home, data=workshop.plain), Silent())
    except KeyboardInterrupt:
        assert list(tmp_path.iterdir()) == []
    else:
        assert reached == []
