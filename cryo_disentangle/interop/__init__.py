"""cryoDRGN's run folders, in and out."""

from cryo_disentangle.interop.networks import cryodrgn_model_args, cryodrgn_weights

__all__ = ["cryodrgn_model_args", "cryodrgn_weights"]
