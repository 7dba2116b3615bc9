"""Networks that encoders and decoders share."""

from cryo_disentangle.networks.residual_mlp import ResidualMLP

__all__ = ["ResidualMLP"]
