"""Networks as cryoDRGN keeps them: weights and their description, both ways."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import AxisEncoding, ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.networks import ResidualMLP

__all__ = ["cryodrgn_model_args", "cryodrgn_weights"]

_Ladder = Literal["geom_ft", "geom_full", "geom_lowf", "geom_nohighf", "linear_lowf"]
# cryoDRGN writes these into every configuration, whether there are tilts or not.
_TILT = {"tdim": 1024, "tlayers": 3, "t_emb_dim": 64, "ntilts": 10}


def cryodrgn_weights(
    module: nn.Module, optimizers: list[torch.optim.Optimizer], epoch: int
) -> dict[str, Any]:
    """Collects what cryoDRGN keeps in ``weights.pkl``.

    Args:
        module: Its ``encoder`` is an `MLPEncoder` and its ``decoder`` an `ImplicitDecoder`.
        optimizers: Those of the training; the state of an Adam goes along, else there is none.
        epoch: Number of epochs done.

    Returns:
        ``epoch``, ``model_state_dict`` with the keys of cryoDRGN's ``HetOnlyVAE``, and
        ``optimizer_state_dict`` of an Adam for its parameters in that order.

    Raises:
        TypeError: If encoder or decoder are others.
    """
    encoder, decoder = _networks(module)
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
        module: Its ``encoder`` is an `MLPEncoder` and its ``decoder`` an `ImplicitDecoder`.

    Returns:
        All keys that cryoDRGN 4.3 writes.

    Raises:
        TypeError: If encoder or decoder are others, or cryoDRGN has no such model.
    """
    encoder, decoder = _networks(module)
    networks = (encoder, decoder.decoder)
    activations = {"relu" if network.negative_slope == 0 else "leaky_relu" for network in networks}
    if len(activations) > 1:
        raise TypeError("cryoDRGN has one activation for both networks, found relu and leaky_relu")
    encoder_width, encoder_layers, outputs = _sizes(encoder)
    decoder_width, decoder_layers, _ = _sizes(decoder.decoder)
    pe_type, pe_dim = _positional_encoding(decoder)
    return {
        "qlayers": encoder_layers,
        "qdim": encoder_width,
        "players": decoder_layers,
        "pdim": decoder_width,
        "zdim": outputs // 2,
        "encode_mode": "resid",
        "enc_mask": _encoder_radius(module),
        "pe_type": pe_type,
        "feat_sigma": 0.5,
        "pe_dim": pe_dim,
        "domain": decoder.domain,
        "activation": activations.pop(),
        "tilt_params": dict(_TILT),
    }


def _networks(module: nn.Module) -> tuple[MLPEncoder, ImplicitDecoder]:
    """The two networks that cryoDRGN knows."""
    encoder, decoder = getattr(module, "encoder", None), getattr(module, "decoder", None)
    if not isinstance(encoder, MLPEncoder) or not isinstance(decoder, ImplicitDecoder):
        raise TypeError(
            "cryoDRGN knows models of an MLPEncoder and an ImplicitDecoder, found "
            f"{type(encoder).__name__} and {type(decoder).__name__} in {type(module).__name__}"
        )
    if getattr(module, "pose_head", None) is not None or getattr(
        module, "encoder_reads_pose", False
    ):
        raise TypeError("cryoDRGN's encoder neither infers poses nor reads them, and this one does")
    return encoder, decoder


def _encoder_radius(module: nn.Module) -> int:
    """Radius of what the encoder reads, in Fourier pixels; -1 for all."""
    disc = getattr(module, "encoder_disc", None)
    if not isinstance(disc, FourierDisc):
        raise TypeError(
            "cryoDRGN's encoder reads a disc of Fourier coefficients (encoder_disc), found "
            f"{type(disc).__name__} in {type(module).__name__}"
        )
    return disc.radius


def _sizes(network: ResidualMLP) -> tuple[int, int, int]:
    """Width, number of residual hidden layers, and number of outputs."""
    biases = [value for name, value in network.state_dict().items() if name.endswith("bias")]
    return len(biases[0]), len(biases) - 2, len(biases[-1])


def _positional_encoding(decoder: ImplicitDecoder) -> tuple[str, int]:
    """CryoDRGN's ``pe_type`` and ``pe_dim``."""
    if "rand_freqs" in decoder.state_dict():
        return "gaussian", len(decoder.rand_freqs) // 3
    matrix = decoder.frequency_matrix.cpu()
    dim = len(matrix) // 3
    for ladder in get_args(_Ladder):
        same = AxisEncoding(ladder, dim).matrix(decoder.box_size)
        if same.shape == matrix.shape and torch.equal(same, matrix):
            return ladder, dim
    raise TypeError("cryoDRGN has no positional encoding like that of this decoder")


def _on_cpu(state: Any) -> Any:  # noqa: ANN401 - a tree of anything
    """Copies the tensors of an optimiser's state to the host."""
    if isinstance(state, Tensor):
        return state.detach().cpu()
    if isinstance(state, dict):
        return {key: _on_cpu(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_on_cpu(value) for value in state]
    return state
