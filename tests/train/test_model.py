"""The tiny model has the real architecture; its tokenizer is a normal one."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoImageProcessor, AutoTokenizer

from hatch_train.model import VisionLanguageModel, count_parameters, load_processor
from hatch_train.settings import ModelSettings, TinySettings
from hatch_train.tokenizer import SPECIAL_TOKENS, train_tokenizer

TEXTS = ["move_forward 1.2m, turn_left 30deg", "Which way does the camera turn?"] * 30
TOKENIZER = train_tokenizer(TEXTS, 400)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_text_comes_back(text: str) -> None:
    import unicodedata

    text = unicodedata.normalize("NFC", text)
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_the_tokenizer_is_deterministic_and_learns(tmp_path: Path) -> None:
    again = train_tokenizer(TEXTS, 400)
    assert again.get_vocab() == TOKENIZER.get_vocab()
    assert len(TOKENIZER(TEXTS[0])["input_ids"]) < len(TEXTS[0]) // 2
    assert TOKENIZER.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(len(SPECIAL_TOKENS)))
    TOKENIZER.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "turn 1.5 °?"}]}]
    for add in (True, False):
        texts = [t.apply_chat_template(chat, tokenize=False, add_generation_prompt=add) for t in (TOKENIZER, opened)]
        assert texts[0] == texts[1]
    assert TOKENIZER(texts[0])["input_ids"] == opened(texts[0])["input_ids"]
    assert opened.eos_token == "<|im_end|>" and opened.pad_token == "<|endoftext|>"


def test_the_chat_template_is_qwens(shared: Path) -> None:
    real = AutoTokenizer.from_pretrained(shared / "tokenizer" / "qwen2.5-vl")
    chat = [
        {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "\nwhat?"}]},
        {"role": "assistant", "content": "<answer>B</answer>"},
    ]
    for turns, add in ((chat[:1], True), (chat, False)):
        ours, theirs = (
            t.apply_chat_template(turns, tokenize=False, add_generation_prompt=add) for t in (TOKENIZER, real)
        )
        assert ours == theirs


#: As the model cards and the weights' own index files have them.
PUBLISHED = {
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen3-VL-4B-Instruct": 4_437_815_808,
    "Qwen/Qwen3-VL-8B-Instruct": 8_767_123_696,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_known_shapes_have_the_published_sizes(name: str) -> None:
    assert count_parameters(ModelSettings(name=name)).total() == PUBLISHED[name]


def test_a_known_shape_is_that_of_its_config(shared: Path) -> None:
    from_file = count_parameters(ModelSettings(name=str(shared / "tokenizer" / "qwen2.5-vl")))
    assert from_file == count_parameters(ModelSettings(name="Qwen/Qwen2.5-VL-7B-Instruct"))


def test_the_processor_of_a_real_model_is_carried_along(shared: Path, tmp_path: Path) -> None:
    """With the recipe's pixel bounds, and the base model's settings for videos, which are not used here."""
    base, saved = tmp_path / "base", tmp_path / "saved"
    shutil.copytree(shared / "tokenizer" / "qwen2.5-vl", base)
    (base / "video_preprocessor_config.json").write_text('{"fps": 2}')
    load_processor(ModelSettings(name=str(base), max_pixels=50_000), ()).save(saved)
    assert (saved / "video_preprocessor_config.json").read_text() == '{"fps": 2}'
    opened = AutoImageProcessor.from_pretrained(saved)
    assert dict(opened.size) == {"shortest_edge": 56 * 56, "longest_edge": 50_000}


def test_tiny_is_qwen(each_tiny: VisionLanguageModel) -> None:
    config = each_tiny.model.config
    assert config.tie_word_embeddings
    assert each_tiny.processor.token_px == {"qwen2_5_vl": 28, "qwen3_vl": 32}[config.model_type]
    counts = count_parameters(ModelSettings(name="tiny", tiny=TinySettings(family=config.model_type)))
    assert 1e6 < counts.total() < 3e6
    assert (counts["deepstack"] > 0) == (config.model_type == "qwen3_vl")


def test_a_saved_processor_is_opened_again(each_tiny: VisionLanguageModel, tmp_path: Path) -> None:
    """Patch size and normalisation too, which are another for each family."""
    each_tiny.processor.save(tmp_path)
    bounds = dict(zip(("min_pixels", "max_pixels"), each_tiny.processor.pixel_bounds, strict=True))
    opened = load_processor(ModelSettings(name="tiny", **bounds), (), tmp_path)
    assert opened.images.to_dict() == each_tiny.processor.images.to_dict()


def test_rounding_leaves_the_rotary_frequencies(each_tiny: VisionLanguageModel) -> None:
    own = VisionLanguageModel(copy.deepcopy(each_tiny.model), each_tiny.processor)
    own.round(torch.bfloat16)
    assert {parameter.dtype for parameter in own.model.parameters()} == {torch.bfloat16}
    assert own.model.lm_head.weight is own.model.model.language_model.embed_tokens.weight
    for (name, buffer), (_, before) in zip(own.model.named_buffers(), each_tiny.model.named_buffers(), strict=True):
        assert torch.equal(buffer, before) and buffer.dtype == torch.float32, name
