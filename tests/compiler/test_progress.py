"""Progress: silence is a progress too."""

import pytest

from compiler.progress import Progress, Silent


def test_the_silent_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress: Progress = Silent()

    progress.start("phase", 3)
    progress.update(1, "note")
    progress.finish("summary")

    assert capsys.readouterr() == ("", "")
