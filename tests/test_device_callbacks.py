"""Every callback and LightningModule in Lightning's loop on the fake device, also in bfloat16."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from torch.utils.data import DataLoader

from cryo_disentangle import callbacks, modules, statistics
from cryo_disentangle.interop import CryoDRGNParticles
from cryo_disentangle.losses import DIPVAE, PoseIntervention, PosteriorDistance
from cryo_disentangle.metrics import MeanCanonicalCorrelation
from cryo_disentangle.modules import CryoDRGNReconstruction, SubspaceReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.statistics import StatisticsData
from tests import tiny
from tests.callbacks import scored_runs, watched
from tests.device_parts import make_part_batch
from tests.fake_autocast import register_autocast
from tests.fake_device import FakeDevice, Seen, is_available
from tests.fake_trainer import STRATEGY
from tests.interop import runs
from tests.small_model import make_model
from tests.statistics.synthetic import statistics_of, write

pytestmark = [
    pytest.mark.skipif(not is_available(), reason="torch before 2.10 has no such backend"),
    pytest.mark.filterwarnings("ignore:.*have no .val_dataloader"),
    *(pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET),
]
_STEPS = 8
_ANY: dict[str, dict[str, Any]] = {
    "AccumulatedGradients": {},
    "CryoDRGNExport": {},
    "FinalCheckpoint": {},
    "IdentifiabilityCheck": {"particles": 100},
    "LatentFigures": {"particles": 50},
    "NonFiniteGuard": {"skip": True},
    "PenaltyCallback": {"penalty": DIPVAE()},
    "PoseConformationMetrics": {},
    "PoseInterventionPenalty": {},
    "PoseLeak": {},
    "RotationTest": {"angles_deg": (90.0,)},
    "RunReport": {"particles": 100},
    "SignalCheckpoint": {},
    "TraversalVolumes": {"steps": 2, "particles": 50, "volume_box_size": 8},
}
_SCORES: dict[str, dict[str, Any]] = {
    "DisentanglementMetrics": {},
    "ScoreCallback": {"metric": MeanCanonicalCorrelation()},
}
_DRAWING = {"LatentFigures", "RunReport", "TraversalVolumes"}
# Below, or by the command line in test_device_runs.py.
_ELSEWHERE = {"AtomicCheckpointIO", "NameAxes", "PredictionWriter", "SlownessPenalty"}
_MODULES = {"CryoDRGNReconstruction", "HeterogeneousReconstruction", "SubspaceReconstruction"}


class _Settled(Callback):
    """Forgets what the first two steps make once."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def on_train_batch_end(self, *given: Any) -> None:
        if given[-1] == 1:
            self._seen.found.clear()


def fit(module: Any, data: Any, folder: Path, half: bool, *given: Callback) -> Seen:
    """Trains an epoch on the device; but for the batch to come, nothing may wait at every step."""
    with FakeDevice(float64=False) as seen:
        register_autocast()
        # Lightning's own would ask for CUDA.
        plugin = MixedPrecision("bf16-mixed", "gpu") if half else Precision()
        options: dict[str, Any] = {"accelerator": "fake", "strategy": STRATEGY, "max_epochs": 1}
        options["enable_checkpointing"] = True
        trainer = watched.make_trainer(
            folder, *given, _Settled(seen), **options, plugins=[plugin], log_every_n_steps=1000
        )
        trainer.fit(module, data)
    often = {
        key: count
        for key, count in seen.waits("step: ").items()
        if count >= trainer.global_step - 2
        and not (key[0] == "h2d" and key[1].endswith("elsewhere"))
    }
    assert not often
    return seen


def classes(room: Any, *bases: type) -> set[str]:
    """Public classes of a room, of some kinds."""
    public = {name for name in room.__all__ if inspect.isclass(getattr(room, name))}
    return {name for name in public if not bases or issubclass(getattr(room, name), bases)}


def test_every_callback_and_module_is_in_a_table() -> None:
    assert classes(callbacks) == {*_ANY, *_SCORES, *_ELSEWHERE}
    assert classes(modules, L.LightningModule) == {*_MODULES, "LatentTraining"}


def test_every_class_of_statistics_is_known() -> None:
    # Of modules, what is made once; the rest are files and their loader.
    expected = {"StatisticsData", "StatisticsFolder", "Subspace", "SubspacePosterior"}
    assert classes(statistics) == expected


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_callbacks_watch_without_waiting(
    half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "PIXEL_SIZE", scored_runs.PIXEL_SIZE)
    # What draws takes long, and whether in half precision too, makes no difference to it.
    made = {name: kw for name, kw in {**_ANY, **_SCORES}.items() if half or name not in _DRAWING}
    held_out = scored_runs.simulation(n_images=30, box_size=tiny.BOX_SIZE)
    for options in _SCORES.values():
        options["held_out"] = held_out
    given = [getattr(callbacks, name)(**options) for name, options in made.items()]
    data = ParticleData(**tiny.write_stack(tmp_path / "data", count=10 * _STEPS * 5 // 4))
    checkpoints = ModelCheckpoint(tmp_path / "checkpoints")
    fit(watched.make_model(), data, tmp_path, half, checkpoints, *given)
    assert (tmp_path / "report/report.json").is_file() is half


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_a_penalty_of_pairs_does_not_wait(half: bool, tmp_path: Path) -> None:
    batches: Any = DataLoader([make_part_batch("time")] * _STEPS, batch_size=None)  # type: ignore[arg-type]
    fit(make_model(), batches, tmp_path, half, callbacks.SlownessPenalty(0.1))


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_statistics_are_trained_on_and_named(
    half: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coefficients = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    write(tmp_path / "statistics", statistics_of(coefficients))
    np.savez(tmp_path / "labels.npz", time=np.arange(400) % 2, trajectory=np.arange(400) // 2)
    penalty = PoseIntervention(distance=PosteriorDistance(), sampled_conformations=True)
    module = SubspaceReconstruction(tmp_path / "statistics", 2, penalties={"poses": penalty})
    data = StatisticsData(tmp_path / "statistics", tmp_path / "labels.npz", batch_size=20)
    fit(module, data, tmp_path, half, callbacks.NameAxes(by="time"))
    # So short a training names none, and says so when all particles have been looked at.
    assert capsys.readouterr().out.startswith("Axes: not named: noise")


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_a_run_of_cryodrgn_is_trained_further(half: bool, tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    data = CryoDRGNParticles(run, batch_size=20)
    fit(CryoDRGNReconstruction(run), data, tmp_path, half)
