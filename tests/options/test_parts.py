"""Parts of anybody's, named in a configuration file."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor, nn

from cryo_disentangle import losses, priors
from cryo_disentangle.losses.distances import PoseDistance
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.options.parts import part, shortcoming
from cryo_disentangle.options.sentences import one_sentence
from cryo_disentangle.protocols import ConformationPrior, Penalty
from tests.small_model import make_batch

_HERE = __name__


# As users write them: without annotations, with names of their own.
class Plain(nn.Module):
    def __init__(self, strength=0.1):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        super().__init__()
        self.strength = strength

    def forward(self, m, particles, q):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        return self.strength * q.mean.square().mean()


class Inheriting(nn.Module, Penalty):
    def forward(self, model, batch, inference):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        return inference.mean.square().mean()


class Wide(nn.Module):
    def kl(self, q, *_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN201
        return q.mean.square().sum(-1) / 200


class Far:
    def draw(self, pose, generator):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        return pose


class Absolute(nn.Module):
    def forward(self, a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        return (a.mean - b.mean).abs().mean()


class Ramp:
    @staticmethod
    def value(step):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN205
        return min(1.0, step / 10)


class Halves(nn.Module):
    def __init__(self, coefficients, dim, width=8):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        super().__init__()
        self.net = nn.Sequential(nn.Linear(coefficients, width), nn.Linear(width, 2 * dim))

    def forward(self, features):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        return self.net(features).chunk(2, -1)


class Lacking(nn.Module):
    def evaluate(self) -> None: ...


class Alone(nn.Module):
    def forward(self, inference: Tensor) -> Tensor:
        return inference


class Sampling:
    def sample(self) -> None: ...


def own(name: str, **options: Any) -> dict[str, Any]:
    return {"class_path": f"{_HERE}.{name}", "init_args": options}


def build(**options: Any) -> HeterogeneousReconstruction:
    small = {"class_path": "MLPEncoder", "init_args": {"width": 8, "layers": 1}}
    decoder = {"class_path": "BasisDecoder", "init_args": {"rank": 2, "hidden": 8, "layers": 1}}
    parts = {"box_size": 16, "conformation_dim": 2, "encoder": small, "decoder": decoder}
    parser = ArgumentParser(exit_on_error=False)
    # As LightningCLI does, which lets arguments be without annotations.
    parser.add_subclass_arguments(HeterogeneousReconstruction, "model", fail_untyped=False)
    path = "cryo_disentangle.modules.HeterogeneousReconstruction"
    parsed = parser.parse_object({"model": {"class_path": path, "init_args": parts | options}})
    model: HeterogeneousReconstruction = parser.instantiate(parsed).model
    return model


def test_classes_with_the_right_methods_are_parts() -> None:
    intervention = {
        "class_path": "PoseIntervention",
        "init_args": {"weight": own("Ramp"), "poses": own("Far"), "distance": own("Absolute")},
    }
    model = build(
        encoder=own("Halves", width=4),
        prior=own("Wide"),
        penalties={
            "plain": own("Plain", strength=0.5),
            "inheriting": own("Inheriting"),
            "intervention": intervention,
        },
        kl_weight=own("Ramp"),
    )
    terms = model.loss_terms(make_batch(), step=3, sample=True)
    assert {"plain", "inheriting", "intervention"} <= set(terms)
    torch.testing.assert_close(terms["plain"], 0.5 * terms["inheriting"])
    terms["loss"].backward()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"penalties": {"a": own("Lacking")}},
            r"Lacking has no forward\(model, batch, inference\), which a Penalty needs",
        ),
        (
            {"penalties": {"a": own("Alone")}},
            r"Alone.forward takes \(inference\), but that of a Penalty is called as forward\(model",
        ),
        ({"prior": own("Lacking")}, r"Lacking has no kl\(inference, batch\), which a Conformation"),
        (
            {
                "penalties": {
                    "a": {"class_path": "PoseIntervention", "init_args": {"poses": own("Sampling")}}
                }
            },
            r"Sampling has no draw\(pose, generator\), which a PoseSource needs",
        ),
        (
            {
                "penalties": {
                    "a": {
                        "class_path": "PoseIntervention",
                        "init_args": {
                            "pose_distance": {
                                "class_path": "cryo_disentangle.losses.SquaredDistance"
                            }
                        },
                    }
                }
            },
            "SquaredDistance is a ConformationDistance, and a PoseDistance was expected",
        ),
        ({"encoder": own("NoEncoder")}, r"an encoder needs forward\(features\).*NoEncoder"),
        ({"decoder": own("Halves")}, r"a decoder needs render\(.*found Halves"),
    ],
)
def test_what_is_missing_is_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises((ArgumentError, TypeError, ValueError)) as caught:
        build(**options)
    sentence = one_sentence(caught.value)
    assert "\n" not in sentence
    with pytest.raises(ValueError, match=told):
        raise ValueError(sentence)


class NoEncoder(nn.Module):
    def __init__(self, coefficients: int, dim: int) -> None:
        super().__init__()
        self.sizes = coefficients, dim


def _any(kind: Any) -> Any:
    return kind


def test_kinds_that_are_called_alike_stay_apart() -> None:
    both = losses.SquaredDistance, PoseDistance
    assert not issubclass(*both)
    said = shortcoming(losses.SquaredDistance, "PoseDistance")
    assert said == "SquaredDistance is a ConformationDistance, and a PoseDistance was expected"
    assert shortcoming(losses.SquaredDistance, "ConformationDistance") is None
    assert shortcoming(int, "NoSuchPart") is None
    prior, penalty, schedule = (_any(k) for k in (ConformationPrior, Penalty, Schedule))
    assert issubclass(priors.StandardNormal, prior)
    assert not issubclass(nn.Linear, penalty)
    assert not isinstance(0.5, schedule)


def test_a_protocol_itself_cannot_be_made() -> None:
    @part
    class Thing(Protocol):
        def do(self, what: int) -> int: ...

    made: Any = Thing
    with pytest.raises(TypeError, match="abstract"):
        made()

    class Base(Thing):
        def do(self, what: int) -> int:
            return what

    class Other:
        def do(self, what: int) -> int:
            return what

    assert isinstance(Base(), made)
    assert isinstance(Other(), made)
    assert not isinstance(3, made)
