from __future__ import annotations

import pytest
import torch

from cryo_disentangle.simulation import InSolvent, TwoArms


def test_solvent_lowers_the_whole_and_leaves_detail() -> None:
    molecule = TwoArms()
    conformation = torch.zeros(1, 2)
    dry = molecule.volume(conformation, 48, 4.0)[0]
    wet = InSolvent(molecule, displaced=0.7, blur_angstrom=6.0).volume(conformation, 48, 4.0)[0]
    ratio = (torch.fft.rfftn(wet) / torch.fft.rfftn(dry)).real[0, 0]
    assert float(ratio[0]) == pytest.approx(0.3, abs=0.01)
    frequency = torch.fft.rfftfreq(48) / 4.0
    expected = 1 - 0.7 * torch.exp(-2 * (torch.pi * 6.0 * frequency) ** 2)
    torch.testing.assert_close(ratio[:8], expected[:8], atol=0.01, rtol=0)


def test_nothing_displaced_is_the_molecule() -> None:
    molecule = InSolvent(TwoArms(), displaced=0.0)
    conformation = torch.tensor([[0.2, 0.7]])
    assert molecule.dim == 2
    torch.testing.assert_close(
        molecule.volume(conformation, 32, 4.25), TwoArms().volume(conformation, 32, 4.25)
    )


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"displaced must be in \[0, 1\)"):
        InSolvent(TwoArms(), displaced=1.0)
    with pytest.raises(ValueError, match="blur_angstrom not negative"):
        InSolvent(TwoArms(), blur_angstrom=-1.0)
