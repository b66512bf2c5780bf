"""Models as files that ONNX Runtime loads by itself: converted to its own format, and run.

What is handed out is run as whoever gets it will: from the file, without derycc's settings.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from backends.backend import Array
from backends.ort import PROVIDERS, check_runtime, explained


def run_file(path: Path, feeds: Iterable[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """What a model file, ONNX or ORT format, answers to each of several inputs.

    Raises:
        TargetUnavailableError: onnxruntime is not installed.
        UsageError: it cannot load or run the file.
    """
    check_runtime()
    import onnxruntime

    with explained("load", path.name):
        session = onnxruntime.InferenceSession(str(path), providers=PROVIDERS)
    names = [output.name for output in session.get_outputs()]
    with explained("run", path.name):
        return [
            dict(zip(names, map(np.asarray, session.run(names, dict(feed))), strict=True))
            for feed in feeds
        ]


def to_ort_format(model: Path, out: Path) -> None:
    """Convert an ONNX file to ONNX Runtime's own format, optimized for any processor.

    Args:
        model: the ONNX file, weights inside or beside it.
        out: the .ort file to write; its folder exists and holds nothing else.

    Raises:
        TargetUnavailableError: onnxruntime is not installed.
        UsageError: it cannot convert the file.
    """
    check_runtime()
    from onnxruntime.tools.convert_onnx_models_to_ort import (
        OptimizationStyle,
        convert_onnx_models_to_ort,
    )

    # It talks on the standard output and in logs, and leaves the file open that it has written.
    with (
        explained("convert", model.name),
        contextlib.redirect_stdout(io.StringIO()),
        _quiet(),
        warnings.catch_warnings(action="ignore", category=ResourceWarning),
    ):
        convert_onnx_models_to_ort(
            model, output_dir=out.parent, optimization_styles=[OptimizationStyle.Fixed]
        )
    (out.parent / model.with_suffix(".ort").name).rename(out)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converter logs the names of temporary files."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
