"""Runs of cryoDRGN, opened to be looked at."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from cryo_disentangle.evaluation.runs import DataFiles, FinishedRun
from cryo_disentangle.imaging import FourierDisc, contrast_transfer, shift_hartley
from cryo_disentangle.interop import CryoDRGNRun
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.modules import CryoDRGNReconstruction
from cryo_disentangle.types import ParticleBatch, Pose

__all__ = ["is_cryodrgn_run", "open_cryodrgn_run"]


def is_cryodrgn_run(folder: Path) -> bool:
    """Returns whether a folder looks like what cryoDRGN leaves.

    Args:
        folder: Any folder.

    Returns:
        Whether it has weights under cryoDRGN's names.
    """
    return any(folder.glob("weights*.pkl"))


def open_cryodrgn_run(
    folder: Path, epoch: int | None = None, files: DataFiles | None = None
) -> FinishedRun:
    """Opens a run of ``train_vae``, ``train_dec``, ``train_nn`` or ``abinit``.

    Args:
        folder: Its folder.
        epoch: The epoch, by cryoDRGN's count; None is the last.
        files: Where particles lie now.

    Returns:
        The run; where it has no encoder, with the conformations that it has stored.

    Raises:
        FileNotFoundError: If the folder, its configuration, the epoch or a file is missing.
        ValueError: If one of them is damaged, they disagree, or the run is not supported.
    """
    places = (files or DataFiles()).given()
    run = CryoDRGNRun.open(folder, epoch, **places)
    data = run.data(batch_size=64)
    facts = {
        "decoder": f"{type(run.decoder).__name__}, {run.networks.layers} layers of "
        f"{run.networks.width}, encoding {run.networks.pe_type}, {run.networks.domain}",
        "dimension of z": str(run.conformation_dim),
    }
    module: nn.Module
    stored = None
    if run.encoder is not None:
        settings = run.networks.encoder
        if settings is not None:
            facts["encoder"] = f"{settings.layers} layers of {settings.width}"
        module = CryoDRGNReconstruction(folder, epoch, run.box_size, pixel_size=data.pixel_size)
    else:
        stored = InferredParticles.of(*run.latents())
        module = _DecoderAlone(run, data.pixel_size)
    return FinishedRun(
        folder,
        f"a run of cryoDRGN ({run.config.program})",
        run.epoch,
        data,
        module.eval(),
        stored,
        facts,
        is_cryodrgn=True,
    )


class _DecoderAlone(nn.Module):
    """A decoder without encoder, of which there are volumes to see."""

    def __init__(self, run: CryoDRGNRun, pixel_size: float) -> None:
        super().__init__()
        self.decoder = run.decoder
        self.box_size, self.pixel_size = run.box_size, pixel_size
        self.intensity_scale = run.intensity_scale
        self.disc = FourierDisc(run.box_size)

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Renders noise-free images of conformations (B, Z) as the data set delivers them."""
        slices = self.decoder.render(conformation, pose.rotation, self.disc)
        if "ctf" in batch:
            frequencies = self.disc.frequencies
            slices = slices * contrast_transfer(frequencies, batch["ctf"], self.box_size)
        if pose.translation is not None:
            slices = shift_hartley(slices, self.disc.frequencies, -pose.translation)
        return self.disc.scatter(slices)

    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Density of one conformation (Z,) in the stack's intensity units."""
        return self.decoder.volume(conformation, box_size) * self.intensity_scale
