"""A checkpoint that answers questions: opened from a folder, the hub or a run, asked in batches, greedily."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image

from hatch_data.errors import HatchError
from hatch_train import checkpoint, recipe
from hatch_train.errors import EvaluationError, ModelError
from hatch_train.evaluation.samples import Sample
from hatch_train.images import ImageReader
from hatch_train.model import VisionLanguageModel, load
from hatch_train.settings import ModelSettings
from hatch_train.stages import restored
from hatch_train.stages.supervised import IMAGE_MARK, IMAGE_TOKEN, SupervisedSettings

#: Asks for the actions before the answer, as in training.
ACTION_INSTRUCTION: str = SupervisedSettings.model_fields["instruction"].default
#: Qwen's own recommendation; the bound in its published files, 16,384 tokens an image, is for documents.
MAX_PIXELS = 1280 * 28 * 28
#: Images of one question that vLLM makes room for; VSI-Bench has the most.
MOST_IMAGES = 32


class Reply(NamedTuple):
    """What was said, and whether the limit on new tokens cut it off."""

    text: str
    cut_off: bool


class Answerer(Protocol):
    """Replies to a batch of samples, whose prompts may be followed by `instruction`."""

    def reply(self, samples: Sequence[Sample], instruction: str) -> list[Reply]: ...


def parts(sample: Sample, images: int, instruction: str) -> list[dict[str, str]]:
    """The prompt as the parts that a chat template takes: the images first, or where `<image>` marks them."""
    text = sample.prompt if IMAGE_MARK in sample.prompt else IMAGE_MARK * images + sample.prompt
    if text.count(IMAGE_MARK) != images:
        raise EvaluationError(f"sample {sample.id}: {text.count(IMAGE_MARK)} image marks, {images} images")
    found: list[dict[str, str]] = []
    for number, piece in enumerate(text.split(IMAGE_MARK)):
        found += [{"type": "image"}] if number else []
        found += [{"type": "text", "text": piece}] if piece else []
    return [*found, {"type": "text", "text": f"\n{instruction}"}] if instruction else found


class Transformers:
    """Left-padded batches with transformers."""

    def __init__(self, model: VisionLanguageModel, max_new_tokens: int):
        self.model, self.max_new_tokens = model, max_new_tokens
        self.images = ImageReader(model.processor, None, cache_mb=256)

    @torch.no_grad()
    def reply(self, samples: Sequence[Sample], instruction: str) -> list[Reply]:
        """What the model says to each sample, greedily, the samples side by side."""
        processor, tokenizer = self.model.processor, self.model.processor.tokenizer
        ids, pixels, grids = [], [], []
        for sample in samples:
            data = sample.images()
            patches, grid = self._read(sample, data)
            chat = [{"role": "user", "content": parts(sample, len(data), instruction)}]
            prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            for count in grid.prod(axis=1) // processor.merge**2:
                prompt = prompt.replace(IMAGE_TOKEN, "\0" * int(count), 1)
            encoded = tokenizer(prompt.replace("\0", IMAGE_TOKEN), add_special_tokens=False)["input_ids"]
            ids.append(torch.tensor(encoded))
            pixels.append(torch.from_numpy(patches))
            grids.append(torch.from_numpy(grid))
        new = self.model.generate(ids, torch.cat(pixels), torch.cat(grids), self.max_new_tokens).cpu()
        ended = (new == tokenizer.eos_token_id).any(dim=1)
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        return [Reply(text, not end) for text, end in zip(texts, ended.tolist(), strict=True)]

    def _read(self, sample: Sample, data: Sequence[bytes]) -> tuple[Any, Any]:
        try:
            sizes = [Image.open(io.BytesIO(one)).size[::-1] for one in data]
            return self.images.read(list(data), sizes, np.random.default_rng(0), sample.id)
        except (HatchError, OSError) as error:
            raise EvaluationError(
                f"sample {sample.id}: an image cannot be used ({error}); download the data again"
            ) from None


class Vllm:
    """Batches with vLLM, for folders and hub ids. Needs a GPU; not covered by the tests."""

    def __init__(self, name: str, max_pixels: int | None, max_new_tokens: int):
        try:
            vllm: Any = import_module("vllm")
        except ModuleNotFoundError:
            raise ModelError("vllm is not installed; pip install vllm, or use --backend transformers") from None
        bounds = {} if max_pixels is None else {"max_pixels": max_pixels}
        self.model = vllm.LLM(name, limit_mm_per_prompt={"image": MOST_IMAGES}, mm_processor_kwargs=bounds, seed=0)
        self.settings = vllm.SamplingParams(temperature=0, max_tokens=max_new_tokens)

    def reply(self, samples: Sequence[Sample], instruction: str) -> list[Reply]:
        tokenizer, asked = self.model.get_tokenizer(), []
        for sample in samples:
            images = [Image.open(io.BytesIO(one)).convert("RGB") for one in sample.images()]
            chat = [{"role": "user", "content": parts(sample, len(images), instruction)}]
            prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            asked.append({"prompt": prompt, "multi_modal_data": {"image": images}})
        said = [output.outputs[0] for output in self.model.generate(asked, self.settings, use_tqdm=False)]
        return [Reply(output.text, output.finish_reason == "length") for output in said]


def open_model(name: str, max_pixels: int | None = None) -> VisionLanguageModel:
    """The model of a Hugging Face folder, a hub id, or a run's checkpoint folder, on the GPU where there is one.

    Images are bounded as in training for a run and an exported folder, else by `MAX_PIXELS`.
    Raises `ModelError` for anything else.
    """
    folder = Path(name)
    run_folder = folder.parent.parent
    if folder.is_dir() and folder in checkpoint.finished(folder.parent) and (run_folder / "recipe.yaml").is_file():
        model = restored(_recipe(run_folder, max_pixels), folder)
    elif folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: neither a Hugging Face folder (config.json) nor a checkpoint of a run")
    else:
        least, most = _pixel_bounds(name)
        model = load(ModelSettings(name=name, min_pixels=least, max_pixels=max_pixels or min(most, MAX_PIXELS)), (), 0)
    return _placed(model)


def open_run(folder: Path, max_pixels: int | None = None) -> dict[str, VisionLanguageModel]:
    """The model of a run as it was `before` its first step, and `after` its last checkpoint.

    Raises `ModelError` for a run without a checkpoint.
    """
    finished = checkpoint.finished(folder / "checkpoints")
    if not finished:
        raise ModelError(f"{folder}: a run without a checkpoint so far; train first")
    started = _recipe(folder, max_pixels)
    before = load(started.model, (), started.seed, folder / "processor")
    return {"before": _placed(before), "after": open_model(str(finished[-1]), max_pixels)}


def _recipe(run_folder: Path, max_pixels: int | None) -> recipe.Recipe:
    own = recipe.read(run_folder / "recipe.yaml")
    changes = {} if max_pixels is None else {"max_pixels": max_pixels}
    return own.model_copy(update={"model": own.model.model_copy(update=changes)})


def _placed(model: VisionLanguageModel) -> VisionLanguageModel:
    """On the GPU where there is one, ready to be asked."""
    if torch.cuda.is_available():
        model.round(torch.bfloat16)
        model.model.to("cuda")
    model.model.eval()
    return model


def _pixel_bounds(name: str) -> tuple[int, int]:
    from transformers import AutoConfig
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    try:
        AutoConfig.from_pretrained(name)
        size = Qwen2VLImageProcessorPil.from_pretrained(name).size
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{name}: no such folder or model ({reason}); give a folder, a hub id or a checkpoint"
        ) from None
    return size["shortest_edge"], size["longest_edge"]


def fingerprint(name: str) -> str:
    """Changes when the files of a checkpoint folder do; of a hub id its name."""
    folder = Path(name)
    listed = sorted(folder.rglob("*")) if folder.is_dir() else []
    told = [f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in listed if p.is_file()]
    return hashlib.sha256("\n".join([name if not told else "", *told]).encode()).hexdigest()[:16]
