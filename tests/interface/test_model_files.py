"""What is known of a model's files without building it."""

import pytest
import torch
from safetensors.torch import save_file

from interleave_index.errors import WeightsMissing
from interleave_index.interface.model_files import contents


def test_tensors_are_counted_part_by_part_with_their_precision(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    tensors = {"text.a": torch.zeros(2, 3), "text.b": torch.zeros(4, dtype=torch.float16), "alone": torch.zeros(())}
    save_file(tensors | {"sem_seg_head.predictor.x": torch.zeros(5)}, tmp_path / "model.safetensors")
    facts = contents(str(tmp_path))
    assert facts["kind"] == "clip" and facts["tensors"] == {
        "model.safetensors: alone": "1 tensor, 1 parameter, F32",
        "model.safetensors: sem_seg_head.predictor": "1 tensor, 5 parameters, F32",
        "model.safetensors: text": "2 tensors, 10 parameters, F16 F32",
    }


def test_the_bundled_model_is_described_too():
    facts = contents("find-mini")
    assert facts["kind"] == "find-mini" and any("interface" in part for part in facts["tensors"])


def test_a_model_without_files_and_a_file_that_is_none_are_named(tmp_path):
    with pytest.raises(WeightsMissing, match="toy has no weights"):
        contents("toy")
    (tmp_path / "model.safetensors").write_bytes(b"\x05")
    with pytest.raises(WeightsMissing, match="is no safetensors file"):
        contents(str(tmp_path))
