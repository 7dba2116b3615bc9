"""Contrast transfer function of the microscope."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cryo_disentangle.precision import exact_dtype
from cryo_disentangle.types import ParticleBatch

__all__ = ["contrast_transfer", "ctf_terms", "electron_wavelength"]

# 2π to 32 bits: its product with a whole number of turns is exact in float64.
_TURN = round(2 * math.pi * 2**29) / 2**29


def electron_wavelength(voltage_kv: Tensor) -> Tensor:
    """Relativistic wavelength of electrons.

    Args:
        voltage_kv: Acceleration voltage in kV, any shape.

    Returns:
        Wavelength in Å, λ = 12.2639 / sqrt(V + 0.97845e-6 V²) with V in volts.
    """
    volts = voltage_kv * 1e3
    return 12.2639 / torch.sqrt(volts + 0.97845e-6 * volts.square())


def contrast_transfer(
    frequencies: Tensor,
    ctf: Tensor,
    box_size: int,
    b_factor: Tensor | None = None,
    scale: Tensor | None = None,
    applied: Tensor | None = None,
) -> Tensor:
    """Evaluates the contrast transfer function (CTF) of each particle.

    With s the frequency in 1/Å, θ its direction and λ the wavelength,

        defocus(θ) = (U + V + (U - V) cos 2(θ - angle)) / 2,
        γ = 2π (-defocus λ s² / 2 + Cs λ³ s⁴ / 4) - phase shift,
        CTF = sqrt(1 - w²) sin γ - w cos γ = sin(γ - arcsin w),

    so underfocus is positive and the CTF is -w at the origin. γ is a combination of the four
    polynomials s², s_x² - s_y², 2 s_x s_y and s⁴: one matrix product for all particles and
    frequencies. It is formed in float64, since hundreds of radians leave float32 few digits.

    Args:
        frequencies: (x, y) in cycles per pixel of the images at hand, shape (M, 2).
        ctf: cryoDRGN's nine columns, shape (B, 9), as in `ParticleBatch`. The pixel size at hand is
            column 0 times column 1 over ``box_size``, each particle's own.
        box_size: Side of the images at hand in pixels.
        b_factor: B factors in Å², shape (B,): multiplies by exp(-B s² / 4).
        scale: Scale factors, shape (B,).
        applied: What was done to the images with their CTF, shape (B,): 0 nothing, 1 phases were
            flipped, 2 they were multiplied by it. The transfer from density to image is then CTF,
            -|CTF| or -CTF². The minus is RELION's: its CTF is positive at low frequencies, where
            this one is negative, so that correction leaves the contrast of a stack as it was.

    Returns:
        Shape (B, M), float32.

    Raises:
        ValueError: If ``ctf`` does not have nine columns.

    References:
        Rohou and Grigorieff 2015, CTFFIND4, Eq. 2-5; signs and constants of cryoDRGN 4.3.
    """
    if ctf.ndim != 2 or ctf.shape[1] != 9:
        raise ValueError(f"ctf must have shape (B, 9), found {tuple(ctf.shape)}")
    exact = exact_dtype(ctf.device)
    rows, positions = ctf.to(exact), frequencies.to(exact)
    pixel_size = rows[:, 0] * rows[:, 1] / box_size
    transfer = torch.sin(_phase(positions, rows, pixel_size).float())
    if b_factor is not None:
        decay = b_factor.to(exact) / pixel_size.square() / -4
        squared = positions.square().sum(-1)
        transfer = transfer * torch.exp(decay[:, None] * squared).float()
    if scale is not None:
        transfer = transfer * scale.float()[:, None]
    if applied is not None:
        corrected = torch.where(applied[:, None] == 1, transfer.abs(), transfer.square())
        transfer = torch.where(applied[:, None] == 0, transfer, -corrected)
    return transfer


def _phase(frequencies: Tensor, rows: Tensor, pixel_size: Tensor) -> Tensor:
    """γ - arcsin w within one turn, of frequencies (M, 2) and CTF rows (B, 9): shape (B, M)."""
    x, y = frequencies.unbind(-1)
    squared = x.square() + y.square()
    basis = torch.stack([squared, x.square() - y.square(), 2 * x * y, squared.square()])

    defocus_u, defocus_v, angle_deg, voltage_kv, cs_mm, contrast, phase_deg = rows[:, 2:].T
    wavelength = electron_wavelength(voltage_kv) / pixel_size
    angle = 2 * torch.deg2rad(angle_deg)
    mean = -math.pi / 2 * (defocus_u + defocus_v) * wavelength / pixel_size
    astigmatism = -math.pi / 2 * (defocus_u - defocus_v) * wavelength / pixel_size
    spherical = math.pi / 2 * cs_mm * 1e7 * wavelength.pow(3) / pixel_size
    coefficients = torch.stack(
        [mean, astigmatism * torch.cos(angle), astigmatism * torch.sin(angle), spherical], dim=1
    )
    offset = torch.deg2rad(phase_deg) + torch.arcsin(contrast)
    # The remainder is taken before the cast: sin of a large float32 has lost its digits. A turn in
    # two parts gives it to the last digit, as torch.remainder does five times more slowly.
    phase = coefficients @ basis - offset[:, None]
    turns = (phase / (2 * math.pi)).floor_()
    return phase.sub_(turns, alpha=_TURN).sub_(turns, alpha=2 * math.pi - _TURN)


def ctf_terms(batch: ParticleBatch) -> dict[str, Tensor]:
    """Collects what a batch knows of its transfer functions beside the nine columns.

    Args:
        batch: Particles, with ``ctf_b_factor``, ``ctf_scale`` and ``ctf_applied`` where they are
            known.

    Returns:
        Those that are known, by the names of `contrast_transfer`'s arguments.
    """
    terms: dict[str, Tensor] = {}
    if "ctf_b_factor" in batch:
        terms["b_factor"] = batch["ctf_b_factor"]
    if "ctf_scale" in batch:
        terms["scale"] = batch["ctf_scale"]
    if "ctf_applied" in batch:
        terms["applied"] = batch["ctf_applied"]
    return terms
