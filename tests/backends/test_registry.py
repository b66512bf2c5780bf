from importlib.metadata import EntryPoint

import pytest

from backends import registry
from backends.reference import ReferenceBackend
from backends.registry import ENTRY_POINTS, get_backend, list_backends
from targets.errors import TargetUnavailableError, UnknownNameError


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "mine": EntryPoint("mine", "backends.reference:ReferenceBackend", ENTRY_POINTS),
        "broken": EntryPoint("broken", "no_such_module:Backend", ENTRY_POINTS),
    }
    monkeypatch.setattr(registry, "_registered", lambda: points)


def test_shipped_backends_are_listed() -> None:
    assert {"ort", "reference"} <= set(list_backends())


def test_an_unknown_backend_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown backend 'orr'. Did you mean 'ort'"):
        get_backend("orr")


@pytest.mark.usefixtures("register")
def test_an_installed_package_may_bring_a_backend() -> None:
    assert isinstance(get_backend("mine"), ReferenceBackend)
    assert list_backends() == ("broken", "mine", "ort", "reference", "trt")


@pytest.mark.usefixtures("register")
def test_a_registered_backend_that_cannot_be_imported_is_unavailable() -> None:
    with pytest.raises(TargetUnavailableError, match=r"'broken' is registered as .*cannot be"):
        get_backend("broken")
