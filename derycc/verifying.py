"""Verifying a finished build: does its engine still compute what its torch network computes?"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backends.model import ExportedModel
from backends.registry import get_backend
from compiler.candidates import export_network
from compiler.design import Design, DesignedNetwork
from compiler.images import ImageSet
from compiler.localization import localize
from compiler.precisions import INT8
from compiler.progress import Progress
from compiler.verification import GATES, IMAGES, Gate, gate_on, verify
from derycc.build_model import MODEL, open_build
from derycc.checking import recorded_network
from derycc.console import percent
from derycc.manifest import VERIFY_FILE, Manifest
from derycc.session import DEMO_PHOTOGRAPHS, Options, make_home, open_photographs
from derycc.verify_file import OnTarget, VerifyFile, on_target, pieces_of
from targets.errors import UsageError, VerificationError, WorkspaceError
from targets.target import Target, get_target

_OTHER_FILES, _MOST_PHOTOGRAPHS = 1_000, 200_000
"""What may lie beside photographs that a build names, and how many it may name."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A build compared anew.

    Attributes:
        file: what was found.
        notes: what must be said of it.
    """

    file: VerifyFile
    notes: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """For `--json`."""
        return {**self.file.content(), "notes": list(self.notes)}

    def lines(self) -> list[str]:
        """For people."""
        found = []
        for one in self.file.targets:
            found.append(_line(one))
            if one.diverges is not None:
                found.append(str(one.diverges))
        return [*found, *(f"Note: {note}" for note in self.notes)]

    def require(self) -> None:
        """Raise where an engine does not compute what the network computes."""
        failed = [one for one in self.file.targets if not one.passed]
        if failed:
            raise VerificationError(
                f"The engine of this build does not compute what its network computes on "
                f"{failed[0].target}: {'; '.join(failed[0].failures)}. Do not deploy it; build it "
                "again with this runtime."
            )


def _line(one: OnTarget) -> str:
    cosine = "not a number" if one.cosine is None else f"{one.cosine:.7f}"
    error = "not a number" if one.max_abs_error is None else f"{one.max_abs_error:.2g}"
    return (
        f"{'passed' if one.passed else 'FAILED'} on {one.target}: {one.images} photographs, least "
        f"cosine {cosine} ({one.precision} gate {one.gate}), largest difference {error}, top-1 "
        f"agreement {percent(one.top1_agreement)}, run to run "
        f"{'the same bits' if one.repeatable else 'ANOTHER ANSWER'}"
    )


def verify_build(
    folder: Path, options: Options, progress: Progress, images: int = IMAGES
) -> Verified:
    """Compare a build's engines with its torch network, and write what is found to verify.json.

    The network is rebuilt from the donors' architectures, with the weights of the build. Where an
    engine differs, the place where it begins to differ is looked for.

    Args:
        folder: the build.
        options: home, zoo and photographs.
        progress: told about what takes time.
        images: most photographs to compare on.

    Raises:
        UsageError: the folder is no build, or its files were changed.
        ZooError, DataError: donors or photographs cannot be used.
    """
    if images < 1:
        raise UsageError(f"Cannot compare on {images} photographs. Use at least 1.")
    manifest, model = open_build(folder)
    targets = [get_target(one.target) for one in manifest.targets[1:]]
    targets.insert(0, get_target(manifest.target))
    gate = gate_of(folder, manifest)
    make_home(options.home)
    used = recorded_photographs(options, manifest)
    design, network = recorded_network(folder, manifest, options, progress)
    chosen = open_photographs(used, progress).verifying(images, manifest.precision is not None)
    check = _Check(manifest, gate, model, design, network, chosen, progress)
    rows = tuple(check.on(target) for target in targets)
    source = DEMO_PHOTOGRAPHS if used.data is None else str(used.data)
    file = VerifyFile(manifest.files[MODEL], source, rows, pieces_of(manifest))
    return Verified(file, (*_few(rows[0].images, images), *_written(file, folder)))


@dataclass(frozen=True, slots=True)
class _Check:
    """One build, ready to be compared on any target."""

    manifest: Manifest
    gate: Gate
    model: ExportedModel
    design: Design
    network: DesignedNetwork
    images: Sequence[ImageSet]
    progress: Progress

    def on(self, target: Target) -> OnTarget:
        """What is found on one target; a second engine, compiled anew, must give the same bits."""
        count = sum(map(len, self.images))
        backend = get_backend(target.backend)
        said, model = self.manifest.verified, self.model
        # What is float may run in another precision on each target.
        gate = self.gate if self.gate.precision == INT8 else gate_on(target)
        self.progress.start(f"verifying on {target} with {count} photographs", None)
        with backend.compile(model, target) as engine, backend.compile(model, target) as again:
            found = verify(self.network, engine, self.images, gate, again)
        self.progress.finish()
        found = replace(found, drop=said.drop, max_drop=said.max_drop)
        if found.cosine >= gate.cosine:
            return on_target(str(target), found)
        self.progress.start(f"looking for the place where it differs on {target}", None)
        place = localize(
            self.network,
            export_network(self.network, self.design),
            model,
            lambda marked: backend.compile(marked, target),
            self._image(found.worst),
            gate,
        )
        self.progress.finish()
        return on_target(str(target), found, place)

    def _image(self, index: int) -> Any:
        """A photograph as the network wants it: (1, 3, S, S) float32."""
        for images in self.images:
            if index < len(images):
                return self.network.preprocessing.transform(images.load(index))[None].numpy()
            index -= len(images)
        raise IndexError(index)


def gate_of(folder: Path, manifest: Manifest) -> Gate:
    """The gate that a build was held to, told by its cosine.

    Raises:
        UsageError: it is none of ours.
    """
    for gate in GATES.values():
        if gate.cosine == manifest.verified.gate:
            return gate
    known = ", ".join(str(gate.cosine) for gate in GATES.values())
    raise UsageError(
        f"The manifest of {folder} names a gate of {manifest.verified.gate}; derycc has gates of "
        f"{known}. Build again, or restore the file."
    )


def _few(there: int, wanted: int) -> list[str]:
    if there >= min(wanted, IMAGES):
        return []
    return [
        f"Only {there} photographs are there, and {min(wanted, IMAGES)} are wanted. Name more by "
        "--data."
    ]


def _written(file: VerifyFile, folder: Path) -> list[str]:
    """Write it; what must be said where that cannot be."""
    try:
        file.write(folder)
    except WorkspaceError as error:
        reason = error.__cause__
        said = reason.strerror if isinstance(reason, OSError) else reason
        return [f"{folder / VERIFY_FILE} was not written ({said}): bench and export look at it."]
    return []


def recorded_photographs(options: Options, manifest: Manifest) -> Options:
    """The options, with the photographs that the build was made with where none are named.

    Raises:
        UsageError: what the build names is no such folder any more.
    """
    source, said = Path(manifest.data.source), manifest.data
    if options.data is not None or said.source == DEMO_PHOTOGRAPHS or not source.exists():
        return options
    most = min(said.calibration + said.held_out, _MOST_PHOTOGRAPHS) + _OTHER_FILES
    if _holds_more(source, most):
        raise UsageError(
            f"The build was made with {said.calibration + said.held_out} photographs of {source}, "
            "where there is much else now. Name photographs by --data."
        )
    return replace(options, data=source)


def _holds_more(folder: Path, most: int) -> bool:
    """Whether there are more files and folders in it; counts no further."""
    found = 0
    for _, folders, files in os.walk(folder):
        found += len(folders) + len(files)
        if found > most:
            return True
    return False
