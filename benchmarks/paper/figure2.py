"""Figure 2 of Klindt et al. 2024: principal against independent components of a trained latent.

    python benchmarks/paper/figure2.py --scratch runs/paper [--seeds 5]

A plain variational autoencoder with eight coordinates on two arms whose hinge angles are two sparse
(Laplace) factors turned by 45 degrees, known in-plane poses; then linear PCA and ICA of its z. As
many components are kept as there are factors: principal ones by their variance, independent ones of
those. ``variance`` is the share of z's that two principal components explain, ``negentropy`` the
sum over two components in nats, ``mcc`` with the true factors. Two minutes a seed on one core.
Writes results/figure2.csv, a row each as it comes, and figure2.png. Rows that are there are kept.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from drawing import COLOURS, compare, draw_seeds, options, panels, save
from harness import HeldOut, Method, latents_of, one_cycle, read, run, two_arms_in_plane

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.metrics.functional.correlation import mcc
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.networks import LinearReadout
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.simulation import LaplaceFactors, LinearMixing

_STEPS, _KEPT = 3000, 2
_READINGS = {"PCA": LinearReadout.pca, "ICA": LinearReadout.ica}


def _make(data: ParticleData) -> HeterogeneousReconstruction:
    return HeterogeneousReconstruction(
        data.box_size,
        conformation_dim=8,
        encoder=partial(MLPEncoder, width=256, layers=3),
        decoder=BasisDecoder,
        kl_weight=0.2,
        **one_cycle(_STEPS),
    )


def _readings(model: HeterogeneousReconstruction, held_out: HeldOut) -> dict[str, float]:
    z = held_out.infer(model, "own")[0]
    found = {"variance": _shares(z.numpy())[:_KEPT].sum()}
    for name, fit in _READINGS.items():
        readout = fit(z, _KEPT)
        found[f"negentropy {name}"] = float(readout.negentropy.sum())
        found[f"mcc {name}"] = float(mcc(readout(z), held_out.factors))
    return found


def _shares(z: np.ndarray) -> np.ndarray:
    """Share of the variance of each principal component."""
    values = np.linalg.eigvalsh(np.cov(z.T))[::-1]
    return values / values.sum()


def main() -> None:
    """Trains, prints the comparison and draws the figure."""
    chosen = options(__doc__, seeds=5)
    simulation = two_arms_in_plane(LaplaceFactors(2, 0.25), snr=10.0, mixing=LinearMixing(2, 45.0))
    vae = Method("VAE", _make, _STEPS)
    run("figure2", simulation, [vae], chosen, diagnose=_readings, keep_latents=True)
    rows = [
        {
            "method": name,
            "seed": row["seed"],
            "negentropy": row[f"negentropy {name}"],
            "mcc": row[f"mcc {name}"],
        }
        for row in read(chosen.out / "figure2.csv")
        for name in _READINGS
    ]
    measures = {"negentropy": ("negentropy, nats, of two", 1), "mcc": ("MCC with the factors", 1)}
    print(compare(rows, "ICA", "PCA", measures))

    latents = np.load(latents_of(chosen.scratch, "figure2", "VAE"))
    z, factors = torch.from_numpy(latents["z"]), latents["factors"]
    figure, axes = panels(3, 3, size=3.0)
    shares = _shares(latents["z"])
    axes[0][0].bar(range(1, len(shares) + 1), shares, color=COLOURS[0])
    axes[0][0].set(xlabel="principal component", ylabel="share of the variance of z")
    draw_seeds(axes[0][1], rows, tuple(_READINGS), "negentropy", measures["negentropy"][0])
    draw_seeds(axes[0][2], rows, tuple(_READINGS), "mcc", measures["mcc"][0])
    for line, (name, fit) in enumerate(_READINGS.items(), start=1):
        readout = fit(z, _KEPT)
        components = readout(z).numpy()
        components /= components.std(0)
        for k in range(_KEPT):
            axes[line][k].hist(components[:, k], 60, color=COLOURS[line - 1])
            title = f"{name} {k + 1}: negentropy {readout.negentropy[k]:.3f}"
            axes[line][k].set_title(title, fontsize=10)
            axes[line][k].set(xlabel="in standard deviations")
        axes[line][2].plot(factors[:, 0], factors[:, 1], ".", markersize=1, color="lightgrey")
        for k, colour in enumerate(COLOURS[2:4]):
            # Where a component points among the factors: its regression on them.
            slope = np.linalg.lstsq(factors, components[:, k], rcond=None)[0]
            end = slope / np.linalg.norm(slope)
            axes[line][2].plot([-end[0], end[0]], [-end[1], end[1]], color=colour)
        axes[line][2].set(xlabel="factor 1", ylabel="factor 2", aspect="equal")
        axes[line][2].set_title(f"directions of {name}", fontsize=10)
    save(figure, "figure2", chosen.out)


if __name__ == "__main__":
    main()
