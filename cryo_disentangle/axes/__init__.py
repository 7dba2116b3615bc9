"""Axes of a latent space that mean something: by time, by temperature, or by neither.

Each estimator is fitted to arrays, transforms arrays, and says how well its axes are known:

    >>> import numpy as np
    >>> from cryo_disentangle.axes import TimeAxes
    >>> rng = np.random.default_rng(0)
    >>> earlier = rng.normal(size=(2000, 2))
    >>> later = earlier + rng.laplace(size=(2000, 2))
    >>> mixing = np.array([[0.8, -0.6], [0.6, 0.8]])
    >>> axes = TimeAxes().fit(earlier @ mixing.T, later @ mixing.T)
    >>> axes.determined_, axes.transform(earlier @ mixing.T).shape
    (True, (2000, 2))
"""

from cryo_disentangle.axes.evidence import EvidenceAxes
from cryo_disentangle.axes.temperature import TemperatureAxes
from cryo_disentangle.axes.time import TimeAxes
from cryo_disentangle.axes.unlabelled import IndependentAxes, PrincipalAxes

__all__ = [
    "EvidenceAxes",
    "IndependentAxes",
    "PrincipalAxes",
    "TemperatureAxes",
    "TimeAxes",
]
