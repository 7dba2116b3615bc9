"""Options of the Trainer that other options go with."""

from __future__ import annotations

from typing import Any

import pytest

from cryo_disentangle.cli.trainer_options import set_schedule_length


def model(interval: str = "step", **init: Any) -> dict[str, Any]:
    scheduler = {"class_path": "torch.optim.lr_scheduler.OneCycleLR", "init_args": init}
    return {"lr_interval": interval, "lr_scheduler": scheduler}


@pytest.mark.parametrize(
    ("trainer", "interval"), [({"max_steps": 70}, "step"), ({"max_epochs": 70}, "epoch")]
)
def test_a_schedule_without_length_is_as_long_as_training(
    trainer: dict[str, int], interval: str
) -> None:
    options = model(interval, total_steps=None)
    set_schedule_length(trainer, options)
    assert options["lr_scheduler"]["init_args"]["total_steps"] == 70


@pytest.mark.parametrize(
    "options",
    [
        {"lr_interval": "step", "lr_scheduler": None},
        model(T_max=10),
        model(total_steps=None, epochs=3, steps_per_epoch=4),
        model(total_steps=70),
        model(total_steps=80),
        {"lr_scheduler": model(total_steps=None)["lr_scheduler"]},
    ],
)
def test_others_are_left_as_they_are(options: dict[str, Any]) -> None:
    before = str(options)
    set_schedule_length({"max_steps": 70}, options)
    assert str(options) == before


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"trainer.max_steps is 71, .* \(OneCycleLR\) ends after total_steps 70: leave total_",
    ):
        set_schedule_length({"max_steps": 71}, model(total_steps=70))
    for unknown in (-1, None):
        with pytest.raises(ValueError, match=r"OneCycleLR needs the length .* trainer.max_steps"):
            set_schedule_length({"max_steps": unknown}, model(total_steps=None))
