"""The loop of one stage: it learns, goes on where it stopped, and stops at what cannot be."""

import numpy as np
import pytest
import torch
from torch import nn

from interleave_index.errors import InterleaveError
from interleave_index.training.loop import LossMeans, Progress, Stage, StageSettings, run_stage


class Line(Stage):
    """A stage that fits one number."""

    name = "line"
    module: nn.Linear

    def __init__(self):
        super().__init__(StageSettings(minutes=1, batch=4, rate=0.05, decay=0.0))
        self.module = nn.Linear(1, 1)
        self.shares = []

    def losses(self, rng, share=0.0):
        self.shares.append(share)
        x = torch.from_numpy(rng.normal(size=(4, 1)).astype(np.float32))
        return {"square": ((self.module(x) - 2 * x) ** 2).mean()}

    def measure(self):
        return {"weight": float(self.module.weight.detach())}


def test_a_stage_learns_and_goes_on_where_it_stopped(tmp_path):
    lines: list[Progress] = []
    stage = Line()
    run_stage(stage, tmp_path / "line.pt", minutes=0.02, bf16=False, progress=lines.append)
    assert float(stage.module.weight.detach()) == pytest.approx(2, abs=0.3)
    assert stage.shares == sorted(stage.shares) and stage.shares[0] < 0.1 and 0.9 < stage.shares[-1] < 1
    steps = lines[-1].step
    again = Line()
    run_stage(again, tmp_path / "line.pt", minutes=0.03, bf16=False, progress=lines.append)
    assert lines[-1].step > steps and lines[-1].done == 1
    assert again.shares[0] >= 0.02 / 0.03 - 0.01
    assert lines[-1].measured["weight"] == pytest.approx(2, abs=0.3)
    assert "held out: weight" in str(lines[-1])


def test_a_stage_that_was_interrupted_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    class Interrupted(Line):
        def losses(self, rng, share=0.0):
            if len(self.shares) == 20:
                raise KeyboardInterrupt
            return super().losses(rng, share)

    monkeypatch.setattr("interleave_index.training.loop.CHECKPOINT_SECONDS", 0.0)  # after every step
    stopped = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run_stage(stopped, tmp_path / "line.pt", minutes=1, bf16=False, progress=lambda _: None)
    kept = torch.load(tmp_path / "line.pt", weights_only=True)
    assert kept["step"] == 20 and torch.equal(kept["module"]["weight"], stopped.module.weight.detach())
    lines: list[Progress] = []
    run_stage(Line(), tmp_path / "line.pt", minutes=kept["used"] / 60 + 0.01, bf16=False, progress=lines.append)
    assert lines[-1].step > 20


def test_a_checkpoint_of_another_stage_is_refused(tmp_path):
    run_stage(Line(), tmp_path / "line.pt", minutes=0.001, bf16=False, progress=lambda _: None)
    other = Line()
    other.name = "other"
    with pytest.raises(InterleaveError, match="is of stage line, expected other"):
        run_stage(other, tmp_path / "line.pt", minutes=0.001, progress=lambda _: None)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    class Broken(Line):
        def losses(self, rng, share=0.0):
            return {"square": torch.tensor(float("nan"), requires_grad=True)}

    with pytest.raises(InterleaveError, match="loss is nan at step 0"):
        run_stage(Broken(), tmp_path / "x.pt", minutes=0.001, bf16=False, progress=lambda _: None)


def test_means_are_over_the_steps_that_had_a_loss():
    means = LossMeans()
    means.add({"bce": 1.0, "dice": 4.0})
    means.add({"bce": 2.0})
    assert means.steps == 2 and means.take() == {"bce": 1.5, "dice": 4.0}
    assert means.steps == 0 and means.take() == {}
