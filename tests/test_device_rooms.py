"""Metrics and statistics on the fake device, and that no public part is left out of its tests."""

from __future__ import annotations

import functools
import inspect
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from cryo_disentangle import decoders, encoders, losses, metrics, priors
from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.losses import DIPVAE, PoseIntervention, PosteriorDistance, TotalCorrelation
from cryo_disentangle.metrics.feeding import FedMetric
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.protocols import Penalty
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.image_posterior import SubspacePosterior
from tests.device_parts import PARTS
from tests.fake_device import DEVICE, FakeDevice, is_available, on_device
from tests.small_model import make_batch, make_model
from tests.statistics.synthetic import BOX_SIZE, statistics_of, subspace_of

pytestmark = pytest.mark.skipif(not is_available(), reason="torch before 2.10 has no such backend")

_RANK = 3
# Of z and factors alone.
_CODES: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("DCI", "MED", "MIG", "MCC", "IRS", "SAP", "InfoMEC", "Explicitness")},
    **{name: {} for name in ("MeanCanonicalCorrelation", "Modularity", "R2Linear", "SplineMCC")},
    **{name: {} for name in ("BetaVAEScore", "FactorVAEScore", "NeighbourhoodSimilarity")},
    **{name: {} for name in ("InformationImbalance", "GaussianTotalCorrelation")},
    **{name: {} for name in ("GaussianWassersteinCorrelation", "PairwiseMutualInformation")},
}
# Which look at a model and its batches.
_MODELS: dict[str, dict[str, Any]] = {
    "DecodingTest": {"noise_std": 0.1},
    "PoseConformationMetrics": {},
    "PoseLeak": {},
    "RedrawnNoise": {"noise_std": 0.1},
    "RotationTest": {"angles_deg": (90.0,)},
    "SpreadLeak": {},
}
_SUITES = {"DisentanglementMetrics"}  # made of those above
_ELSEWHERE = {
    "StatisticsEncoder",  # below, with statistics
    "RoundTripDistance",  # inside each intervention
    "PositionalEncoding",  # the protocol of the encodings
}


def _parts_of(value: object, found: set[str], depth: int = 0) -> None:
    """Collects the names of classes in options: of objects, partials, and what those hold."""
    if isinstance(value, functools.partial):
        for inner in (value.func, *value.args, *value.keywords.values()):
            _parts_of(inner, found, depth + 1)
    elif isinstance(value, dict):
        for inner in value.values():
            _parts_of(inner, found, depth + 1)
    elif inspect.isclass(value):
        found.add(value.__name__)
    elif not isinstance(value, Tensor) and type(value).__module__.startswith("cryo_disentangle"):
        found.add(type(value).__name__)
        if depth < 6:
            _parts_of({**vars(value), **vars(value).get("_modules", {})}, found, depth + 1)


def _classes(room: Any) -> set[str]:
    """Public classes of a room."""
    return {name for name in room.__all__ if inspect.isclass(getattr(room, name))}


def test_every_part_of_a_training_step_is_in_the_table() -> None:
    found = {"MLPEncoder", "ImplicitDecoder"}  # of every model that names no others
    for options in PARTS.values():
        _parts_of(options, found)
    atomic = [options for options in PARTS.values() if "pixel_size" in options]
    for options in atomic:
        made = make_model(**{k: v for k, v in options.items() if k in ("decoder", "pixel_size")})
        found |= {type(module).__name__ for module in made.modules()}
    public = set().union(*(_classes(room) for room in (decoders, encoders, priors, losses)))
    assert not public - found - _ELSEWHERE


def test_every_metric_is_in_a_table() -> None:
    public = {name for name in _classes(metrics) if issubclass(getattr(metrics, name), nn.Module)}
    assert public == {*_CODES, *_MODELS, *_SUITES}


@pytest.mark.parametrize("name", sorted(_CODES))
def test_scores_of_latents_wait_once(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(60, 2, generator=generator)
    z = factors @ torch.tensor([[1.0, 0.3], [0.2, 1.0]])
    metric: Metric = getattr(metrics, name)(**_CODES[name])
    arguments = {"z": z, "factors": factors}
    asked = [arguments[key] for key in inspect.signature(metric.update).parameters]
    expected = deepcopy(metric)
    expected.update(*asked)
    with FakeDevice(float64=False) as seen:
        metric = metric.to(DEVICE)
        moved = on_device(asked)
        seen.found.clear()
        metric.update(*moved)
        assert not seen.waits()
        found = metric.compute()
    copies = sum(count for key, count in seen.found.items() if key[0] == "sync")
    assert copies == len(asked), seen.table()
    torch.testing.assert_close(found, expected.compute())


@pytest.mark.parametrize("name", sorted(_MODELS))
def test_scores_of_a_model_are_those_of_the_cpu(name: str) -> None:
    options = {"conformation_dim": 2}
    whole: Any = make_batch()
    batch = {key: torch.cat([value] * 4) for key, value in whole.items()}
    batch["index"] = torch.arange(20)
    noise = torch.randn(batch["images"].shape, generator=torch.Generator().manual_seed(5))
    batch["images"] = batch["images"] + 0.1 * noise
    metric = getattr(metrics, name)(**_MODELS[name])
    expected = FedMetric(metric)
    expected.update(make_model(**options), batch)  # type: ignore[arg-type]
    with FakeDevice(float64=False):
        fed = FedMetric(metric).to(DEVICE)
        with torch.no_grad():
            fed.update(on_device(make_model(**options)), on_device(batch))
        found = fed.compute()
    wanted = expected.compute()
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key].double(), value.double(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    "penalty",
    [
        None,
        TotalCorrelation(100),
        DIPVAE(),
        PoseIntervention(distance=PosteriorDistance(), gradient="encoder"),
    ],
    ids=lambda penalty: type(penalty).__name__,
)
def test_statistics_are_trained_on_without_waiting(penalty: Penalty | None) -> None:
    coefficients = torch.randn(8, _RANK, generator=torch.Generator().manual_seed(0))
    dataset = StatisticsDataset(statistics_of(coefficients), ParticleLabels())
    torch.manual_seed(0)
    penalties = None if penalty is None else {"penalty": penalty}
    decoder = BasisDecoder(BOX_SIZE, 2, _RANK, hidden=8, layers=1)
    model = StatisticsModel(decoder, 2, penalties=penalties)
    batch = dataset.__getitems__(range(8))
    with FakeDevice(float64=False) as seen:
        moved, particles = on_device(model), on_device(batch)
        for step in range(2):
            seen.found.clear()
            moved.loss_terms(particles, step=step, sample=True)["loss"].backward()
        assert not seen.waits(), seen.table()


def test_images_are_read_by_way_of_their_statistics_without_waiting(tmp_path: Path) -> None:
    subspace_of(_RANK).save(tmp_path / "subspace.pt")
    encoder = partial(SubspacePosterior, subspace=tmp_path / "subspace.pt", width=8, layers=1)
    model, batch = make_model(encoder=encoder), make_batch()
    expected = model.infer(batch).mean
    with FakeDevice(float64=False) as seen:
        moved, particles = on_device(model), on_device(batch)
        moved.infer(particles)
        seen.found.clear()
        found = moved.infer(particles).mean
        assert not seen.waits(), seen.table()
        torch.testing.assert_close(found.cpu(), expected)
