"""A small model, and real speech as codes."""

import numpy as np
import pytest
import torch

from giblet.codec import load_codec
from giblet.codec.architecture import codebooks_of
from giblet.models import Modality, ModelSettings, MultimodalAutoencoder
from giblet.timing import group_codes_by_tr

TINY = {
    "head": "classification",
    "features": 16,
    "bottleneck": 8,
    "rank": 6,
    "embedding_dim": 8,
    "dropout": 0.0,
    "codebook_init": False,
}


@pytest.fixture(scope="session")
def speech_codes(speech) -> torch.Tensor:
    """(40, 8, 112) int32: a minute of speech by TRs of 1.5 s."""
    codes = load_codec("bundled", device="cpu").encode(speech)
    return torch.from_numpy(np.array(group_codes_by_tr(codes, tr=1.5, frame_rate=75)[:40]))


@pytest.fixture(scope="session")
def codebooks(bundled_model) -> torch.Tensor:
    """(8, 1024, 80): those of the bundled codec."""
    return codebooks_of(bundled_model)[:8].detach().clone()


@pytest.fixture
def tiny():
    """Make a small model; keywords are settings, or those of the model."""

    def make(
        modalities=None, n_voxels=None, codebooks=None, priors=None, fingerprint=None, seed=0, slice_time_ref=None,
        **settings,
    ):  # fmt: skip
        torch.manual_seed(seed)
        chosen = ModelSettings.make(**{**TINY, **settings})
        modalities = modalities or {"audio": Modality("codes", (chosen.n_codebooks, chosen.frames_per_tr))}
        return MultimodalAutoencoder(
            chosen, modalities, n_voxels or {"sub-01": 5}, codebooks, priors, fingerprint, slice_time_ref=slice_time_ref
        )

    return make


def batch_of(model, n=40, subject=0, seed=0, codes=None, batch=1):
    """Random windows for a model, all of it present; `codes` (n, K, F) in place of random ones."""
    gen = torch.Generator().manual_seed(seed)
    shape = (batch, n)
    data = {"bold": torch.randn(*shape, list(model.n_voxels.values())[subject], generator=gen)}
    for name, modality in model.modalities.items():
        if modality.kind == "codes":
            size = model.settings.codebook_size
            data[name] = torch.randint(0, size, (*shape, *modality.shape), generator=gen, dtype=torch.int32)
            if codes is not None:
                data[name] = codes[None].expand(*shape, -1, -1).clone()
        else:
            data[name] = torch.randn(*shape, *modality.shape, generator=gen)
    mask = {name: torch.ones(shape, dtype=torch.bool) for name in data}
    trs = torch.arange(n).repeat(batch, 1) + 100
    return {"data": data, "mask": mask, "trs": trs, "subject": torch.full((batch,), subject)}
