"""Whether the parts of the model fit each other and the data, and a table of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from giblet.errors import InputError
from giblet.models.layers import is_code_dtype
from giblet.models.settings import AUDIO, BOLD, TEXT, VIDEO, Modality, ModelSettings

if TYPE_CHECKING:
    from giblet.models.autoencoder import MultimodalAutoencoder


def describe_parts(model: MultimodalAutoencoder) -> list[dict[str, Any]]:
    """See :meth:`MultimodalAutoencoder.describe`.

    Parameters
    ----------
    model : MultimodalAutoencoder

    Returns
    -------
    list of dict
        ``part``, ``input``, ``output``, ``parameters`` and ``trainable`` of each.
    """
    s = model.settings
    rows: list[dict[str, Any]] = []

    def row(part: str, module: Any, shape_in: Any, shape_out: Any) -> None:
        params = [module] if isinstance(module, nn.Parameter) else list(module.parameters())
        n, learn = sum(p.numel() for p in params), sum(p.numel() for p in params if p.requires_grad)
        rows.append({"part": part, "input": shape_in, "output": shape_out, "parameters": n, "trainable": learn})

    for name, encoder in model.encoders.items():
        row(f"encoder: {name}", encoder, model.modalities[name].shape, (s.features,))
    row("fusion", model.fusion, (len(model.modalities) * s.features,), (s.features,))
    row(f"HRF ({s.hrf})", model.hrf, (s.features,), (s.features,))
    row("bottleneck", model.to_bottleneck, (s.features,), (s.bottleneck,))
    for name, brain in zip(model.subjects, model.brains, strict=True):
        row(f"brain layer: {name}", brain, (s.bottleneck,), (model.n_voxels[name],))
    row("absent volume", model.absent_volume, (), (s.rank,))
    row("window of BOLD to bottleneck", model.over_volumes, (s.decode_trs, s.rank), (s.bottleneck,))
    row("decoder: trunk", model.decoder.trunk, (s.bottleneck,), (s.features,))
    for name, head in model.decoder.heads.items():
        row(f"decoder: {name}", head, (s.features,), model.modalities[name].shape)
    return rows


def checked_series(
    name: str, modality: Modality, data: Mapping[str, Tensor], mask: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """One modality and its mask, found to fit.

    Parameters
    ----------
    name : str
    modality : Modality
        What one TR of it is.
    data : mapping of str to Tensor, shape (B, W, ...)
        By modality.
    mask : mapping of str to Tensor of bool, shape (B, W)
        Which TRs are data.

    Returns
    -------
    x : Tensor, shape (B, W, ...)
    there : Tensor of bool, shape (B, W)

    Raises
    ------
    InputError
        If the modality or its mask is missing, or of another shape or kind.
    """
    if name not in data or name not in mask:
        what = "data" if name not in data else "a mask"
        raise InputError(f"the batch lacks {what} for {name}: if it is missing, say so with a mask of False")
    x, there = data[name], mask[name]
    if there.dtype != torch.bool or x.shape[:2] != there.shape or tuple(x.shape[2:]) != modality.shape:
        shape = ", ".join(map(str, ("B", "W", *modality.shape)))
        raise InputError(
            f"{name} is {tuple(x.shape)} with a mask {there.dtype} {tuple(there.shape)}: ({shape}) and bool (B, W) "
            "are needed"
        )
    if is_code_dtype(x) != (modality.kind == "codes"):
        wanted = "codes, integers" if modality.kind == "codes" else f"{modality.kind}, floats"
        raise InputError(f"{name} is {x.dtype}: the model was made for {wanted}")
    return x, there


def all_ahead(real: Tensor, n: int) -> Tensor:
    """Whether a row and the `n` after it are all real; nothing behind the window's end is.

    Parameters
    ----------
    real : Tensor of bool, shape (B, W)
    n : int

    Returns
    -------
    Tensor of bool, shape (B, W)
    """
    padded = nn.functional.pad(real.float()[:, None], (0, n))
    return -nn.functional.max_pool1d(-padded, n + 1, stride=1)[:, 0] > 0.5


def decoder_shapes(modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """What the decoder has to know of the modalities.

    Parameters
    ----------
    modalities : mapping of str to Modality
        By name.

    Returns
    -------
    dict
        Arguments of :class:`giblet.models.decoder.MultimodalDecoder`: ``audio`` and ``vectors``, and where they apply
        ``n_mels``, ``mel_frames``, ``video_shape`` and ``text_dim``.
    """
    shapes: dict[str, Any] = {"audio": AUDIO in modalities, "vectors": {}}
    for name, modality in modalities.items():
        if modality.kind == "mel":
            shapes |= {"n_mels": modality.shape[0], "mel_frames": (*modality.shape[1:], None)[0]}
        elif name == VIDEO:
            shapes["video_shape"] = modality.shape
        elif name == TEXT:
            shapes["text_dim"] = modality.shape[0]
        elif name != AUDIO:
            shapes["vectors"][name] = modality.shape[0]
    return shapes


def check_parts(
    s: ModelSettings, modalities: Mapping[str, Modality], n_voxels: Mapping[str, int], codebooks: Tensor | None
) -> None:
    """Refuse settings, modalities and codebooks that contradict each other; see `MultimodalAutoencoder`.

    Parameters
    ----------
    s : ModelSettings
    modalities : mapping of str to Modality
        By name.
    n_voxels : mapping of str to int
        By subject.
    codebooks : Tensor, shape (K, V, D), or None
        Of the codec; only whether they are given is looked at.

    Raises
    ------
    InputError
        If they do, or there is no modality, no subject or no voxel.
    """
    if not modalities or not n_voxels:
        raise InputError("the model needs at least one modality and one subject")
    for subject, n in n_voxels.items():
        if n < 1:
            raise InputError(f"subject {subject} has {n} voxels: at least 1 is needed")
    for name, modality in modalities.items():
        kinds = {AUDIO: ("codes",) if s.use_encodec else ("mel",), VIDEO: ("frames", "vector")}.get(name, ("vector",))
        if modality.kind not in kinds or name == BOLD:
            raise InputError(
                f"modality {name} is {modality.kind} {modality.shape}: {' or '.join(kinds)} is needed "
                f"with use_encodec={s.use_encodec}"
            )
        if modality.kind == "codes" and modality.shape != (s.n_codebooks, s.frames_per_tr):
            raise InputError(
                f"audio has codes {modality.shape} per TR: the settings say n_codebooks {s.n_codebooks}, "
                f"frames_per_tr {s.frames_per_tr}"
            )
    if unknown := set(s.modality_weights) - set(modalities) - {BOLD}:
        raise InputError(
            f"modality_weights name {', '.join(sorted(unknown))}: there are {', '.join([*modalities, BOLD])}"
        )
    if AUDIO in modalities and s.use_encodec and codebooks is None and (s.codebook_init or s.head == "latent"):
        raise InputError(
            "the codec's codebooks are needed for codebook_init=True and head='latent': give codebooks (K, V, D)"
        )
