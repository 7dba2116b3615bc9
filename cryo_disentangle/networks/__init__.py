"""Networks that encoders and decoders share, and linear readings of a trained latent space."""

from cryo_disentangle.networks.readout import LinearReadout, negentropy
from cryo_disentangle.networks.residual_mlp import ResidualMLP

__all__ = ["LinearReadout", "ResidualMLP", "negentropy"]
