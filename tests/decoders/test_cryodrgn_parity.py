"""Decoder, encoder and volume against two models that cryoDRGN 4.3.1 trained and evaluated.

``tests/golden/cryodrgn_*.npz`` hold numbers alone: the trained weights, what the models were given,
and what cryoDRGN computed of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import AxisEncoding, GaussianEncoding, ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.imaging import FourierDisc

MODELS = ["fourier", "hartley"]
_FOLDER = Path(__file__).parents[1] / "golden"


def _named(arrays: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    """Arrays whose names begin so, as tensors."""
    return {
        name.removeprefix(prefix): torch.from_numpy(value)
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


class Golden:
    def __init__(self, name: str) -> None:
        with np.load(_FOLDER / f"cryodrgn_{name}.npz") as archive:
            arrays = dict(archive)
        settings = json.loads(str(arrays.pop("settings")))
        args: dict[str, Any] = settings["model_args"]
        self.box_size: int = settings["box_size"]
        self.zdim = args["zdim"]
        encoding = (
            GaussianEncoding(args["feat_sigma"], args["pe_dim"])
            if args["pe_type"] == "gaussian"
            else AxisEncoding(args["pe_type"], args["pe_dim"])
        )
        self.disc = FourierDisc(self.box_size)
        self.model = nn.ModuleDict(
            {
                "encoder": MLPEncoder(
                    len(FourierDisc(self.box_size, args["enc_mask"])),
                    self.zdim,
                    args["qdim"],
                    args["qlayers"],
                ),
                "decoder": ImplicitDecoder(
                    self.box_size,
                    self.zdim,
                    args["pdim"],
                    args["players"],
                    args["domain"],
                    encoding,
                ),
            }
        )
        self.model.load_state_dict(_named(arrays, "weights/"), strict=True)
        self.expected = _named(arrays, "expected/")

    @property
    def decoder(self) -> ImplicitDecoder:
        decoder = self.model["decoder"]
        assert isinstance(decoder, ImplicitDecoder)
        return decoder


@pytest.fixture(scope="module", params=MODELS)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def assert_near(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    difference = (ours.detach().double() - theirs.double()).abs().max()
    assert float(difference) < tolerance * float(theirs.double().abs().max())


def test_decoded_slices(golden: Golden) -> None:
    rotation, z = golden.expected["R"].float(), golden.expected["z"].float()
    decoded = golden.expected["decoded"].flatten(1)
    assert_near(golden.decoder.render(z, rotation, golden.disc), decoded, 1e-5)
    points = golden.expected["coords_rotated"].float()
    assert_near(golden.decoder.evaluate(points, z), decoded, 1e-5)


def test_encoder(golden: Golden) -> None:
    with np.load(_FOLDER / "cryodrgn_particles.npz") as archive:
        images = torch.from_numpy(archive["encoder_input_first4"])
    mean, log_variance = golden.model["encoder"](golden.disc.select(images))
    assert_near(mean, golden.expected["enc_mu"][:4])
    assert_near(log_variance, golden.expected["enc_logvar"][:4])


def test_volume(golden: Golden) -> None:
    z = golden.expected["vol_z"].float().flatten()
    mean, std = golden.expected["vol_norm"].tolist()
    assert mean == 0
    assert_near(golden.decoder.volume(z)[::4] * std, golden.expected["volume_every_fourth"])
    small = golden.decoder.volume(z, box_size=16) * std
    assert_near(small, golden.expected["vol_downsample16"])


def test_gradients_of_the_training_loss(golden: Golden) -> None:
    """The golden batch is images 0 to 7 in evaluation mode, beta 1 / Z."""
    with np.load(_FOLDER / "cryodrgn_particles.npz") as archive:
        y = golden.disc.select(torch.from_numpy(archive["y_centred_first8"]))
        transfer = golden.disc.select(torch.from_numpy(archive["ctf_img_first8"]))
        rotation = torch.from_numpy(archive["rotation_first8"])
    mean, log_variance = golden.model["encoder"](y * transfer.sign())
    decoded = golden.decoder.render(mean, rotation.float(), golden.disc) * transfer
    assert_near(decoded, golden.expected["batch_y_recon"])
    reconstruction = (decoded - y).square().mean()
    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1).mean()
    loss = reconstruction + kl / golden.zdim / len(golden.disc)
    assert_near(
        torch.stack([loss, reconstruction, kl]).detach(), golden.expected["batch_loss"], 1e-5
    )
    golden.model.zero_grad()
    loss.backward()
    for name, parameter in golden.model.named_parameters():
        if parameter.grad is not None:
            norm = float(golden.expected[f"gradnorm/{name}"])
            assert float(parameter.grad.norm()) == pytest.approx(norm, rel=1e-3), name
