"""A random model in a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatch_train.model import load
from hatch_train.settings import ModelSettings
from tests.train import rows
from tests.train.conftest import MODEL


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    texts = [turn["content"] for n in range(20) for turn in rows.row(n).messages]
    load(ModelSettings(**MODEL), texts, seed=0).save(folder, "float32")
    return folder
