"""Sizes of the buckets in which DDP sums gradients, in the order that they are full.

    python benchmarks/scaling/buckets.py [--width 1024] [--layers 3] [--zdim 8]

DDP fills buckets of 1 MiB and then 25 MiB (its ``bucket_cap_mb``) with gradients in the reverse
order of the parameters, and sums each over the processes while the backward pass goes on; a
parameter that is larger has a bucket of its own. What is summed last overlaps with nothing.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch

from cryo_disentangle.decoders import BasisDecoder, ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.modules import HeterogeneousReconstruction

_FIRST, _CAP = 2**20, 25 * 2**20


def bucket_sizes(model: torch.nn.Module) -> list[float]:
    """MiB of each bucket, the first that is full first."""
    trained = [p for p in model.parameters() if p.requires_grad][::-1]
    buckets, _ = torch._C._distributed_c10d._compute_bucket_assignment_by_size(
        trained, [_FIRST, _CAP]
    )
    return [sum(trained[i].numel() * 4 for i in bucket) / 2**20 for bucket in buckets]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name, default in (("width", 1024), ("layers", 3), ("zdim", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    network = {"width": args.width, "layers": args.layers}
    decoders = {
        "implicit": partial(ImplicitDecoder, **network),
        "basis, rank 10": partial(BasisDecoder, rank=10),
    }
    print("| D | decoder | gradient, MiB | buckets, MiB |\n|---|---|---|---|")
    for box_size in (128, 256):
        for name, decoder in decoders.items():
            model = HeterogeneousReconstruction(
                box_size, args.zdim, partial(MLPEncoder, **network), decoder
            )
            sizes = bucket_sizes(model)
            shown = ", ".join(f"{size:.1f}" for size in sizes)
            print(f"| {box_size} | {name} | {sum(sizes):.0f} | {shown} |")


if __name__ == "__main__":
    main()
