"""Builds that a broken disk or somebody who means ill has changed: refused, in one paragraph.

Nothing outside of the folder is read on a build's word, nothing is written anywhere, no command
hangs, and none ends in a traceback.
"""

import builtins
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import Result

import derycc
from targets.errors import DeryccError
from tests.derycc import hostile_cases as cases

if TYPE_CHECKING:
    from tests.derycc.conftest import Workshop

pytestmark = pytest.mark.timeout(60, func_only=True)

REFUSED = {2, 5, 7}
"""Usage, verification failed, weights or photographs that cannot be used."""


class Victim:
    """A build that is changed, beside a folder with secrets, with every command that reads it."""

    def __init__(self, workshop: "Workshop", root: Path) -> None:
        self.workshop = workshop
        self.build = workshop.copy("build", root)
        self.home = root / "home"
        self.opened: list[str] = []
        self.secret = root / "secret"
        self.secret.mkdir()
        (self.secret / "secret.txt").write_text("secret")

    def run(self, command: str) -> Result:
        """One command on the build; `load` is the library's."""
        if command == "load":
            return self._load()
        data, out = ("--data", self.workshop.plain), self.home / "out.onnx"
        words: dict[str, Sequence[str | Path]] = {
            "verify": (*data, "--home", self.home),
            "bench": ("--home", self.home),
            "export": ("--format", "onnx", "--out", out, "--force", *data, "--home", self.home),
            "explain": ("--home", self.workshop.home),
            "zip": ("--format", "zip", "--unverified", *data, "--home", self.home),
        }
        name = "export" if command == "zip" else command
        return self.workshop.derycc(name, self.build, *words[command])

    def _load(self) -> Result:
        try:
            derycc.load(self.build).close()
        except DeryccError as error:
            return Result(None, b"", b"", b"", None, error.exit_code, SystemExit())  # type: ignore[arg-type]
        return Result(None, b"", b"", b"", None, 0, None)  # type: ignore[arg-type]

    def outside(self) -> dict[str, str]:
        """What lies around the build."""
        around = self.build.parent
        return {
            str(path.relative_to(around)): path.read_text()
            for path in around.rglob("*")
            if path.is_file() and self.build not in path.parents and self.home not in path.parents
        }


@pytest.fixture
def victim(
    workshop: "Workshop", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Victim]:
    made = Victim(workshop, tmp_path)
    before = made.outside()

    def watched(original: Callable[..., object]) -> Callable[..., object]:
        def opens(path: object, *words: object, **more: object) -> object:
            made_of = original(path, *words, **more)
            if isinstance(path, str | os.PathLike):
                made.opened.append(os.fspath(path))
            return made_of

        return opens

    for module in (os, io, builtins):
        monkeypatch.setattr(module, "open", watched(module.open))
    yield made
    monkeypatch.undo()
    assert made.outside() == before
    assert [path for path in made.opened if "secret" in os.path.realpath(path)] == []


def refuse(victim: Victim, commands: Sequence[str], codes: set[int] = REFUSED) -> None:
    """Every command refuses, in one paragraph, with a code that is documented."""
    for command in commands:
        result = victim.run(command)
        said = getattr(result, "stderr_bytes", b"").decode()
        assert result.exit_code in codes, (command, result.exit_code, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            command,
            result.exception,
        )
        assert "Traceback" not in said
        if command != "load" and result.exit_code:
            assert sum(line.startswith("derycc: ") for line in said.splitlines()) == 1
            assert len(said) < 3000


def test_what_is_opened_is_seen(victim: Victim) -> None:
    result = victim.run("load")

    assert result.exit_code == 0
    names = {Path(path).name for path in victim.opened if victim.build in Path(path).parents}
    assert names >= {"manifest.json", "model.onnx", "labels.txt"}


def table(found: dict[str, cases.Change]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("change", found.values(), ids=found.keys())


@pytest.mark.parametrize("name", ["model.onnx", "network.safetensors", "labels.txt"])
@pytest.mark.parametrize(
    "change",
    [
        *(lambda name, s=s: cases.truncated(name, s) for s in (0.0, 0.3, 0.9, 0.999)),
        *(lambda name, s=s: cases.flipped(name, s) for s in range(4)),
    ],
    ids=["0", "0.3", "0.9", "0.999", *"abcd"],
)
def test_a_file_that_was_not_built_is_refused_by_its_hash(
    victim: Victim, name: str, change: Callable[[str], cases.Change]
) -> None:
    change(name)(victim.build)

    refuse(victim, ("load", "bench", "verify", "export"))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9, 0.999])
def test_half_a_model_is_refused_though_its_hash_is_right(victim: Victim, share: float) -> None:
    cases.stamped(cases.truncated("model.onnx", share))(victim.build)

    refuse(victim, ("load", "bench", "verify", "export"))


@pytest.mark.parametrize("seed", range(12))
def test_a_bit_of_a_model_may_change_what_it_computes_and_no_more(
    victim: Victim, seed: int
) -> None:
    cases.stamped(cases.flipped("model.onnx", seed))(victim.build)

    refuse(victim, ("load", "export"), {0, *REFUSED})


@pytest.mark.parametrize("edit", cases.GRAPHS.values(), ids=cases.GRAPHS.keys())
def test_a_graph_that_no_network_is_is_refused(
    victim: Victim, edit: Callable[[object], object]
) -> None:
    cases.graph(edit)(victim.build)

    refuse(victim, ("load", "bench", "verify", "export"))


@table(cases.MANIFESTS)
def test_a_manifest_that_no_build_has_is_refused(victim: Victim, change: cases.Change) -> None:
    change(victim.build)

    refuse(victim, ("load", "bench", "verify", "export", "explain"))


@pytest.mark.parametrize("seed", range(8))
def test_a_bit_of_a_manifest_may_change_what_it_says_and_no_more(victim: Victim, seed: int) -> None:
    cases.flipped("manifest.json", seed)(victim.build)

    refuse(victim, ("load", "bench", "export"), {0, 4, *REFUSED})


@table(cases.FOLDERS)
def test_what_is_no_file_of_a_build_is_refused(victim: Victim, change: cases.Change) -> None:
    change(victim.build)

    refuse(victim, ("load", "bench", "verify", "export"))


@table(cases.WEIGHTS)
def test_weights_that_are_none_are_refused(victim: Victim, change: cases.Change) -> None:
    change(victim.build)

    refuse(victim, ("verify",))


@table(cases.ZIPPED)
def test_what_is_not_the_builds_own_is_not_zipped(victim: Victim, change: cases.Change) -> None:
    change(victim.build)

    refuse(victim, ("zip",), {2})

    assert not victim.build.with_name(f"{victim.build.name}.zip").exists()


@table(cases.VERIFICATIONS)
def test_a_verification_that_is_none_lets_nothing_pass(
    victim: Victim, change: cases.Change
) -> None:
    change(victim.build)

    refuse(victim, ("bench", "export"))


@table(cases.LOCKS)
def test_a_lock_that_is_none_is_refused(victim: Victim, change: cases.Change) -> None:
    change(victim.build)
    words = ("--recipe", victim.build / "derycc.lock", "--dry-run", "--out", victim.build / "x")

    result = victim.workshop.run("build", *words, home=victim.home)

    if result.exit_code == 0:
        pytest.fail(f"accepted: {result.output}")
    victim.workshop.refusal(result, 7 if result.exit_code == 7 else 2)


@pytest.mark.parametrize(
    "zoo", ["os:getcwd", "entry:evil", "resnet18=evil.pth,evil.module:run", "evil:run=x.pth"]
)
def test_code_that_a_build_names_is_not_run(victim: Victim, zoo: str) -> None:
    cases.said("zoo", zoo)(victim.build)

    result = victim.run("verify")

    assert "names code as a donor" in victim.workshop.refusal(result, 2)


def test_a_folder_that_a_build_names_is_not_searched_without_an_end(
    victim: Victim, tmp_path: Path
) -> None:
    crowd = tmp_path / "crowd"
    for i in range(1100):
        (crowd / str(i)).mkdir(parents=True)
    cases.said("data.source", str(crowd))(victim.build)

    result = victim.workshop.derycc("verify", victim.build, "--home", victim.home)

    assert "where there is much else now" in victim.workshop.refusal(result, 2)


def test_there_are_more_than_a_hundred_of_these() -> None:
    tables = (cases.GRAPHS, cases.MANIFESTS, cases.FOLDERS, cases.WEIGHTS)

    assert sum(map(len, tables)) + len(cases.VERIFICATIONS) + len(cases.LOCKS) > 100
