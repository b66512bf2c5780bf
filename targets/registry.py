"""Where targets come from: the shipped ones, the files of the user's folder, and files by path."""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from targets.errors import UnknownNameError, UsageError
from targets.shipped import FOLDER
from targets.target_file import TargetFile, read_target_file

FOLDER_VARIABLE = "DERYCC_TARGETS"

_SUFFIX = ".toml"
_FILE = re.compile(r"(.+?\.toml)(?::(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Found:
    """A target's file that was read.

    Attributes:
        file: What it says.
        path: Where it is, absolute.
        source: Whether it is shipped, in the user's folder, or was asked for by path.
    """

    file: TargetFile
    path: Path
    source: Literal["shipped", "user", "path"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in the list of targets.

    Attributes:
        name: What `--target` takes.
        path: Its file.
        found: The file's content; None where it cannot be used.
        problem: Why it cannot be used and what to do; None where it can.
    """

    name: str
    path: Path
    found: Found | None
    problem: str | None = None


def split_reference(text: str) -> tuple[str, str | None]:
    """A target's text as its name or path, and its options; None where no colon follows.

    Raises:
        UsageError: It is neither a name nor the path of a TOML file.
    """
    stripped = text.strip()
    head, colon, rest = stripped.partition(":")
    if not _is_path(head):
        return head, rest if colon else None
    match = _FILE.fullmatch(stripped)
    if match is None:
        raise UsageError(
            f"Cannot read {text!r} as a target. A target's file ends in {_SUFFIX}, e.g. "
            f"./box{_SUFFIX}; a target without a file is asked for by name (derycc targets list)."
        )
    return match[1], match[2]


def find(reference: str) -> Found:
    """Reads the target of that name, or the file of that path.

    Raises:
        UnknownNameError: There is no target of that name.
        UsageError: Its file cannot be used; what other files hold does not matter.
    """
    if _is_path(reference):
        return _by_path(Path(reference))
    folder = user_folder()
    own = None if folder is None else folder.absolute() / f"{reference}{_SUFFIX}"
    shipped = FOLDER / f"{reference}{_SUFFIX}"
    if reference in shipped_names():
        if own is not None and os.path.lexists(own):
            raise _shadowing(reference, own)
        return Found(read_target_file(shipped), shipped, "shipped")
    files = user_files()
    if reference not in files:
        raise UnknownNameError("target", reference, {*shipped_names(), *files})
    return _named(reference, files[reference])


def entries() -> tuple[Entry, ...]:
    """Every name there is, sorted; a file that cannot be used is one with its problem.

    Raises:
        UsageError: The user's folder cannot be read.
    """
    files = {name: FOLDER / f"{name}{_SUFFIX}" for name in shipped_names()}
    rows = [
        Entry(name, path, Found(read_target_file(path), path, "shipped"))
        for name, path in files.items()
    ]
    rows += [_entry(name, path) for name, path in user_files().items()]
    return tuple(sorted(rows, key=lambda entry: entry.name))


def shipped_names() -> tuple[str, ...]:
    """Names of the targets that come with derycc, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}")))


def user_folder() -> Path | None:
    """The folder of the user's targets; None where the user has no home folder.

    It is `$DERYCC_TARGETS`, else `$XDG_CONFIG_HOME/derycc/targets`, else
    `~/.config/derycc/targets`. It need not exist.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if Path(config).is_absolute():  # the XDG specification says to ignore others
        return Path(config) / "derycc" / "targets"
    try:
        return Path.home() / ".config" / "derycc" / "targets"
    except RuntimeError:
        return None


def user_files() -> dict[str, Path]:
    """The files of the user's folder by name, sorted; empty where there is no folder.

    Raises:
        UsageError: The folder cannot be read.
    """
    folder = user_folder()
    if folder is None:
        return {}
    try:
        found = [path for path in folder.absolute().iterdir() if path.suffix == _SUFFIX]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(
            f"Cannot read the folder of targets '{folder}': {error.strerror}. Correct it, or name "
            f"another folder by {FOLDER_VARIABLE}."
        ) from error
    return {path.stem: path for path in sorted(found)}


def save(file: TargetFile, force: bool = False) -> Path:
    """Writes a target into the user's folder, whole or not at all.

    Args:
        file: What to write; its name is the file's.
        force: Replaces a file that is there.

    Returns:
        The path of the file.

    Raises:
        UsageError: The name is a shipped target's, or is there already, or the folder cannot be
            written.
    """
    path = check_free(file.name, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as temporary:
            _move(file, Path(temporary) / path.name, path, force)
    except OSError as error:
        raise UsageError(
            f"Cannot write the target '{path}': {error.strerror}. Name a folder that can be "
            f"written by {FOLDER_VARIABLE}."
        ) from error
    return path


def check_free(name: str, force: bool = False) -> Path:
    """Where a new target of that name would be written.

    Raises:
        UsageError: A shipped target has the name, or there is one already and no `force`.
    """
    path = place(name)
    if not force and os.path.lexists(path):
        raise _present(path)
    return path


def place(name: str) -> Path:
    """Where the user's target of that name is or would be.

    Raises:
        UsageError: A shipped target has the name, or there is no folder.
    """
    folder = user_folder()
    if folder is None:
        raise UsageError(
            f"There is no home folder to keep the target {name!r} in. Name a folder by "
            f"{FOLDER_VARIABLE}."
        )
    if name in shipped_names():
        raise UsageError(
            f"The target {name!r} comes with derycc and cannot be changed or removed. Choose "
            f"another name, e.g. my-{name}."
        )
    return folder.absolute() / f"{name}{_SUFFIX}"


def remove(name: str) -> Path:
    """Deletes a target from the user's folder, whether or not it can be used; gives its path.

    Raises:
        UnknownNameError: The user has no such target.
        UsageError: It is shipped, or cannot be deleted.
    """
    files = user_files()
    # A file that is named like a shipped target can be used by nobody, and this is the way out.
    path = files.get(name) or place(name)
    if name not in files:
        raise UnknownNameError("target of yours", name, files)
    try:
        path.unlink()
    except OSError as error:
        raise UsageError(
            f"Cannot remove the target '{path}': {error.strerror}. Remove the file by hand."
        ) from error
    return path


def _move(file: TargetFile, new: Path, path: Path, force: bool) -> None:
    """Writes a file beside its place and puts it there in one step."""
    new.write_text(file.to_toml(), encoding="utf-8")
    if force:
        new.replace(path)
        return
    try:
        path.hardlink_to(new)  # unlike a move, this never replaces
    except FileExistsError as error:
        raise _present(path) from error


def _by_path(path: Path) -> Found:
    absolute = path.absolute()
    if f"{_SUFFIX}:" in str(absolute):
        raise UsageError(
            f"Cannot use the target file '{absolute}': '{_SUFFIX}:' in its path reads as the end "
            f"of it. Move the file to another folder."
        )
    return Found(read_target_file(absolute), absolute, "path")


def _named(name: str, path: Path) -> Found:
    file = read_target_file(path)
    if file.name != name:
        raise UsageError(
            f"Cannot use the target file '{path}': the key 'name' is {file.name!r}, and the file "
            f"is called {path.name}. Make them equal."
        )
    return Found(file, path, "user")


def _entry(name: str, path: Path) -> Entry:
    try:
        if name in shipped_names():
            raise _shadowing(name, path)
        return Entry(name, path, _named(name, path))
    except UsageError as error:
        return Entry(name, path, None, str(error))


def _shadowing(name: str, path: Path) -> UsageError:
    return UsageError(
        f"Cannot use the target file '{path}': a target that comes with derycc is called {name!r}, "
        f"and it is never replaced. Rename the file and its key 'name', e.g. to my-{name}, or "
        f"remove it."
    )


def _present(path: Path) -> UsageError:
    return UsageError(
        f"There is a target {path.stem!r} already: '{path}'. Choose another name, or replace it "
        f"with --force."
    )


def _is_path(reference: str) -> bool:
    return "/" in reference or reference.endswith(_SUFFIX)
