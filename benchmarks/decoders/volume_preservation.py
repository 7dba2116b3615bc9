"""Does a learned flow keep density and volumes? Two arms, known in-plane poses.

    python benchmarks/decoders/volume_preservation.py --scratch runs/decoders [--steps 500]

A flow is trained on 10,000 images of 32 pixels at SNR 10 of two arms that move in the image plane,
and so is one volume that can't move (the warm-up of HeterogeneousReconstruction never ends). Along
each latent coordinate, from the 1st to the 99th percentile of the particles' while the other stays
at its median: the integral of density over the reference's, the determinant of the flow's Jacobian
weighted with the reference's density (mean and mean distance from 1), and the farthest that any
voxel of the support moves.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from sys import path
from typing import cast

import torch

from cryo_disentangle.decoders import FlowDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.simulation import UniformFactors

path.append(str(Path(__file__).parents[1] / "losses"))
from harness import (
    HeldOut,
    Method,
    machine,
    one_cycle,
    scores,
    train,
    two_arms_in_plane,
    write_once,
)


def make(data: ParticleData, *, steps: int, still: bool) -> HeterogeneousReconstruction:
    """A flow, or one volume."""
    return HeterogeneousReconstruction(
        data.box_size,
        conformation_dim=2,
        encoder=partial(MLPEncoder, width=256, layers=3),
        decoder=FlowDecoder,
        kl_weight=0.2,
        conformation_warmup=steps if still else 0,
        **one_cycle(steps),
    )


@torch.no_grad()
def traverse(decoder: FlowDecoder, means: torch.Tensor, points: int) -> None:
    """Prints the table."""
    reference = decoder.reference()
    weight = reference.flatten()[decoder._support].abs()
    weight = weight / weight.sum()
    places = (torch.nonzero(reference != 0) - decoder.box_size // 2).flip(1).float()
    ends = torch.quantile(means, torch.tensor([0.01, 0.99]), dim=0)
    print("| coordinate | z | integral | determinant | mean distance from 1 | moves, pixels |")
    print("|---" * 6 + "|")
    for axis in range(means.shape[1]):
        for value in torch.linspace(float(ends[0, axis]), float(ends[1, axis]), points):
            z = means.median(0).values.clone()
            z[axis] = value
            change = decoder.volume_change(z)
            integral = float(decoder.volume(z).sum() / reference.sum())
            moved = (decoder.carry(z[None], places)[0] - places).norm(dim=-1).max()
            print(
                f"| {axis + 1} | {float(value):.2f} | {integral:.5f} | "
                f"{float(change @ weight):.4f} | {float((change - 1).abs() @ weight):.4f} | "
                f"{float(moved):.1f} |",
                flush=True,
            )


def main() -> None:
    """Trains both and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scratch", type=Path, required=True, help="Folder for the stack.")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--points", type=int, default=5)
    args = parser.parse_args()
    simulation = two_arms_in_plane(UniformFactors(2, -1.0, 1.0), snr=10.0)
    folder = write_once(simulation, args.scratch / "two_arms_in_plane")
    print(machine(), f"{args.steps} steps\n")
    for still in (True, False):
        name = "one volume" if still else "flow"
        method = Method(
            name, partial(make, steps=args.steps, still=still), args.steps, batch_size=32
        )
        model, data, rows = train(folder, method, [0])
        print(f"{name}: reconstruction {rows['reconstruction']:.4f}, {rows['seconds']:.0f} s")
    held_out = HeldOut(simulation, data)
    found = scores(model, held_out)
    print(f"flow: MCC {found['mcc']:.3f}, R² {found['r2']:.3f}\n")
    decoder = cast(FlowDecoder, model.decoder)
    traverse(decoder, held_out.infer(model, "own")[0], args.points)


if __name__ == "__main__":
    main()
