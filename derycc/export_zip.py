"""The zip of a build: what runs it without derycc, and bytes that follow from the build alone."""

import zipfile
from dataclasses import replace
from pathlib import Path

from derycc.build_files import MOST_WEIGHTS, read_file
from derycc.build_model import LABELS, MODEL
from derycc.manifest import NAME, VERIFY_FILE, Manifest
from targets.errors import UsageError

FILES = (LABELS, MODEL, "run.py")
_REQUIREMENTS = "numpy\nonnxruntime\npillow\n"
_README = """A network made by derycc.

    pip install -r requirements.txt
    python run.py PHOTO

manifest.json says what it was made of, what it was measured to do, and under which licences its
donors came.
"""
_DAY = (1980, 1, 1, 0, 0, 0)
"""The first day that a zip knows: the same for every file, whenever it was made."""


def write_zip(build: Path, manifest: Manifest, path: Path) -> None:
    """Write the zip of a build; nothing is compressed, so that no library's version counts.

    Raises:
        UsageError: a file is missing, is a link, or is none that the manifest tells of.
        OSError: it cannot be written.
    """
    _check_named(build, manifest)
    content = {name: read_file(build, name, MOST_WEIGHTS) for name in FILES}
    kept = {name: manifest.files[name] for name in FILES}
    content[NAME] = replace(manifest, files=kept).to_json()
    content["requirements.txt"] = _REQUIREMENTS.encode()
    content["README.txt"] = _README.encode()
    if (build / VERIFY_FILE).exists():
        content[VERIFY_FILE] = read_file(build, VERIFY_FILE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(content):
            info = zipfile.ZipInfo(name, _DAY)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, content[name])


def _check_named(build: Path, manifest: Manifest) -> None:
    missing = [name for name in FILES if name not in manifest.files]
    if missing:
        raise UsageError(
            f"The manifest of {build} tells of no {missing[0]}, which belongs into a zip. Build "
            "again, or export another format."
        )
