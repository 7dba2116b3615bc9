"""Domains of a structure, named by residue ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cryo_disentangle.structures.atoms import Atoms

__all__ = ["select_domains", "select_residues", "taper"]

Mask = npt.NDArray[np.bool_]

_RANGE = re.compile(r"^(?:(?P<chain>\w+):)?(?:(?P<first>-?\d+)(?:-(?P<last>-?\d+))?)?$")


def _extent(atoms: Atoms) -> str:
    """First and last residue of each chain, for messages."""
    numbers = {chain: atoms.residue[atoms.chain == chain] for chain in np.unique(atoms.chain)}
    return ", ".join(f"{chain}:{found.min()}-{found.max()}" for chain, found in numbers.items())


def select_residues(atoms: Atoms, ranges: str, name: str = "selection") -> Mask:
    """Finds atoms by chain and residue number.

    Args:
        atoms: The structure.
        ranges: ``30-59``, ``A:30-59,70`` or a whole chain, ``B:``.
        name: What is selected, for messages.

    Returns:
        Mask of shape (N,).

    Raises:
        ValueError: If a range cannot be read or names no residue.
    """
    chosen = np.zeros(len(atoms), dtype=bool)
    for text in ranges.split(","):
        match = _RANGE.match(text.strip())
        if match is None or not (match["chain"] or match["first"]):
            raise ValueError(
                f"{name}: residue ranges look like 30-59, A:30-59,70 or B:, found {text!r}"
            )
        inside = np.ones(len(atoms), dtype=bool)
        if match["first"] is not None:
            first = int(match["first"])
            last = first if match["last"] is None else int(match["last"])
            inside = (atoms.residue >= first) & (atoms.residue <= last)
        if match["chain"] is not None:
            inside &= atoms.chain == match["chain"]
        if not inside.any():
            raise ValueError(
                f"{atoms.file}: {name} names residues {text.strip()}, which are not there "
                f"(found {_extent(atoms)})"
            )
        chosen |= inside
    return chosen


def select_domains(atoms: Atoms, domains: Mapping[str, str]) -> Mask:
    """Finds the atoms of each moving domain.

    Args:
        atoms: The structure.
        domains: Residue ranges by name of the domain, as for `select_residues`. What is in
            none of them is the core.

    Returns:
        Shape (K, N), one row for each domain.

    Raises:
        ValueError: If a range cannot be read or names no residue, domains overlap, there is none,
            or nothing is left for the core.
    """
    if not domains:
        raise ValueError("at least one moving domain is needed, found none")
    chosen = {
        name: select_residues(atoms, ranges, f"domain {name}") for name, ranges in domains.items()
    }
    names = list(chosen)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            both = chosen[first] & chosen[second]
            if both.any():
                residue = f"{atoms.chain[both][0]}:{atoms.residue[both][0]}"
                raise ValueError(f"domains {first} and {second} overlap, at residue {residue}")
    masks = np.stack(list(chosen.values()))
    if masks.any(axis=0).all():
        raise ValueError("the domains take every atom, and none is left for the core")
    return masks


def taper(atoms: Atoms, domain: Mask, residues: int) -> npt.NDArray[np.float32]:
    """Lets the weight of a domain fall off linearly along the chain, which keeps it together.

    Args:
        atoms: The structure.
        domain: Atoms of the domain, shape (N,).
        residues: Reach of the ramp on either side of each end of the domain; 0 for none.

    Returns:
        Weights from 0 to 1, shape (N,): 1/2 between the last residue inside and the first outside.
    """
    weight = domain.astype(np.float32)
    if residues == 0:
        return weight
    for chain in np.unique(atoms.chain[domain]):
        here = atoms.chain == chain
        numbers, first = np.unique(atoms.residue[here], return_index=True)
        inside = domain[here][first]
        turns = np.flatnonzero(inside[1:] != inside[:-1])
        if not len(turns):
            continue
        ends = (numbers[turns] + numbers[turns + 1]) / 2
        distance = np.abs(atoms.residue[here][:, None] - ends).min(axis=1) / (2 * residues)
        weight[here] = np.clip(0.5 + np.where(domain[here], distance, -distance), 0, 1)
    return weight
