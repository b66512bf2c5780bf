from copy import copy

import pytest

from targets.errors import (
    BudgetMissedError,
    DataError,
    DeryccError,
    InfeasibleError,
    Interrupted,
    StaleCostsError,
    TargetUnavailableError,
    UndecidedError,
    UnknownNameError,
    UsageError,
    VerificationError,
    WorkspaceError,
    ZooError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError, 2),
        (UnknownNameError, 2),
        (WorkspaceError, 2),
        (UndecidedError, 2),
        (InfeasibleError, 3),
        (BudgetMissedError, 4),
        (StaleCostsError, 4),
        (VerificationError, 5),
        (TargetUnavailableError, 6),
        (ZooError, 7),
        (DataError, 7),
        (Interrupted, 130),
    ],
)
def test_every_error_has_the_exit_code_of_the_design(error: type[DeryccError], code: int) -> None:
    assert issubclass(error, DeryccError)
    assert error.exit_code == code


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known_names() -> None:
    error = UnknownNameError("target", "cpuu", ["reference", "cpu"])

    assert str(error) == "Unknown target 'cpuu'. Did you mean 'cpu'? Known: cpu, reference."


def test_several_near_names_are_all_suggested() -> None:
    error = UnknownNameError("model", "lite", ["lite0", "lite1", "resnet"])

    assert str(error) == (
        "Unknown model 'lite'. Did you mean 'lite1' or 'lite0'? Known: lite0, lite1, resnet."
    )


def test_a_name_that_is_near_nothing_gets_no_suggestion() -> None:
    assert str(UnknownNameError("backend", "zzz", ["ort"])) == "Unknown backend 'zzz'. Known: ort."
    assert str(UnknownNameError("backend", "ort", [])) == "Unknown backend 'ort'. Known: none."


def test_an_unknown_name_error_can_be_copied_to_another_process() -> None:
    error = copy(UnknownNameError("target", "cpuu", ["cpu"]))

    assert (error.what, error.asked, error.known) == ("target", "cpuu", ("cpu",))
    assert str(error) == "Unknown target 'cpuu'. Did you mean 'cpu'? Known: cpu."
