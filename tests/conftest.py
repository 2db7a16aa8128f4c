"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real scans and Qwen's tokenizer; tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("HATCH_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"needs the shared scans and tokenizer; set HATCH_SHARED (looked in {path})")
    return path.resolve()


@pytest.fixture(scope="module")
def remembered_scans() -> Iterator[None]:
    """Synthetic scenes are rendered once, and not anew for each build of the test's own process."""
    from hatch_data.scans import synthetic
    from tests.builds import remembered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "read", remembered)
        yield


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of three synthetic scenes; not to be changed."""
    from tests.builds import build_small

    out = tmp_path_factory.mktemp("builds") / "small"
    build_small(out)
    return out
