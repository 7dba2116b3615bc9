"""Makes the structures that the Gō model is built from.

    python benchmarks/physics/make_residues.py ../shared/data/adk/adk_two_hinge.npz

A bead for each residue of adenylate kinase: Cα positions of the open structure (PDB 4AKE) and of
the closed one (1AKE, superposed on the CORE of the open one), electrons, and how far the residue's
heavy atoms lie about its Cα atom.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cryo_disentangle.physics import residues

OUT = Path(residues.__file__).parent / "data" / "residues.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", type=Path, help="heavy atoms of both structures")
    with np.load(parser.parse_args().structures) as archive:
        atoms = dict(archive)
    alpha = atoms["name"] == "CA"
    number = atoms["resid"] - atoms["resid"].min()
    electrons = np.bincount(number, atoms["element"].astype(float))
    offset = np.square(atoms["xyz_open"] - atoms["xyz_open"][alpha][number]).sum(1)
    spread = np.sqrt(np.bincount(number, atoms["element"] * offset) / electrons / 3)
    np.savez_compressed(
        OUT,
        open=atoms["xyz_open"][alpha].astype(np.float32),
        closed=atoms["xyz_closed"][alpha].astype(np.float32),
        electrons=electrons.astype(np.float32),
        spread=spread.astype(np.float32),
        domain=atoms["domain"][alpha].astype(np.uint8),
    )


if __name__ == "__main__":
    main()
