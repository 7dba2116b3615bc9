"""Decoder, encoder and volume against two models that cryoDRGN 4.3.1 trained and evaluated."""

from __future__ import annotations

from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from cryo_disentangle.decoders import AxisEncoding, GaussianEncoding, ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.particles.pickles import read_poses
from tests.helpers import shared

MODELS = ["model_fourier", "model_hartley"]


class Golden:
    def __init__(self, name: str) -> None:
        folder = shared(f"golden/cryodrgn/{name}")
        self.folder = folder
        self.config: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
        checkpoint = torch.load(folder / "weights.pkl", weights_only=True, map_location="cpu")
        args, lattice = self.config["model_args"], self.config["lattice_args"]
        self.box_size = lattice["D"] - 1
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
        self.model.load_state_dict(checkpoint["model_state_dict"], strict=True)
        with np.load(folder / "expected.npz") as archive:
            self.expected = {key: torch.from_numpy(archive[key]) for key in archive.files}

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
    with np.load(shared("golden/cryodrgn/dataset.npz")) as archive:
        images = torch.from_numpy(archive["encoder_input_first4"])
    mean, log_variance = golden.model["encoder"](golden.disc.select(images))
    assert_near(mean, golden.expected["enc_mu"][:4])
    assert_near(log_variance, golden.expected["enc_logvar"][:4])


def test_volume(golden: Golden) -> None:
    z = golden.expected["vol_z"].float().flatten()
    mean, std = golden.expected["vol_norm"].tolist()
    assert mean == 0
    with mrcfile.open(golden.folder / "vol.mrc") as file:
        expected = torch.from_numpy(file.data.copy())
    assert_near(golden.decoder.volume(z) * std, expected)
    small = golden.decoder.volume(z, box_size=16) * std
    assert_near(small, golden.expected["vol_downsample16"])


def test_gradients_of_the_training_loss(golden: Golden) -> None:
    """The golden batch is images 0 to 7 in evaluation mode, beta 1 / Z."""
    with np.load(shared("golden/cryodrgn/dataset.npz")) as archive:
        y = golden.disc.select(torch.from_numpy(archive["y_centred_first8"]))
        transfer = golden.disc.select(torch.from_numpy(archive["ctf_img_first8"]))
    rotation = torch.from_numpy(read_poses(shared("golden/cryodrgn/dataset/poses.pkl"))[0])
    mean, log_variance = golden.model["encoder"](y * transfer.sign())
    decoded = golden.decoder.render(mean, rotation[:8].float(), golden.disc) * transfer
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
