"""Scores of a model while it is trained: which, when, of which particles, and where they go."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor
from torchmetrics import Metric

from cryo_disentangle import metrics
from cryo_disentangle.callbacks import (
    DisentanglementMetrics,
    PoseConformationMetrics,
    PoseLeak,
    RotationTest,
    ScoreCallback,
)
from cryo_disentangle.particles import RealPreprocessing
from cryo_disentangle.types import ParticleBatch, Pose
from tests import tiny
from tests.callbacks import foreign, scored_processes, scored_runs, watched

pytestmark = [
    *(pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory.*:UserWarning"),
]

HELD_OUT: dict[str, Any] = {"held_out": scored_runs.simulation(1), "particles": 40}
REAL: dict[str, Any] = {"preprocessing": RealPreprocessing(), "infer": foreign.infer}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)


def every_callback() -> list[Callback]:
    return [
        DisentanglementMetrics(**HELD_OUT),
        PoseConformationMetrics(**HELD_OUT, true_generator=True),
        RotationTest(),
        PoseLeak(),
    ]


def validation_batch(count: int = 31) -> ParticleBatch:
    """All validation particles as one batch."""
    return (
        scored_runs.data(batch_size=count)
        .val_dataloader()
        .dataset.__getitems__(  # type: ignore[attr-defined]
            list(range(count))
        )
    )


def test_scores_of_validation_particles_are_those_of_the_metrics(tmp_path: Path) -> None:
    callbacks: list[Callback] = [DisentanglementMetrics(), RotationTest([90, 180]), PoseLeak()]
    module = scored_runs.model(0.0)
    run = scored_runs.fit(tmp_path, *callbacks, module=module)
    batch = validation_batch()
    module.eval()
    with torch.no_grad():
        inference = module.infer(batch)
    expected = metrics.disentanglement_metrics(inference.mean, batch["factors"])
    # Of a held-out row's place nothing depends but what is fitted.
    for name in ("mcc_pearson", "mcc_spearman", "mig", "sap", "modularity"):
        assert float(run.callback_metrics[f"metrics/{name}"]) == pytest.approx(
            float(expected[name]), abs=1e-5
        )
    turned = metrics.RotationTest([90, 180])
    turned.update(module, batch)
    for name in ("90_raw", "180_normalized", "normalized", "icc_min"):
        assert float(run.callback_metrics[f"metrics/rotation/{name}"]) == pytest.approx(
            float(turned.compute()[f"rotation_{name}"]), abs=1e-5
        )
    names = {name.rpartition("/")[0] for name in run.callback_metrics}
    assert {"metrics/pose_leak", "metrics/defocus_leak", "metrics/shift_leak"} <= names


def test_tables_are_kept_with_the_run(tmp_path: Path) -> None:
    run = scored_runs.fit(tmp_path, *every_callback(), max_epochs=2)
    for name, prefix in [
        ("disentanglement", ""),
        ("pose_conformation", "pose_conformation/"),
        ("rotation", None),
        ("pose_leak", None),
    ]:
        rows = scored_runs.read_table(tmp_path, name)
        assert [(row["epoch"], row["step"]) for row in rows] == [(0, 4), (1, 8)]
        with (tmp_path / f"metrics/{name}.csv").open() as file:
            written = list(csv.DictReader(file))
        assert [{k: float(v) for k, v in row.items()} for row in written] == rows
        for key, value in scored_runs.scores(rows[-1]).items():
            logged = f"metrics/{key}"
            assert prefix is None or key.startswith(prefix)
            assert float(run.callback_metrics[logged]) == pytest.approx(value, rel=1e-6)
    assert {path.suffix for path in (tmp_path / "metrics").iterdir()} == {".csv", ".json"}


def test_training_goes_on_as_if_nobody_had_looked(tmp_path: Path) -> None:
    found = []
    for callbacks in ([], every_callback()):
        module = scored_runs.model()
        scored_runs.fit(tmp_path, *callbacks, module=module, max_epochs=2)
        assert module.training
        found.append((module.state_dict(), torch.rand(1)))
    for name, value in found[0][0].items():
        if isinstance(value, Tensor):
            assert torch.equal(value, found[1][0][name]), name
    assert torch.equal(found[0][1], found[1][1])


def test_scores_choose_checkpoints_and_stop(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="metrics/mcc_pearson", mode="max", save_top_k=1)
    # A score that must fall by more than there is stops the run at once.
    stop = EarlyStopping("metrics/rotation/normalized", min_delta=100.0, patience=2)
    callbacks = [stop, best, *every_callback()]
    run = scored_runs.fit(tmp_path, *callbacks, max_epochs=9, enable_checkpointing=True)
    rows = scored_runs.read_table(tmp_path, "disentanglement")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert run.should_stop
    assert float(best.best_model_score or 0) == pytest.approx(
        max(row["mcc_pearson"] for row in rows), rel=1e-6
    )


def test_between_evaluations_the_last_scores_stand(tmp_path: Path) -> None:
    def callbacks() -> list[Callback]:
        best = ModelCheckpoint(
            tmp_path, monitor="metrics/mcc_pearson", filename="{epoch}", save_top_k=-1
        )
        return [DisentanglementMetrics(every_n_epochs=2), best]

    run = scored_runs.fit(tmp_path, *callbacks(), max_epochs=2, enable_checkpointing=True)
    assert [row["epoch"] for row in scored_runs.read_table(tmp_path, "disentanglement")] == [0]
    # The first epoch after resuming is none to score.
    checkpoint = str(tmp_path / "epoch=0.ckpt")
    resumed = scored_runs.fit(
        tmp_path, *callbacks(), max_epochs=2, enable_checkpointing=True, ckpt_path=checkpoint
    )
    assert [row["epoch"] for row in scored_runs.read_table(tmp_path, "disentanglement")] == [0]
    key = "metrics/mcc_pearson"
    assert float(resumed.callback_metrics[key]) == float(run.callback_metrics[key])
    scored_runs.fit(
        tmp_path, *callbacks(), max_epochs=5, enable_checkpointing=True, ckpt_path=checkpoint
    )
    rows = scored_runs.read_table(tmp_path, "disentanglement")
    assert [row["epoch"] for row in rows] == [0, 2, 4]


def test_a_resumed_run_ends_with_the_table_of_an_uninterrupted_one(tmp_path: Path) -> None:
    def go(folder: Path, **options: Any) -> list[list[dict[str, Any]]]:
        save = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
        scored_runs.fit(folder, save, *every_callback(), enable_checkpointing=True, **options)
        names = ("disentanglement", "pose_conformation", "rotation", "pose_leak")
        return [scored_runs.read_table(folder, name) for name in names]

    expected = go(tmp_path / "whole", max_epochs=4)
    # The third epoch is done twice, for the run broke off after it.
    go(tmp_path / "parts", max_epochs=3)
    found = go(tmp_path / "parts", max_epochs=4, ckpt_path=str(tmp_path / "parts/epoch=1.ckpt"))
    assert found == expected
    assert [row["epoch"] for row in found[0]] == [0, 1, 2, 3]


def test_several_validations_of_an_epoch(tmp_path: Path) -> None:
    scored_runs.fit(
        tmp_path, DisentanglementMetrics(every_n_epochs=2), max_epochs=2, val_check_interval=0.5
    )
    rows = scored_runs.read_table(tmp_path, "disentanglement")
    assert [(row["epoch"], row["step"]) for row in rows] == [(0, 2), (0, 4)]


def test_a_trial_run_writes_nothing(tmp_path: Path) -> None:
    scored_runs.fit(tmp_path, *every_callback(), fast_dev_run=True)
    assert not list(tmp_path.iterdir())


def test_a_sanity_check_is_not_scored(tmp_path: Path) -> None:
    scored_runs.fit(tmp_path, *every_callback(), num_sanity_val_steps=2)
    for name in ("disentanglement", "rotation"):
        rows = scored_runs.read_table(tmp_path, name)
        assert [row["epoch"] for row in rows] == [0]


def test_validating_logs_and_leaves_the_tables_alone(tmp_path: Path) -> None:
    module = scored_runs.model(0.0)
    fitted = scored_runs.fit(tmp_path / "fit", *every_callback(), module=module)
    run = scored_runs.trainer(tmp_path / "validate", *every_callback())
    (found,) = run.validate(module, datamodule=scored_runs.data(), verbose=False)
    for name, value in found.items():
        assert value == pytest.approx(float(fitted.callback_metrics[name]), rel=1e-5, abs=1e-6)
    assert "metrics/mcc_pearson" in found
    assert not (tmp_path / "validate").exists()


def test_half_precision(tmp_path: Path) -> None:
    scored_runs.fit(tmp_path, *every_callback(), precision="bf16-mixed")
    (row,) = scored_runs.read_table(tmp_path, "disentanglement")
    assert np.isfinite(list(row.values())).all()


def test_a_user_needs_no_validation_for_held_out_particles(tmp_path: Path) -> None:
    callbacks = [
        DisentanglementMetrics(**HELD_OUT, **REAL),
        PoseConformationMetrics(**HELD_OUT, **REAL, generate=foreign.generate, true_generator=True),
        RotationTest(**HELD_OUT, **REAL),
        PoseLeak(**HELD_OUT, **REAL),
        ModelCheckpoint(tmp_path, monitor="metrics/mcc_pearson", filename="best"),
    ]
    run = scored_runs.trainer(tmp_path, *callbacks, max_epochs=3, enable_checkpointing=True)
    run.fit(scored_runs.user_model(validated=False), foreign.loader(20, 10))
    rows = scored_runs.read_table(tmp_path, "disentanglement")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    (row, *_) = scored_runs.read_table(tmp_path, "pose_conformation")
    assert "pose_conformation/conformation_encoder_consistency_normalized" in row
    assert "pose_conformation/pose_encoder_consistency" not in row
    assert (tmp_path / "best.ckpt").is_file()


def test_every_particle_of_a_user_counts_whatever_its_number(tmp_path: Path) -> None:
    module = scored_runs.user_model(0.0)
    run = scored_runs.trainer(tmp_path, DisentanglementMetrics(**scored_runs.USER))
    run.fit(module, foreign.loader(20, 10), scored_runs.user_loader())
    images, _, bend = foreign.make_particles(31, seed=1).tensors
    with torch.no_grad():
        z = module.encode(images)[0]
    expected = metrics.functional.mcc(z, bend[:, None])
    found = run.callback_metrics["metrics/mcc_pearson"]
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


class Drawing(scored_runs.Validated):
    """A user's model that draws where it infers."""

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().encode(images)
        return mean + torch.randn_like(mean), log_variance


def test_what_a_model_draws_when_looked_at_is_not_missed(tmp_path: Path) -> None:
    found = []
    for callbacks in ([], [RotationTest(**scored_runs.USER)]):
        torch.manual_seed(0)
        module = Drawing()
        run = scored_runs.trainer(tmp_path, *callbacks, max_epochs=2)
        torch.manual_seed(1)
        run.fit(module, foreign.loader(20, 10), scored_runs.user_loader())
        found.append(next(module.decoder.parameters()).detach())
    assert torch.equal(*found)


def test_two_processes_find_the_scores_of_one(tmp_path: Path, two_processes: Path) -> None:
    two = two_processes / "scored"
    scored_processes.main(tmp_path)
    tables = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("*/*/*.json"))
    assert len(tables) == len(scored_processes.callbacks()) + 3
    for table in tables:
        expected, found = (
            scored_runs.read_table(folder, table.stem, str(table.parent))
            for folder in (tmp_path, two)
        )
        assert len(expected) == len(found) == (1 if "user" in str(table) else 2)
        for mine, theirs in zip(expected, found, strict=True):
            mine, theirs = scored_runs.scores(mine), scored_runs.scores(theirs)
            assert theirs == pytest.approx(mine, rel=1e-6, abs=1e-6), table
    first, second = ((two / f"{rank}.json").read_text() for rank in range(2))
    assert first == second


def test_a_configuration_names_them_in_short(tmp_path: Path) -> None:
    for name, seed in (("held_out", 1), ("data", 0)):
        scored_runs.simulation(seed, n_images=60).write(tmp_path / name)
    held_out = {"held_out": str(tmp_path / "held_out"), "particles": 30}
    callbacks = [
        {"class_path": "DisentanglementMetrics", "init_args": held_out},
        {"class_path": "PoseConformationMetrics", "init_args": held_out | {"true_generator": True}},
        {"class_path": "RotationTest", "init_args": {"angles_deg": [90]}},
        *({"class_path": name} for name in ("PoseLeak", "PoseInterventionPenalty")),
        *({"class_path": name} for name in ("LatentFigures", "TraversalVolumes", "CryoDRGNExport")),
        {"class_path": "EarlyStopping", "init_args": {"monitor": "metrics/mig", "mode": "max"}},
    ]
    files = {"particles": "particles.mrcs", "poses": "poses.pkl", "ctf": "ctf.pkl"}
    data: dict[str, Any] = {key: str(tmp_path / "data" / file) for key, file in files.items()}
    data |= {"batch_size": 10, "validation_fraction": 0.4}
    config = tiny.write_config(tmp_path, data, callbacks=callbacks, max_epochs=1)
    tiny.call("fit", "--config", config, "--checkpoint.monitor=metrics/mcc_pearson")
    (row,) = scored_runs.read_table(tmp_path / "run", "disentanglement")
    assert row["mcc_pearson"] >= 0
    assert tiny.read_metrics(tmp_path / "run", "metrics/rotation/90_normalized")
    assert tiny.read_metrics(tmp_path / "run", "metrics/pose_leak/linear_r2")
    assert tiny.read_metrics(tmp_path / "run", "train/pose_intervention")
    for file in ("figures/epoch_001_drift.png", "traversals/epoch_001/z2.cxc", "cryodrgn/z.1.pkl"):
        assert (tmp_path / "run" / file).is_file()


@pytest.mark.parametrize("sanity", [0, 1])
def test_validation_batches_without_factors_are_refused(tmp_path: Path, sanity: int) -> None:
    run = scored_runs.trainer(
        tmp_path,
        DisentanglementMetrics(infer=foreign.infer, as_batch=foreign.as_batch),
        num_sanity_val_steps=sanity,
    )
    with pytest.raises(ValueError, match="DisentanglementMetrics needs factors: the part"):
        run.fit(scored_runs.user_model(), foreign.loader(), foreign.loader(20))


def test_runs_without_validation_are_refused(tmp_path: Path) -> None:
    run = scored_runs.trainer(tmp_path, RotationTest(**scored_runs.USER))
    with pytest.raises(ValueError, match="RotationTest looks at validation batches and this run"):
        run.fit(scored_runs.user_model(validated=False), foreign.loader())


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (PoseConformationMetrics(), r"Validated has no infer\(batch\)"),
        (PoseConformationMetrics(infer=foreign.infer), r"has no generate\(conformation, pose, b"),
    ],
)
def test_models_that_cannot_be_scored_are_refused(
    tmp_path: Path, callback: ScoreCallback, message: str
) -> None:
    run = scored_runs.trainer(tmp_path, callback)
    with pytest.raises(TypeError, match=message):
        run.fit(scored_runs.user_model(), foreign.loader(), scored_runs.user_loader())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DisentanglementMetrics(every_n_epochs=0), "every_n_epochs must be at least 1"),
        (
            lambda: PoseLeak(prefix="../up"),
            r"prefix must be a name such .* found '\.\./up",
        ),
        (lambda: RotationTest(angles_deg=[360]), "angles_deg must be angles that are no multiples"),
        (lambda: PoseConformationMetrics(noise_std=-1.0), "noise_std must not be negative"),
        (
            lambda: PoseConformationMetrics(true_generator=True),
            "true_generator needs the simulation behind held-out particles",
        ),
    ],
)
def test_options_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def nothing_known(batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """A user's particles without their poses."""
    particles = scored_runs.as_batch(batch)
    del particles["rotation"]
    return particles


def test_particles_that_nothing_is_known_of_are_refused(tmp_path: Path) -> None:
    run = scored_runs.trainer(tmp_path, PoseLeak(infer=foreign.infer, as_batch=nothing_known))
    with pytest.raises(ValueError, match="PoseLeak finds nothing to score in particles th"):
        run.fit(scored_runs.user_model(), foreign.loader(), scored_runs.user_loader())


def test_a_lack_of_particles_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = scored_runs.trainer(tmp_path, RotationTest())
    monkeypatch.setattr(run.strategy, "reduce_boolean_decision", lambda _: False)
    with pytest.raises(ValueError, match="RotationTest saw no validation particles on some proc"):
        run.fit(scored_runs.model(), datamodule=scored_runs.data())


class Spread:
    """A user's metric: no base class, no annotations."""

    def __init__(self, scale=1.0):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        self.scale = scale

    def update(self, z, factors=None, missing=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        assert missing is None
        self.found = self.scale * z.std(0).mean(), factors.shape[1]

    def compute(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        return {"mean": self.found[0], "factors": self.found[1]}


class Rendered(Metric):
    """A user's metric of torchmetrics that looks at the model."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, model: Any, batch: ParticleBatch) -> None:
        pose = Pose(batch["rotation"])
        self.total += model.generate(model.infer(batch).mean, pose, batch).square().sum()

    def compute(self) -> Tensor:
        return torch.as_tensor(self.total)


def test_any_metric_is_logged(tmp_path: Path) -> None:
    module = scored_runs.model(0.0)
    own, rendered = ScoreCallback(Spread(2.0)), ScoreCallback(Rendered(), name="power")  # type: ignore[no-untyped-call]
    found = ScoreCallback(metrics.MCC(), prefix="of/theirs")
    alone = ScoreCallback(metrics.GaussianTotalCorrelation())
    run = scored_runs.fit(tmp_path, own, rendered, found, alone, module=module)
    batch = validation_batch()
    with torch.no_grad():
        z = module.eval().infer(batch).mean
    logged = {name: float(value) for name, value in run.callback_metrics.items()}
    assert logged["metrics/spread/mean"] == pytest.approx(2 * float(z.std(0).mean()), rel=1e-5)
    assert logged["metrics/spread/factors"] == batch["factors"].shape[1]
    assert logged["metrics/power"] > 0
    expected = metrics.functional.mcc(z, batch["factors"])
    assert logged["of/theirs/mcc"] == pytest.approx(float(expected), abs=1e-5)
    assert "metrics/gaussian_total_correlation" in logged
    assert scored_runs.read_table(tmp_path, "power", "metrics")
    assert len({callback.state_key for callback in (own, rendered, found, alone)}) == 4


def test_a_configuration_names_any_metric() -> None:
    def build(**metric: Any) -> ScoreCallback:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(Callback, "callback", fail_untyped=False)
        options = {"class_path": "ScoreCallback", "init_args": {"metric": metric}}
        made: ScoreCallback = parser.instantiate(
            parser.parse_object({"callback": options})
        ).callback
        return made

    own = build(class_path=f"{__name__}.Spread", init_args={"scale": 3})
    assert isinstance(own.metric, Spread)
    assert own.metric.scale == 3
    assert build(class_path="cryo_disentangle.metrics.MCC").table == "mcc"


class Loose:
    def update(self, *everything: Tensor) -> None: ...

    def compute(self) -> float:
        return 0.0


class Wordy(Spread):
    def compute(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        return {"words": "none"}


class Demanding(Spread):
    def update(self, z, colour):  # type: ignore[no-untyped-def, override]  # noqa: ANN001, ANN201
        ...


def test_metrics_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Loose.update must name what it asks for: any of model"):
        ScoreCallback(Loose())
    with pytest.raises(TypeError, match=r"Wordy.compute must return a number or numbers by name"):
        scored_runs.fit(tmp_path, ScoreCallback(Wordy()))  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match="Demanding needs colour: the particles have ctf"):
        scored_runs.fit(tmp_path, ScoreCallback(Demanding()))  # type: ignore[no-untyped-call]


class OfBatches(Spread):
    def update(self, inference):  # type: ignore[no-untyped-def, override]  # noqa: ANN001, ANN201
        self.found = inference.mean.std(), 1


def test_several_processes_need_a_metric_that_gathers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = ScoreCallback(OfBatches())  # type: ignore[no-untyped-call]
    run = scored_runs.fit(tmp_path, callback)
    assert "metrics/of_batches/mean" in run.callback_metrics
    monkeypatch.setattr(type(run), "world_size", 2)
    with pytest.raises(ValueError, match=r"OfBatches looks at batches.* a torchmetrics\.Metric"):
        callback._begin(run, scored_runs.model())
