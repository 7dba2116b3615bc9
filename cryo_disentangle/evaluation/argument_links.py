"""What a model takes from its data, in training and when its run is opened again."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from cryo_disentangle.protocols.inference import CountsParticles
from cryo_disentangle.statistics import StatisticsData

__all__ = ["link_data_to_model"]


def link_data_to_model(parser: ArgumentParser) -> None:
    """Lets the data of a configuration fill in arguments of its model.

    Args:
        parser: Has a LightningModule ``model`` and a LightningDataModule ``data``.
    """
    for source, target in (
        ("box_size", "box_size"),
        ("pixel_size", "pixel_size"),
        ("norm_std", "intensity_scale"),
    ):
        parser.link_arguments(f"data.{source}", f"model.init_args.{target}", apply_on="instantiate")
    # cryoDRGN's particles are those of the run that the model goes on with.
    parser.link_arguments("model.init_args.checkpoint", "data.init_args.run")
    parser.link_arguments("model.init_args.epoch", "data.init_args.epoch")
    # Statistics lie beside the subspace that they are of, and may have to be made first.
    parser.link_arguments(
        "data",
        "model.init_args.statistics",
        lambda data: data.folder.path if isinstance(data, StatisticsData) else None,
        apply_on="instantiate",
    )
    # Streams of simulated particles have no number of them.
    parser.link_arguments(
        "data",
        "model.init_args.n_particles",
        lambda data: data.n_particles if isinstance(data, CountsParticles) else None,
        apply_on="instantiate",
    )
