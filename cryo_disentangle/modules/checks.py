"""What a model of particle images asks of its networks."""

from __future__ import annotations

import math
from typing import cast

from torch import nn

from cryo_disentangle.protocols import ConformationEncoder, VolumeDecoder
from cryo_disentangle.protocols.volumes import SizedInAngstrom

__all__ = ["check_encoder", "checked_decoder"]


def check_encoder(encoder: nn.Module) -> None:
    """Refuses an encoder that can't infer.

    Args:
        encoder: The encoder.

    Raises:
        TypeError: If it has neither ``forward`` nor ``posterior``.
    """
    network = type(encoder).forward is not nn.Module.forward
    if not isinstance(encoder, ConformationEncoder) and not network:
        raise TypeError(
            "an encoder needs forward(features), which returns mean and log-variance, or "
            f"posterior(evidence), found {type(encoder).__name__} with neither"
        )


def checked_decoder(decoder: nn.Module, pixel_size: float) -> VolumeDecoder:
    """Refuses a decoder that can't render, or is made for another pixel size.

    Args:
        decoder: The decoder.
        pixel_size: Å per pixel of the particles.

    Returns:
        The decoder.

    Raises:
        TypeError: If it can't render.
        ValueError: If it is made for another pixel size.
    """
    if not isinstance(decoder, VolumeDecoder):
        raise TypeError(
            "a decoder needs render(conformation, rotation, disc) and volume(conformation), "
            f"found {type(decoder).__name__}"
        )
    placed = decoder.pixel_size if isinstance(decoder, SizedInAngstrom) else pixel_size
    if not math.isclose(placed, pixel_size, rel_tol=1e-3):
        raise ValueError(
            f"the decoder is made for {placed:g} Å per pixel, the particles have {pixel_size:g}"
        )
    return cast(VolumeDecoder, decoder)
