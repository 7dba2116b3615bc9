"""What every DataModule of particles shares, wherever its images come from."""

from __future__ import annotations

from cryo_disentangle.particles.preprocessing import ImageSource, Preprocessing
from cryo_disentangle.particles.splitting import SharedData

__all__ = ["PreparedData"]


class PreparedData(SharedData):
    """A DataModule whose images are preprocessed and normalised.

    Args:
        preprocessing: What is done to images, fitted to `image_source` at first use.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._preprocessing = preprocessing

    def image_source(self) -> ImageSource:
        """Images that the normalisation is measured on."""
        raise NotImplementedError

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of images, fitted at first use."""
        self._preprocessing = self._preprocessing.fit(self.image_source())
        return self._preprocessing

    @property
    def norm(self) -> tuple[float, float]:
        """(mean, standard deviation) that images are normalised by."""
        return self.preprocessing.fitted_norm

    @property
    def norm_std(self) -> float:
        """Standard deviation that images are divided by."""
        return self.norm[1]

    def _restore_norm(self, norm: list[float], invert: bool = True) -> None:
        """Takes over the normalisation of a checkpoint, and its sign where none is given."""
        mean, std = norm
        self._preprocessing = self._preprocessing.with_norm((float(mean), float(std)))
        if self._preprocessing.invert is None:
            self._preprocessing = self._preprocessing.with_invert(invert)
