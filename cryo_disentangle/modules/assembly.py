"""From what was learned on statistics to a model of images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import StatisticsEncoder
from cryo_disentangle.modules.heterogeneous import HeterogeneousReconstruction
from cryo_disentangle.modules.subspace import SubspaceReconstruction
from cryo_disentangle.statistics.folder import SUBSPACE
from cryo_disentangle.statistics.image_posterior import SubspacePosterior

__all__ = ["assembled"]


def assembled(
    trained: SubspaceReconstruction, kl_weight: float | None = None
) -> HeterogeneousReconstruction:
    """Makes a model of images of one that was trained on statistics.

    Its decoder has the same volumes and mixture, no longer held, and its encoder makes each image's
    statistics in the subspace and reads them with the trained network. So evaluation, volumes,
    traversals and export work on it, and ``fit`` trains it further on images. These must be
    prepared as the statistics' were: `HartleyPreprocessing` without a window, of the norm
    ``(0, intensity_scale)``.

    Args:
        trained: The model; its encoder a `StatisticsEncoder`.
        kl_weight: Weight of the divergence in further training; None is 1 / Z.

    Returns:
        The model of images.

    Raises:
        TypeError: If the encoder is another.
    """
    network = trained.encoder
    if not isinstance(network, StatisticsEncoder):
        raise TypeError(
            "only a model with a StatisticsEncoder can be assembled, found "
            f"{type(network).__name__}"
        )
    encoder = partial(
        SubspacePosterior,
        subspace=Path(trained.statistics, SUBSPACE),
        width=network.width,
        layers=network.layers,
    )
    shape = {"rank": trained.decoder.rank, "hidden": trained.hidden, "layers": trained.layers}
    made = HeterogeneousReconstruction(
        trained.box_size,
        trained.conformation_dim,
        encoder,
        partial(BasisDecoder, **shape),
        prior=trained.prior,
        kl_weight=kl_weight,
        pixel_size=trained.pixel_size,
        intensity_scale=trained.intensity_scale,
    )
    cast(SubspacePosterior, made.encoder).network.load_state_dict(network.state_dict())
    cast(BasisDecoder, made.decoder).load_state_dict(trained.decoder.state_dict())
    return made
