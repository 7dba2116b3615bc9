"""Networks that encoders and decoders share, and linear readings of a trained latent space."""

from cryo_disentangle.networks.readout import LinearReadout, negentropy

__all__ = [
    "LinearReadout",
    "negentropy",
]
