"""Sets of particles, chosen in a latent space and written from the user's own particle file."""

from cryo_disentangle.selection.choices import (
    cluster_labels,
    in_range,
    nearest_to_path,
    outlier_scores,
)
from cryo_disentangle.selection.description import ViewShare, micrograph_shares, view_share
from cryo_disentangle.selection.joining import rows_in_table
from cryo_disentangle.selection.lasso import read_lasso, write_lasso
from cryo_disentangle.selection.particle_table import ParticleTable, open_particle_table

__all__ = [
    "ParticleTable",
    "ViewShare",
    "cluster_labels",
    "in_range",
    "micrograph_shares",
    "nearest_to_path",
    "open_particle_table",
    "outlier_scores",
    "read_lasso",
    "rows_in_table",
    "view_share",
    "write_lasso",
]
