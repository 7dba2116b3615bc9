"""Penalties added to a user's loss: exact, absent at weight 0, and gone on with when resumed."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning as L
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cryo_disentangle.callbacks import PenaltyCallback, PoseInterventionPenalty
from cryo_disentangle.losses import (
    EstimatedNoise,
    FactorVAE,
    LinearSchedule,
    PoseIntervention,
    UniformPoses,
)
from cryo_disentangle.protocols import Penalty
from tests.callbacks import foreign, loops, watched
from tests.small_model import make_batch, make_model

pytestmark = [
    *(pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning"),
]


class Reseed(Callback):
    """A user's own way of making a resumed run the same."""

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        torch.manual_seed(trainer.global_step)


class Counter:
    """Counts how often a user's model infers."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, module: Any, batch: Any) -> tuple[Tensor, Tensor]:
        self.count += 1
        return foreign.infer(module, batch)


@pytest.mark.parametrize(
    "weight", [0.0, LinearSchedule(0.0, 1.0, last_step=30, first_step=20)], ids=["0", "schedule"]
)
def test_weight_0_changes_nothing(weight: Any) -> None:
    counter = Counter()
    callback = PoseInterventionPenalty(weight, **(loops.ADAPTER | {"infer": counter}))
    assert loops.difference(loops.without(), loops.without(callback)) == 0
    assert counter.count == 0
    assert cast(PoseIntervention, callback.penalty).draws.step == loops.STEPS


def test_steps_between_cost_nothing() -> None:
    counter = Counter()
    adapter = loops.ADAPTER | {"infer": counter}
    callback = PoseInterventionPenalty(every_n_steps=4, **adapter)
    loops.train(foreign.ConvolutionalVAE(), callback)
    # The first encoding and the one of what was decoded.
    assert counter.count == 2 * loops.STEPS / 4


_EXACT: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate_grad_batches": 3},
    "clipping": {"gradient_clip_val": 0.01},
    "bf16": {"precision": "bf16-mixed"},
    "true bf16": {"precision": "bf16-true"},
    "double": {"precision": "64-true"},
    "fp16": {},
}


@pytest.mark.parametrize("name", loops.PENALTIES)
@pytest.mark.parametrize("case", _EXACT)
def test_the_callback_equals_a_written_term(name: str, case: str) -> None:
    def options() -> dict[str, Any]:
        return {"plugins": [loops.half_precision()]} if case == "fp16" else _EXACT[case]

    by_callback = loops.by_callback(name, **options())
    assert loops.difference(by_callback, loops.by_hand(name, **options())) < 1e-6
    without = loops.without(**options())
    without = {key: value for key, value in without.items() if key in by_callback}
    assert loops.difference({key: by_callback[key] for key in without}, without) > 1e-3


def test_two_processes(two_processes: Path) -> None:
    found, other = (
        torch.load(two_processes / f"penalised/{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    for run, weights in found.items():
        assert loops.difference(weights, other[run]) == 0, f"{run}: processes differ"
    assert loops.difference(found["without"], found["weightless"]) == 0
    runs = [run for run in found if run.endswith("callback")]
    assert len(runs) == 2 * len(loops.PENALTIES)
    for run in runs:
        written = found[run.replace("callback", "written")]
        assert loops.difference(found[run], written) < 1e-6, run
        own = {key for key in found[run] if key.startswith("penalty.")}
        assert bool(own) == run.startswith(("factor_vae", "slowness"))


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`:UserWarning")
def test_our_own_models_need_no_adapter() -> None:
    def fit(penalties: dict[str, Penalty], *callbacks: Callback) -> dict[str, Tensor]:
        model = make_model(penalties=penalties)
        loader: DataLoader[Any] = DataLoader([make_batch()], batch_size=None)  # type: ignore[arg-type]
        trainer = loops.make_trainer(*callbacks, max_epochs=10, limit_val_batches=0)
        trainer.fit(model, loader)
        return {name: value.detach() for name, value in model.named_parameters()}

    def penalty() -> PoseIntervention:
        return PoseIntervention(30.0, noise_std=0.1)

    inside = fit({"x": penalty()})
    assert loops.difference(inside, fit({}, PenaltyCallback(penalty(), "x"))) < 1e-6
    assert loops.difference(inside, fit({})) > 1e-4


def callbacks() -> list[Callback]:
    """Penalties with all kinds of state: counts, estimates, parameters."""
    intervention = PoseInterventionPenalty(
        LinearSchedule(0.0, 2.0, last_step=8),
        poses=UniformPoses(),
        noise_std=EstimatedNoise(),
        every_n_steps=2,
        fraction=0.5,
        **loops.ADAPTER,
    )
    return [intervention, PenaltyCallback(loops.factor_vae(), **loops.ADAPTER), Reseed()]


def test_a_resumed_run_goes_on_exactly(tmp_path: Path) -> None:
    def fit(epochs: int, *, resume: bool = False) -> dict[str, Any]:
        steady = callbacks()
        torch.manual_seed(0)
        module, path = loops.Scheduled(), tmp_path / "run.ckpt"
        trainer = loops.make_trainer(*steady, max_epochs=epochs)
        trainer.fit(module, foreign.loader(), ckpt_path=path if resume else None)
        trainer.save_checkpoint(path)
        return torch.load(path, weights_only=True)

    whole = fit(2)
    fit(1)
    resumed = fit(2, resume=True)
    assert whole["global_step"] == resumed["global_step"] == 10
    assert len(whole["callbacks"]) == 2
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks"):
        assert_equal(resumed[part], whole[part], part)


def assert_equal(found: object, expected: object, name: str) -> None:
    """Compares nested states bit for bit."""
    if isinstance(expected, Tensor):
        assert isinstance(found, Tensor), name
        assert torch.equal(found, expected), name
    elif isinstance(expected, dict):
        assert isinstance(found, dict), name
        assert found.keys() == expected.keys(), name
        for key in expected:
            assert_equal(found[key], expected[key], f"{name}.{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list), name
        for number, pair in enumerate(zip(found, expected, strict=True)):
            assert_equal(*pair, f"{name}[{number}]")
    else:
        assert found == expected, name


def test_what_is_logged() -> None:
    callback = PoseInterventionPenalty(2.0, every_n_steps=3, noise_std=0.1, **loops.ADAPTER)
    metrics = loops.train(foreign.ConvolutionalVAE(), callback).callback_metrics
    name = "train/pose_intervention"
    terms = {"conformation", "var_z", "relative"}
    assert set(metrics) == {"loss", name} | {f"{name}/{term}" for term in terms}
    assert metrics[name] == pytest.approx(2 * metrics[f"{name}/conformation"].item())
    assert PenaltyCallback(FactorVAE(2)).name == "factor_vae"
    assert PenaltyCallback(FactorVAE(2), "tc").name == "tc"


def test_two_of_a_kind_are_told_apart(tmp_path: Path) -> None:
    first = PoseInterventionPenalty(every_n_steps=2, **loops.ADAPTER)
    second = PoseInterventionPenalty(poses=UniformPoses(), name="uniform", **loops.ADAPTER)
    trainer = loops.train(foreign.ConvolutionalVAE(), first, second)
    assert {"train/pose_intervention", "train/uniform"} <= set(trainer.callback_metrics)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    saved = torch.load(tmp_path / "run.ckpt", weights_only=True)["callbacks"]
    assert set(saved) == {first.state_key, second.state_key}
    assert len(saved) == 2


def test_fast_dev_run() -> None:
    loops.train(foreign.ConvolutionalVAE(), *callbacks(), fast_dev_run=True)


def test_an_epoch_may_end_with_a_lone_particle() -> None:
    callback = PoseInterventionPenalty(**loops.ADAPTER)
    with pytest.warns(UserWarning, match="pose_intervention compares particles and leaves out"):
        loops.train(foreign.ConvolutionalVAE(), callback, count=2 * loops.BATCH + 1, max_epochs=2)
    assert cast(PoseIntervention, callback.penalty).draws.step == 6


def test_modules_that_lack_the_contract_are_refused() -> None:
    module = foreign.ConvolutionalVAE()
    with pytest.raises(TypeError, match=r"ConvolutionalVAE has no infer\(batch\): give infer"):
        loops.train(module, PoseInterventionPenalty())
    with pytest.raises(TypeError, match=r"ConvolutionalVAE has no generate\("):
        loops.train(module, PoseInterventionPenalty(0.0, infer=foreign.infer))
    with pytest.raises(TypeError, match=r'"images" and "index".*list: give as_batch'):
        loops.train(module, PoseInterventionPenalty(infer=foreign.infer, generate=foreign.generate))


def test_loops_that_allow_no_exact_addition_are_refused() -> None:
    class ByHand(foreign.ConvolutionalVAE):
        automatic_optimization = False

    with pytest.raises(
        TypeError, match=r"ByHand uses manual optimisation.*add penalty\(adapt\(self"
    ):
        loops.train(ByHand(), loops.weightless())
    trainer = cast(L.Trainer, SimpleNamespace(strategy=FSDPStrategy()))
    with pytest.raises(TypeError, match="under FSDPStrategy weights are whole"):
        loops.weightless().setup(trainer, foreign.ConvolutionalVAE(), "fit")


def test_optimisers_that_take_no_more_parameters_are_refused() -> None:
    class WithAdagrad(foreign.ConvolutionalVAE):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adagrad(self.parameters())

    with pytest.raises(TypeError, match="Adagrad prepares each parameter when it is made"):
        loops.train(WithAdagrad(), PenaltyCallback(loops.factor_vae(), **loops.ADAPTER))
    loops.train(WithAdagrad(), PoseInterventionPenalty(**loops.ADAPTER))


def test_what_is_no_module_is_no_penalty() -> None:
    class Plain(Penalty):
        def forward(self, model: Any, batch: Any, inference: Any) -> Tensor:  # noqa: ARG002
            return torch.zeros(())

    with pytest.raises(TypeError, match=r"a penalty must be a torch\.nn\.Module.*found Plain"):
        PenaltyCallback(Plain())


def test_a_users_own_penalty() -> None:
    class Norm(nn.Module, Penalty):
        def forward(self, model: Any, batch: Any, inference: Any) -> Tensor:  # noqa: ARG002
            mean: Tensor = inference.mean
            return mean.square().mean()

    metrics = loops.train(
        foreign.ConvolutionalVAE(), PenaltyCallback(Norm(), **loops.ADAPTER)
    ).callback_metrics
    assert metrics["train/norm"] > 0


def test_the_intervention_has_all_options_of_its_penalty() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(PoseInterventionPenalty, "callback", fail_untyped=False)
    ours = vars(parser.get_defaults().callback)
    for name, option in inspect.signature(PoseIntervention).parameters.items():
        assert ours[name] == option.default


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            """
class_path: PoseInterventionPenalty
init_args:
  weight: {class_path: LinearSchedule, init_args: {first: 0, last: 0.3, last_step: 100}}
  poses: UniformPoses
  noise_std: EstimatedNoise
  infer: tests.callbacks.foreign.infer
  generate: tests.callbacks.foreign.generate
  as_batch: tests.callbacks.foreign.as_batch
""",
            "pose_intervention",
        ),
        (
            """
class_path: PenaltyCallback
init_args:
  penalty: {class_path: FactorVAE, init_args: {conformation_dim: 2}}
  name: total_correlation
  infer: tests.callbacks.foreign.infer
  as_batch: tests.callbacks.foreign.as_batch
""",
            "total_correlation",
        ),
    ],
)
def test_configuration_files(text: str, name: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callback", type=Callback)
    indented = text.strip().replace("\n", "\n  ")
    config = parser.parse_string(f"callback:\n  {indented}\n")
    # What a run saves as its configuration must read the same.
    config = parser.parse_string(parser.dump(config))
    callback = parser.instantiate(config).callback
    assert isinstance(callback, PenaltyCallback)
    assert callback.name == name
    loops.train(foreign.ConvolutionalVAE(), callback, fast_dev_run=True)
