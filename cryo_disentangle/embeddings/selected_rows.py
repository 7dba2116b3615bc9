"""Which rows of the particle file a run of cryoDRGN's family has embedded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.pickles import load_pickles
from cryo_disentangle.options.yaml_files import read_mapping
from cryo_disentangle.particles.pickles import read_indices

__all__ = ["with_rows"]


def with_rows(embedding: Embedding, configuration: Path) -> Embedding:
    """Adds the rows of a run that was made with or without ``--ind``.

    Args:
        embedding: Latents, in the order of the images that were selected.
        configuration: The run's configuration, ``.yaml`` or ``.pkl``.

    Returns:
        The same with ``rows`` and ``particles``; without rows where there is no configuration or
        its selection lies elsewhere, since latents then cannot be told apart by count.

    Raises:
        ValueError: If the configuration is damaged, or selects another number of images.
    """
    if not configuration.is_file():
        return embedding
    arguments = _dataset_arguments(configuration)
    particles = arguments.get("particles")
    found = replace(embedding, particles=particles if isinstance(particles, str) else None)
    selection = arguments.get("ind")
    if selection is None:
        return replace(found, rows=np.arange(len(embedding)))
    # As the run was given it, or moved along with the run.
    named = Path(str(selection))
    places = (named, configuration.parent / named, configuration.parent / named.name)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return found
    rows = read_indices(path)
    if len(rows) != len(embedding):
        raise ValueError(
            f"{path}: selects {len(rows)} images, but {embedding.source} has {len(embedding)} "
            "latents; give the selection that the run was made with"
        )
    return replace(found, rows=rows)


def _dataset_arguments(path: Path) -> Mapping[str, Any]:
    """What a configuration says of its particles, at its top or in a section."""
    whole = load_pickles(path)[0] if path.suffix == ".pkl" else read_mapping(path)
    if not isinstance(whole, Mapping):
        raise ValueError(f"{path}: expected a mapping, found {type(whole).__name__}")
    section = whole.get("dataset_args", whole)
    return section if isinstance(section, Mapping) else whole
