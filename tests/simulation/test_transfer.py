from __future__ import annotations

import pytest
import torch
from scipy import stats

from cryo_disentangle.imaging import contrast_transfer
from cryo_disentangle.imaging.hartley import desymmetrize, hartley2, inverse_hartley2, symmetrize
from cryo_disentangle.imaging.lattice import lattice_frequencies
from cryo_disentangle.simulation import ContrastTransferRange
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.transfer import apply_contrast_transfer


def test_rows_are_uniform_on_their_ranges() -> None:
    microscope = ContrastTransferRange((9000, 15000), 600, 200, 2.0, 0.07, 30)
    rows = microscope.rows(Draws.consecutive((1,), 0, 20_000), 64, 1.5).double()
    fixed = rows[:, [0, 1, 5, 6, 7, 8]].unique(dim=0)
    assert fixed.tolist() == [pytest.approx([64, 1.5, 200, 2.0, 0.07, 30], rel=1e-6)]
    mean, difference = (rows[:, 2] + rows[:, 3]) / 2, rows[:, 2] - rows[:, 3]
    assert stats.kstest(mean.numpy(), stats.uniform(9000, 6000).cdf).pvalue > 1e-3
    assert stats.kstest(difference.numpy(), stats.uniform(0, 600).cdf).pvalue > 1e-3
    assert stats.kstest(rows[:, 4].numpy(), stats.uniform(0, 180).cdf).pvalue > 1e-3


@pytest.mark.parametrize("box", [16, 64])
def test_real_space_images_get_the_same_ctf_as_hartley_transforms(box: int) -> None:
    images = torch.randn(3, box, box, generator=torch.Generator().manual_seed(0))
    ctf = ContrastTransferRange().rows(Draws.consecutive((1,), 0, 3), box, 2.0)
    transfer = contrast_transfer(lattice_frequencies(box), ctf, box)
    hartley = symmetrize(hartley2(images)).flatten(1)
    # Without the Nyquist row and column, which stand for two frequencies each.
    keep = torch.ones(box + 1, box + 1)
    keep[0], keep[-1], keep[:, 0], keep[:, -1] = 0, 0, 0, 0
    multiplied = (hartley * transfer).unflatten(1, (box + 1, box + 1)) * keep
    expected = inverse_hartley2(desymmetrize(multiplied))
    found = symmetrize(hartley2(apply_contrast_transfer(images, ctf))) * keep
    torch.testing.assert_close(inverse_hartley2(desymmetrize(found)), expected, atol=1e-5, rtol=0)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="defocus needs smallest <= largest"):
        ContrastTransferRange((2e4, 1e4))
    with pytest.raises(ValueError, match="voltage must be positive"):
        ContrastTransferRange(voltage_kv=0)
    with pytest.raises(ValueError, match="amplitude contrast from 0 to 1"):
        ContrastTransferRange(amplitude_contrast=1.5)
