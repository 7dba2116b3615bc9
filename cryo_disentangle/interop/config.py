"""``config.yaml`` of cryoDRGN: what a run was made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from cryo_disentangle.interop.sections import Section

__all__ = [
    "EncoderSettings",
    "ImageSettings",
    "NetworkSettings",
    "RunConfig",
    "hypervolume_settings",
    "read_config",
]

Activation = Literal["relu", "leaky_relu"]
Domain = Literal["fourier", "hartley"]
Program = Literal["train_vae", "train_dec", "abinit"]
PositionalEncodingName = Literal[
    "gaussian", "geom_ft", "geom_full", "geom_lowf", "geom_nohighf", "linear_lowf"
]

_ACTIVATIONS: dict[str, Activation] = {"relu": "relu", "leaky_relu": "leaky_relu"}
_DOMAINS: dict[str, Domain] = {"fourier": "fourier", "hartley": "hartley"}
_ENCODINGS: dict[str, PositionalEncodingName] = {
    name: name for name in get_args(PositionalEncodingName)
}
# Whether the encoder is residual.
_ENCODE_MODES = {"resid": True, "mlp": False}


@dataclass(frozen=True)
class EncoderSettings:
    """The encoder of a run.

    Attributes:
        width: Width of the hidden layers.
        layers: Number of hidden layers after the first.
        residual: Whether they are residual (encode mode ``resid``) or not (``mlp``).
        radius: Radius in Fourier pixels of what it reads; -1 for all.
    """

    width: int
    layers: int
    residual: bool
    radius: int


@dataclass(frozen=True)
class NetworkSettings:
    """The networks of a run.

    Attributes:
        conformation_dim: Number Z of conformation coordinates; 0 for a homogeneous decoder.
        width: Width of the decoder's hidden layers.
        layers: Number of its residual hidden layers.
        domain: What the decoder gives.
        pe_type: Its positional encoding, by cryoDRGN's name.
        pe_dim: Steps of the encoding; None is D / 2.
        feat_sigma: Spread of random frequencies.
        activation: Activation of all networks.
        encoder: The encoder; None for a decoder alone.
    """

    conformation_dim: int
    width: int
    layers: int
    domain: Domain
    pe_type: PositionalEncodingName
    pe_dim: int | None
    feat_sigma: float
    activation: Activation
    encoder: EncoderSettings | None


@dataclass(frozen=True)
class ImageSettings:
    """The images of a run and how they were prepared.

    Attributes:
        particles: Particle file.
        datadir: Folder of the stacks that it names, or None.
        poses: Poses, or None.
        ctf: CTF parameters, or None.
        indices: Selection of images, or None.
        norm: (mean, standard deviation) of the Hartley transforms.
        invert: Whether images were multiplied by -1.
        window_radius: Radius of the window, or None without one.
        refined_poses: Whether poses were refined in training; None where it is not known.
    """

    particles: str
    datadir: str | None
    poses: str | None
    ctf: str | None
    indices: str | None
    norm: tuple[float, float]
    invert: bool
    window_radius: float | None
    refined_poses: bool | None


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run, known before its weights are read.

    Attributes:
        path: The configuration file.
        program: What wrote it; ``train_dec`` stands for ``train_nn``, too.
        box_size: Image side D in pixels.
        images: Its images.
        networks: Its networks; None for ``abinit``, whose weights describe them.
    """

    path: Path
    program: Program
    box_size: int
    images: ImageSettings
    networks: NetworkSettings | None


def read_config(path: str | Path) -> RunConfig:
    """Reads the configuration of a run of cryoDRGN, of versions 1 to 4.

    Keys that older versions didn't write get the values that those had fixed: ReLU, a window of
    radius 0.85, Hartley images, poses not refined where no refined ones lie about.

    Args:
        path: ``config.yaml``.

    Returns:
        What the run was made of.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none of cryoDRGN's, lacks what has no default, or is of a run that is
            not supported (tilt series, a convolutional encoder, images in real space, no positional
            encoding).
    """
    path = Path(path)
    content = _read_yaml(path)
    lattice = Section(path, "lattice_args", content.get("lattice_args"))
    model = Section(path, "model_args", content.get("model_args"))
    dataset = Section(path, "dataset_args", content.get("dataset_args"))
    side = lattice.get("D", int)
    if side < 3 or side % 2 == 0:
        raise ValueError(
            f"{path}: lattice_args.D must be a box size plus one and so odd, found {side}"
        )
    if "data_norm_mean" in content:
        images = _abinit_images(path, content, dataset)
        return RunConfig(path, "abinit", side - 1, images, None)
    is_vae = "players" in model
    program: Program = "train_vae" if is_vae else "train_dec"
    networks = _vae_networks(model) if is_vae else _decoder_networks(model)
    return RunConfig(path, program, side - 1, _images(dataset), networks)


def hypervolume_settings(path: Path, params: object) -> NetworkSettings:
    """The decoder of ``cryodrgn abinit`` (DRGN-AI) from its weights.

    Args:
        path: Weights, for messages.
        params: Their ``hypervolume_params``.

    Returns:
        The networks, without an encoder.

    Raises:
        ValueError: If something is missing, or conformations are encoded by sines and cosines.
    """
    section = Section(path, "hypervolume_params", params)
    if section.values.get("pe_type_conf") is not None:
        raise ValueError(
            f"{path}: a positional encoding of conformations (pe_type_conf "
            f"{section.values['pe_type_conf']}) is not supported"
        )
    return NetworkSettings(
        conformation_dim=section.get("z_dim", int),
        width=section.get("hidden_dim", int),
        layers=section.get("n_layers", int),
        domain=section.choose("domain", _DOMAINS),
        pe_type=section.choose("pe_type", _ENCODINGS),
        pe_dim=section.get("pe_dim", int),
        feat_sigma=section.get("feat_sigma", float),
        activation="relu",
        encoder=None,
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    """The content of the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, so there is no cryoDRGN run")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = str(error).splitlines()[0]
        raise ValueError(f"{path}: refused as YAML: {where}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: refused as a configuration of cryoDRGN: it has no sections")
    return content


def _vae_networks(model: Section) -> NetworkSettings:
    """The networks of ``train_vae``."""
    encoder = EncoderSettings(
        width=model.get("qdim", int),
        layers=model.get("qlayers", int),
        residual=model.choose("encode_mode", _ENCODE_MODES),
        radius=model.get("enc_mask", int),
    )
    zdim, width, layers = (model.get(key, int) for key in ("zdim", "pdim", "players"))
    return _networks(model, zdim, width, layers, encoder)


def _decoder_networks(model: Section) -> NetworkSettings:
    """The decoder of ``train_dec``, or of ``train_nn``, which has no conformations."""
    width, layers = model.get("dim", int), model.get("layers", int)
    return _networks(model, model.get("zdim", int, 0), width, layers, None)


def _networks(
    model: Section, zdim: int, width: int, layers: int, encoder: EncoderSettings | None
) -> NetworkSettings:
    """What the programs describe alike."""
    sigma = model.get_or_none("feat_sigma", float)
    return NetworkSettings(
        conformation_dim=zdim,
        width=width,
        layers=layers,
        domain=model.choose("domain", _DOMAINS),
        pe_type=model.choose("pe_type", _ENCODINGS),
        pe_dim=model.get_or_none("pe_dim", int),
        # Frequencies are read with the weights; other encodings have no spread.
        feat_sigma=0.5 if sigma is None else sigma,
        activation=model.choose("activation", _ACTIVATIONS, "relu"),
        encoder=encoder,
    )


def _images(dataset: Section) -> ImageSettings:
    """The images of ``train_vae``, ``train_dec`` and ``train_nn``."""
    if dataset.get("keepreal", bool, False):
        raise ValueError(
            f"{dataset.path}: images in real space (keepreal, --use-real) are not supported"
        )
    if dataset.get_or_none("ntilts", int) is not None:
        raise ValueError(f"{dataset.path}: tilt series (ntilts) are not supported")
    norm = dataset.get("norm", list)
    window = dataset.get("window", bool, True)
    return ImageSettings(
        particles=dataset.get("particles", str),
        datadir=dataset.get_or_none("datadir", str),
        poses=dataset.get_or_none("poses", str),
        ctf=dataset.get_or_none("ctf", str),
        indices=dataset.get_or_none("ind", str),
        norm=_norm(dataset, norm),
        invert=dataset.get("invert_data", bool),
        window_radius=dataset.get("window_r", float, 0.85) if window else None,
        refined_poses=dataset.get_or_none("do_pose_sgd", bool),
    )


def _abinit_images(path: Path, content: dict[str, Any], dataset: Section) -> ImageSettings:
    """The images of ``abinit``, whose poses are those that it found."""
    training = Section(path, "training", content.get("training", {}))
    norm = [content.get("data_norm_mean"), content.get("data_norm_std")]
    return ImageSettings(
        particles=dataset.get("particles", str),
        datadir=dataset.get_or_none("datadir", str),
        poses=None,
        ctf=dataset.get_or_none("ctf", str),
        indices=dataset.get_or_none("ind", str),
        norm=_norm(Section(path, "data_norm", {}), norm),
        invert=dataset.get("invert_data", bool),
        window_radius=training.get("window_radius_gt_real", float, 0.85),
        refined_poses=True,
    )


def _norm(section: Section, values: list[Any]) -> tuple[float, float]:
    """(mean, standard deviation), the latter positive."""
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    if len(values) != 2 or len(numbers) != 2 or not numbers[1] > 0:
        raise ValueError(
            f"{section.path}: the normalisation must be a mean and a positive standard deviation, "
            f"found {values}"
        )
    return numbers[0], numbers[1]
