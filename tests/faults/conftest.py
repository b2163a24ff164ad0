"""The bench of the launcher's tests, and a way to print what was counted."""

from collections.abc import Callable

import pytest

from tests.integration.launcher.conftest import bench, eventually, mounts

__all__ = ["bench", "eventually", "mounts"]
Show = Callable[..., None]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Print lines past pytest's capture: what was counted is a result."""

    def lines(*text: str) -> None:
        with capsys.disabled():
            print("\n" + "\n".join(text))

    return lines
