"""Networks as cryoDRGN keeps them: weights and their description, both ways."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import (
    AxisEncoding,
    GaussianEncoding,
    ImplicitDecoder,
    PositionalEncoding,
)
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.interop.config import NetworkSettings
from cryo_disentangle.networks.residual_mlp import ResidualMLP
from cryo_disentangle.protocols.models import HasImageNetworks

__all__ = ["build_decoder", "build_encoder", "cryodrgn_model_args", "cryodrgn_weights", "fill"]

# cryoDRGN writes these into every configuration, whether there are tilts or not.
_TILT = {"tdim": 1024, "tlayers": 3, "t_emb_dim": 64, "ntilts": 10}
_WAY_OUT = "; z.pkl, poses.pkl and volumes (.mrc) of any model are written by `predict`"


def build_encoder(settings: NetworkSettings, box_size: int) -> MLPEncoder | None:
    """Makes the encoder of a run, with weights still random.

    Args:
        settings: The run's networks.
        box_size: Image side D in pixels.

    Returns:
        The encoder, or None for a decoder alone.

    Raises:
        ValueError: If a size makes no sense.
    """
    made = settings.encoder
    if made is None:
        return None
    return MLPEncoder(
        len(FourierDisc(box_size, made.radius)),
        settings.conformation_dim,
        made.width,
        made.layers,
        settings.activation,
        made.residual,
    )


def build_decoder(settings: NetworkSettings, box_size: int) -> ImplicitDecoder:
    """Makes the decoder of a run, with weights still random.

    Args:
        settings: The run's networks.
        box_size: Image side D in pixels.

    Returns:
        The decoder.

    Raises:
        ValueError: If a size makes no sense.
    """
    encoding: PositionalEncoding = (
        GaussianEncoding(settings.feat_sigma, settings.pe_dim)
        if settings.pe_type == "gaussian"
        else AxisEncoding(settings.pe_type, settings.pe_dim)
    )
    return ImplicitDecoder(
        box_size,
        settings.conformation_dim,
        settings.width,
        settings.layers,
        settings.domain,
        encoding,
        settings.activation,
    )


def fill(network: nn.Module, weights: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    """Gives a network the weights of a file.

    Args:
        network: The network.
        weights: All weights of the file.
        prefix: What the names of the network's begin with there.
        path: The file, for messages.

    Raises:
        ValueError: If they are of another network.
    """
    theirs = {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
    for name, value in network.state_dict().items():
        found = theirs.get(name)
        if found is None or found.shape != value.shape:
            has = "there is none" if found is None else f"found shape {tuple(found.shape)}"
            raise ValueError(
                f"{path}: the weights are of another network than its configuration describes: "
                f"{prefix}{name} should have shape {tuple(value.shape)}, {has}"
            )
    unknown = sorted(theirs.keys() - network.state_dict().keys())
    if unknown:
        raise ValueError(
            f"{path}: the weights are of another network than its configuration describes, which "
            f"has no {prefix}{unknown[0]}"
        )
    network.load_state_dict(theirs)


def cryodrgn_weights(
    module: nn.Module, optimizers: list[torch.optim.Optimizer], epoch: int
) -> dict[str, Any]:
    """Collects what cryoDRGN keeps in ``weights.pkl``.

    Args:
        module: A `HasImageNetworks` of an `MLPEncoder` and an `ImplicitDecoder`.
        optimizers: Those of the training; the state of an Adam goes along, else there is none.
        epoch: Number of epochs done.

    Returns:
        ``epoch``, ``model_state_dict`` with the keys of cryoDRGN's ``HetOnlyVAE``, and
        ``optimizer_state_dict`` of an Adam for its parameters in that order.

    Raises:
        TypeError: If encoder or decoder are others.
    """
    encoder, decoder, _ = _networks(module)
    state: OrderedDict[str, Tensor] = OrderedDict()
    for part, network in (("encoder", encoder), ("decoder", decoder)):
        for name, value in network.state_dict().items():
            state[f"{part}.{name}"] = value.detach().cpu().float().contiguous()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    rate = optimizers[0].param_groups[0]["lr"] if optimizers else 1e-4
    adam = torch.optim.Adam(parameters, lr=float(rate))
    for optimizer in optimizers:
        if type(optimizer) is torch.optim.Adam:
            known = [p for p in parameters if p in optimizer.state]
            adam.state.update({p: optimizer.state[p] for p in known})
    return {
        "epoch": epoch,
        "model_state_dict": state,
        "optimizer_state_dict": _on_cpu(adam.state_dict()),
    }


def cryodrgn_model_args(module: nn.Module) -> dict[str, Any]:
    """Describes a model as ``model_args`` of cryoDRGN's ``config.yaml``.

    Args:
        module: A `HasImageNetworks` of an `MLPEncoder` and an `ImplicitDecoder`.

    Returns:
        All keys that cryoDRGN 4.3 writes.

    Raises:
        TypeError: If encoder or decoder are others, or cryoDRGN has no such model.
    """
    encoder, decoder, disc = _networks(module)
    networks = (encoder, decoder.decoder)
    activations = {"relu" if network.negative_slope == 0 else "leaky_relu" for network in networks}
    if len(activations) > 1:
        raise TypeError("cryoDRGN has one activation for both networks, found relu and leaky_relu")
    encoder_width, encoder_layers, outputs = _sizes(encoder)
    decoder_width, decoder_layers, _ = _sizes(decoder.decoder)
    return {
        "qlayers": encoder_layers,
        "qdim": encoder_width,
        "players": decoder_layers,
        "pdim": decoder_width,
        "zdim": outputs // 2,
        "encode_mode": "resid" if encoder.residual else "mlp",
        "enc_mask": disc.radius,
        **_positional_encoding(decoder),
        "domain": decoder.domain,
        "activation": activations.pop(),
        "tilt_params": dict(_TILT),
    }


def _networks(module: nn.Module) -> tuple[MLPEncoder, ImplicitDecoder, FourierDisc]:
    """The two networks that cryoDRGN knows, and what the encoder reads."""
    if not isinstance(module, HasImageNetworks):
        raise TypeError(
            "cryoDRGN knows models of an MLPEncoder and an ImplicitDecoder, found "
            f"{type(module).__name__} without image_networks(){_WAY_OUT}"
        )
    encoder, disc, decoder, setting = module.image_networks()
    if not isinstance(encoder, MLPEncoder) or not isinstance(decoder, ImplicitDecoder):
        raise TypeError(
            "cryoDRGN knows models of an MLPEncoder and an ImplicitDecoder, found "
            f"{type(encoder).__name__} and {type(decoder).__name__} in {type(module).__name__}"
            f"{_WAY_OUT}"
        )
    if setting.infers_pose or setting.reads_pose:
        raise TypeError("cryoDRGN's encoder neither infers poses nor reads them, and this one does")
    return encoder, decoder, disc


def _sizes(network: ResidualMLP) -> tuple[int, int, int]:
    """Width, number of residual hidden layers, and number of outputs."""
    biases = [value for name, value in network.state_dict().items() if name.endswith("bias")]
    return len(biases[0]), len(biases) - 2, len(biases[-1])


def _positional_encoding(decoder: ImplicitDecoder) -> dict[str, Any]:
    """CryoDRGN's keys of the encoding."""
    encoding = decoder.encoding
    if isinstance(encoding, GaussianEncoding):
        return {"pe_type": "gaussian", "pe_dim": encoding.dim, "feat_sigma": encoding.sigma}
    if isinstance(encoding, AxisEncoding):
        # The spread is of random frequencies; cryoDRGN writes its default whatever the encoding.
        return {"pe_type": encoding.ladder, "pe_dim": encoding.dim, "feat_sigma": 0.5}
    raise TypeError(
        f"cryoDRGN has no positional encoding like this decoder's {type(encoding).__name__}"
    )


def _on_cpu(state: Any) -> Any:  # noqa: ANN401 - a tree of anything
    """Copies the tensors of an optimiser's state to the host."""
    if isinstance(state, Tensor):
        return state.detach().cpu()
    if isinstance(state, dict):
        return {key: _on_cpu(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_on_cpu(value) for value in state]
    return state
