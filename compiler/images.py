"""Pictures, with or without labels, from a folder or a zip: what quality is measured on."""

import csv
import hashlib
import io
import os
import random
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from compiler.imagenet_labels import wnid_to_index
from targets.errors import DataError

LABELS = "labels.csv"
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
_INDEX_COLUMNS = ("index", "imagenet_idx", "label", "class")
_DECODED_AT_ONCE = 5_000
_LAYOUTS = (
    f"a folder or .zip with {LABELS} (columns file,index[,wnid]), with one subfolder per class "
    "(0 to 999, or n01440764), or with pictures alone"
)


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Pictures of one folder or zip, in a fixed order; `labels` are class numbers, or None.

    `root` is the folder or the zip file; `paths` are names inside it, with forward slashes.
    """

    root: Path
    paths: tuple[str, ...]
    labels: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.paths)

    def load(self, index: int) -> Image.Image:
        """Picture number `index` as RGB, full size.

        Raises:
            DataError: the file is gone or cannot be decoded.
        """
        name = self.paths[index]
        try:
            return _rgb(Image.open(io.BytesIO(_read(self.root, name))))
        except _BROKEN as error:
            raise DataError(_broken_message(self.root, [(name, error)], 1)) from error

    @property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 (hex) of every picture's bytes, in order."""
        return tuple(hashlib.sha256(_read(self.root, name)).hexdigest() for name in self.paths)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over names, labels and bytes; the same for a folder and its zip."""
        return _digest(self)

    def subset(self, indices: Iterable[int]) -> "ImageSet":
        """The pictures with these numbers, in this order."""
        chosen = tuple(indices)
        labels = None if self.labels is None else tuple(self.labels[i] for i in chosen)
        return replace(self, paths=tuple(self.paths[i] for i in chosen), labels=labels)

    def split(self, fraction: float, seed: int = 0) -> tuple["ImageSet", "ImageSet"]:
        """Two disjoint sets, the first with about `fraction` of the pictures of every class.

        Both keep the order of this set. The same seed gives the same split on every machine.

        Raises:
            DataError: `fraction` is not between 0 and 1, or a side would be empty.
        """
        count = round(fraction * len(self)) if 0 < fraction < 1 else 0
        if not 0 < count < len(self):
            raise DataError(
                f"Cannot split {len(self)} pictures at {fraction}: both sides need at least one. "
                "Use a fraction between 0 and 1, or more pictures."
            )
        first = set(_stratified(self, count, seed))
        rest = [i for i in range(len(self)) if i not in first]
        return self.subset(sorted(first)), self.subset(rest)


_BROKEN = (
    OSError,
    SyntaxError,  # Pillow's word for a damaged PNG
    ValueError,
    KeyError,  # a zip without the member
    UnidentifiedImageError,
    Image.DecompressionBombError,
    zipfile.BadZipFile,
)


def load_images(path: str | Path) -> ImageSet:
    """The pictures at `path`: see the error's text for the layouts.

    Every picture is decoded once (only its header is read in sets of more than 5,000), so that
    a broken one is found now and not in the middle of a build.

    Raises:
        DataError: nothing there, nothing usable in it, or broken pictures, the first ones named.
    """
    root = Path(path)
    names = _names(root)
    if not names:
        raise DataError(f"No pictures in '{root}'. Give {_LAYOUTS}.")
    table = min((n for n in names if PurePosixPath(n).name == LABELS), key=len, default=None)
    images = _from_table(root, table, names) if table else _from_folders(root, names)
    _check(images)
    return images


def _names(root: Path) -> list[str]:
    if root.is_dir():
        found = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
    elif root.is_file():
        try:
            found = _archive(root).namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"Cannot read '{root}' as a zip: {error}. Give {_LAYOUTS}.") from error
    else:
        raise DataError(f"There is no '{root}'. Give {_LAYOUTS}.")
    return sorted(name for name in found if _is_wanted(PurePosixPath(name)))


def _is_wanted(name: PurePosixPath) -> bool:
    if any(part.startswith((".", "__MACOSX")) for part in name.parts):
        return False
    return name.suffix.lower() in _SUFFIXES or name.name == LABELS


def _from_table(root: Path, table: str, names: Sequence[str]) -> ImageSet:
    rows = list(csv.DictReader(io.StringIO(_read(root, table).decode("utf-8-sig", "replace"))))
    if not rows or "file" not in rows[0]:
        raise DataError(
            f"'{table}' in '{root}' has no rows with a column 'file'. "
            "Its first line must be file,index or file,index,wnid."
        )
    base = PurePosixPath(table).parent
    paths = [(base / (row["file"] or "")).as_posix() for row in rows]
    there = set(names)
    missing = [path for path in paths if path not in there]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(paths)} files that '{table}' lists are not in '{root}': "
            f"{_some(missing)}. Put them there or take their lines out."
        )
    return ImageSet(root, tuple(paths), tuple(_label(table, row) for row in rows))


def _label(table: str, row: dict[str, str | None]) -> int:
    text = next((row[column] for column in _INDEX_COLUMNS if row.get(column)), None)
    wnid = row.get("wnid")
    if text is not None and not text.strip().isdecimal():
        raise DataError(
            f"'{table}' gives '{row['file']}' the label '{text}'. Use a class number from 0 on."
        )
    known = wnid_to_index().get(wnid.strip()) if wnid else None
    if text is None and known is None:
        raise DataError(
            f"'{table}' gives '{row['file']}' no usable label. "
            "Fill in the column 'index' (a class number) or 'wnid' (like n01440764)."
        )
    if text is not None and known is not None and int(text) != known:
        raise DataError(
            f"'{table}' gives '{row['file']}' the class number {text}, but {wnid} is class {known} "
            "of ImageNet-1k. Correct one of the two, or leave the column 'wnid' out."
        )
    return int(text) if text is not None else int(known or 0)


def _from_folders(root: Path, names: Sequence[str]) -> ImageSet:
    classes = [_class_of(PurePosixPath(name).parent.name) for name in names]
    labels = tuple(label for label in classes if label is not None)
    if not labels:
        return ImageSet(root, tuple(names))
    if len(labels) < len(names):
        stray = [name for name, label in zip(names, classes, strict=True) if label is None]
        raise DataError(
            f"'{root}' has one subfolder per class, but {len(stray)} of {len(names)} pictures lie "
            f"outside of them: {_some(stray)}. Move them into a class folder or out of '{root}'."
        )
    return ImageSet(root, tuple(names), labels)


def _class_of(folder: str) -> int | None:
    if folder.isdecimal() and int(folder) < len(wnid_to_index()):
        return int(folder)
    return wnid_to_index().get(folder)


def _check(images: ImageSet) -> None:
    broken: list[tuple[str, BaseException]] = []
    for name in images.paths:
        try:
            picture = Image.open(io.BytesIO(_read(images.root, name)))
            if len(images) <= _DECODED_AT_ONCE:
                picture.draft("RGB", (1, 1))  # an eighth of the work for a JPEG, none of the trust
                picture.load()
        except _BROKEN as error:
            broken.append((name, error))
    if broken:
        raise DataError(_broken_message(images.root, broken, len(images)))


def _broken_message(root: Path, broken: list[tuple[str, BaseException]], total: int) -> str:
    reason = str(broken[0][1]).splitlines()[0] if str(broken[0][1]) else "empty"
    return (
        f"{len(broken)} of {total} pictures in '{root}' cannot be read: "
        f"{_some([name for name, _ in broken])}. The first: {reason}. "
        "Replace them or take them out."
    )


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


def _read(root: Path, name: str) -> bytes:
    if root.is_dir():
        return (root / name).read_bytes()
    return _archive(root).read(name)


def _archive(path: Path) -> zipfile.ZipFile:
    return _open_archive(str(path), path.stat().st_mtime_ns, os.getpid())


@lru_cache(maxsize=8)
def _open_archive(path: str, _changed: int, _process: int) -> zipfile.ZipFile:
    """Opened once, but again for a new file and for a forked worker (one file position each)."""
    return zipfile.ZipFile(path)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


@lru_cache(maxsize=32)
def _digest(images: ImageSet) -> str:
    total = hashlib.sha256()
    labels = images.labels or (None,) * len(images)
    for name, label in zip(images.paths, labels, strict=True):
        content = hashlib.sha256(_read(images.root, name)).hexdigest()
        total.update(f"{name}\0{label}\0{content}\n".encode())
    return total.hexdigest()


def _stratified(images: ImageSet, count: int, seed: int) -> list[int]:
    """`count` numbers, each class in its share; classes with the largest remainders round up."""
    chance = random.Random(f"split {seed}")
    members: dict[int, list[int]] = {}
    for index, label in enumerate(images.labels or (0,) * len(images)):
        members.setdefault(label, []).append(index)
    shares = {label: len(own) * count / len(images) for label, own in members.items()}
    quotas = {label: int(share) for label, share in shares.items()}
    order = sorted(members)
    chance.shuffle(order)
    order.sort(key=lambda label: quotas[label] - shares[label])
    for label in order[: count - sum(quotas.values())]:
        quotas[label] += 1
    return [i for label in sorted(members) for i in chance.sample(members[label], quotas[label])]
