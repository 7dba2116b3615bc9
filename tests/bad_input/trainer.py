"""Wrong options of the Trainer and its callbacks."""

from __future__ import annotations

from tests.bad_input.workspace import Kind

_SLOW = "{class_path: SlownessPenalty, init_args: {weight: 1}}"


def _fit(name: str, said: str, *words: str) -> Kind:
    return Kind(name, "fit", said, words)


TRAINER = (
    _fit("no devices", "trainer.devices: expected a number of devices", "--trainer.devices=0"),
    _fit(
        "devices of a word",
        "`devices` selected with `CPUAccelerator` shou",
        "--trainer.devices=many",
    ),
    _fit(
        "more processes than cores",
        "trainer.devices: 999 processes on a CPU, and this machine has",
        "--trainer.devices=999",
    ),
    _fit(
        "an accelerator that is not there",
        "trainer.accelerator: found gpu, and this mach",
        "--trainer.accelerator=gpu",
    ),
    _fit(
        "an unknown accelerator",
        "You selected an invalid accelerator name: `ac",
        "--trainer.accelerator=abacus",
    ),
    _fit(
        "an unknown strategy",
        "You selected an invalid strategy name: `strat",
        "--trainer.strategy=nope",
    ),
    _fit(
        "an unknown precision",
        "trainer.precision: expected int or Literal['t",
        "--trainer.precision=half",
    ),
    _fit(
        "a precision that would round poses",
        "precision 16-true would round poses and CTFs ",
        "--trainer.precision=16-true",
    ),
    _fit(
        "epochs of a word",
        "trainer.max_epochs: expected int or null, fou",
        "--trainer.max_epochs=x",
    ),
    _fit(
        "epochs below -1",
        "`max_epochs` must be a non-negative integer o",
        "--trainer.max_epochs=-3",
    ),
    _fit(
        "a time of a word",
        "`Timer(duration='abc')` is not a valid durati",
        "--trainer.max_time=abc",
    ),
    _fit(
        "validation rarer than batches",
        "`val_check_interval` (1000) must be less than",
        "--trainer.val_check_interval=1000",
    ),
    _fit(
        "an unknown profiler",
        "When passing string value for the `profiler` ",
        "--trainer.profiler=nope",
    ),
    _fit(
        "an unknown logger",
        "trainer.logger: expected a class that is impo",
        "--trainer.logger=Nope",
    ),
    _fit(
        "an unknown callback",
        "trainer.callbacks: expected a class that is i",
        "--trainer.callbacks+=Nope",
    ),
    _fit(
        "a clipping of a word",
        "trainer.gradient_clip_val: expected int or fl",
        "--trainer.gradient_clip_val=x",
    ),
    _fit(
        "an unknown monitor",
        "checkpoint.monitor: expected one of ['train/l",
        "--checkpoint.monitor=val/nothing",
    ),
    _fit(
        "an unknown mode",
        "`mode` can be min, max but got up",
        "--checkpoint.monitor=val/loss",
        "--checkpoint.mode=up",
    ),
    _fit(
        "checkpoints of -5",
        "Invalid value for save_top_k=-5. Must be >= -",
        "--checkpoint.save_top_k=-5",
    ),
    _fit(
        "checkpoints every -1 steps",
        "Invalid value for every_n_train_steps=-1. Mus",
        "--checkpoint.every_n_train_steps=-1",
    ),
    _fit(
        "no checkpoints",
        "Trainer was configured with `enable_checkpoin",
        "--trainer.enable_checkpointing=false",
    ),
    _fit(
        "a guard that never looks",
        "every_n_steps must be at least 1, found 0",
        "--guard.every_n_steps=0",
    ),
    _fit(
        "signals never looked for",
        "every_n_steps must be at least 1, found 0",
        "--signals.every_n_steps=0",
    ),
    _fit(
        "fewer volumes than none", "kmeans must not be negative, found -1", "--prediction.kmeans=-1"
    ),
    _fit(
        "a negative seed", "seed_everything: expected a whole number from", "--seed_everything=-4"
    ),
    _fit(
        "a seed of a word", "seed_everything: expected bool or int, found ", "--seed_everything=x"
    ),
    _fit(
        "a penalty given twice",
        "trainer.callbacks: SlownessPenalty is there twice under one name:",
        f"--trainer.callbacks=[{_SLOW}, {_SLOW}]",
    ),
)
