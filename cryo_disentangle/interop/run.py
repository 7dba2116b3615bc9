"""A finished run of cryoDRGN, opened as it lies in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.interop.config import (
    NetworkSettings,
    RunConfig,
    hypervolume_settings,
    read_config,
)
from cryo_disentangle.interop.dataset import CryoDRGNParticles
from cryo_disentangle.interop.folder import RunFolder, epochs_done
from cryo_disentangle.interop.networks import build_decoder, build_encoder, fill
from cryo_disentangle.interop.weights import read_weights
from cryo_disentangle.particles.pickles import FloatArray, read_latents

__all__ = ["CryoDRGNRun"]

# Where the program keeps the decoder's weights, and how their names begin.
_DECODERS = {"train_vae": "decoder.", "train_dec": "", "abinit": ""}


class CryoDRGNRun:
    """A run of ``cryodrgn train_vae``, ``train_dec``, ``train_nn`` or ``abinit`` (DRGN-AI).

    Use `CryoDRGNRun.open`. cryoDRGN itself is not needed, and no pickle runs code.

    Args:
        config: What its ``config.yaml`` says.
        files: Where its files lie.
        weights: What its weights file holds, by name.
        overrides: Files of particles, poses and CTF in place of those it names; None takes its own.

    Attributes:
        folder: The run's folder.
        config: What its ``config.yaml`` says.
        networks: What its networks are made of.
        epoch: Number of epochs done, by cryoDRGN's count.
        encoder: The encoder of ``train_vae``; None of other programs.
        decoder: The decoder. In ``abinit`` volumes are also masked, which the decoder does not do.
        optimizer_state: State of the optimiser of encoder and decoder; None where there is none.
    """

    def __init__(
        self,
        config: RunConfig,
        files: RunFolder,
        weights: Mapping[str, Any],
        overrides: Mapping[str, str | Path | None],
    ) -> None:
        path = files.file("weights")
        self.folder, self.config = files.path, config
        self._files, self._overrides = files, dict(overrides)
        self.epoch = epochs_done(files.path, weights)
        self.networks = _networks(config, weights, path)
        state = _decoder_state(config, weights, path)
        self.encoder: MLPEncoder | None = build_encoder(self.networks, config.box_size)
        if self.encoder is not None:
            fill(self.encoder, weights["model_state_dict"], "encoder.", path)
        self.decoder: ImplicitDecoder = build_decoder(self.networks, config.box_size)
        fill(self.decoder, state, _DECODERS[config.program], path)
        self.optimizer_state: dict[str, Any] | None = weights.get("optimizer_state_dict")

    @classmethod
    def open(
        cls,
        folder: str | Path,
        epoch: int | None = None,
        *,
        particles: str | Path | None = None,
        poses: str | Path | None = None,
        ctf: str | Path | None = None,
        datadir: str | Path | None = None,
        indices: str | Path | None = None,
    ) -> CryoDRGNRun:
        """Opens a run.

        Args:
            folder: Its folder, with ``config.yaml`` and weights.
            epoch: The epoch, by cryoDRGN's count; None is the last.
            particles: Particle file, in place of the run's.
            poses: poses.pkl, in place of the run's.
            ctf: ctf.pkl, in place of the run's.
            datadir: Folder of the stacks that the particle file names, in place of the run's.
            indices: Selection of images, in place of the run's.

        Returns:
            The run, with its networks on the host.

        Raises:
            FileNotFoundError: If the folder, its configuration or the epoch's weights are missing.
            ValueError: If one of them is damaged, they disagree, or the run is not supported.
        """
        config = read_config(Path(folder, "config.yaml"))
        files = RunFolder.at(folder, epoch)
        weights = read_weights(files.file("weights"))
        moved = {
            "particles": particles,
            "poses": poses,
            "ctf": ctf,
            "datadir": datadir,
            "indices": indices,
        }
        return cls(config, files, weights, moved)

    @property
    def box_size(self) -> int:
        """Image side D in pixels."""
        return self.config.box_size

    @property
    def conformation_dim(self) -> int:
        """Number Z of conformation coordinates; 0 for a homogeneous decoder."""
        return self.networks.conformation_dim

    @property
    def intensity_scale(self) -> float:
        """Unit of the normalised images, and of the decoder's volumes, in those of the stack."""
        return self.config.images.norm[1]

    @property
    def learning_rate(self) -> float | None:
        """Learning rate at the end; None where the optimiser is not known."""
        groups = (self.optimizer_state or {}).get("param_groups") or [{}]
        rate = groups[0].get("lr")
        return None if rate is None else float(rate)

    def data(self, **options: Any) -> CryoDRGNParticles:  # noqa: ANN401 - options of many types
        """The particles that the run was trained on, prepared as there.

        Args:
            **options: More options of `CryoDRGNParticles`, ``batch_size`` for instance.

        Returns:
            A data module.

        Raises:
            FileNotFoundError: If a file is missing that the configuration names.
            ValueError: As `CryoDRGNParticles`.
        """
        epoch = int(self._files.suffix[1:]) if self._files.suffix else self.epoch
        return CryoDRGNParticles(self.folder, epoch, **(self._overrides | options))

    def latents(self) -> tuple[FloatArray, FloatArray | None]:
        """The conformations that the run inferred, in the order of its particles.

        Returns:
            Means, shape (N, Z), and log-variances of the same shape; None where the program has
            none.

        Raises:
            FileNotFoundError: If the folder has none of this epoch.
            ValueError: If the run is without z, or they are damaged or of another dimension than
                the decoder's.
        """
        if not self.conformation_dim:
            raise ValueError(
                f"{self.folder}: a run without z, as train_nn makes them, has one volume for all "
                "particles and no latent space: give a run of train_vae, train_dec or abinit"
            )
        path = self._files.file("z")
        mean, log_variance = read_latents(path)
        if mean.shape[1] != self.conformation_dim:
            raise ValueError(
                f"{path}: the decoder has {self.conformation_dim} conformation coordinates, found "
                f"{mean.shape[1]}"
            )
        return mean, log_variance


def _networks(config: RunConfig, weights: Mapping[str, Any], path: Path) -> NetworkSettings:
    """The networks, by the configuration or the weights."""
    if config.networks is not None:
        return config.networks
    settings = hypervolume_settings(path, weights.get("hypervolume_params"))
    side = weights["hypervolume_params"].get("resolution")
    if side != config.box_size + 1:
        raise ValueError(
            f"{path}: the weights are of lattice side {side}, {config.path} describes "
            f"{config.box_size + 1}"
        )
    return settings


def _decoder_state(config: RunConfig, weights: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The decoder's weights, under the names that ours has."""
    if config.program != "abinit":
        return dict(weights["model_state_dict"])
    if "hypervolume_state_dict" not in weights:
        raise ValueError(
            f"{path}: refused as weights of abinit: there is no hypervolume_state_dict"
        )
    return {
        name.replace("mlp.", "decoder.", 1) if name.startswith("mlp.") else name: value
        for name, value in weights["hypervolume_state_dict"].items()
    }
