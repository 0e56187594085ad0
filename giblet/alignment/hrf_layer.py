"""The haemodynamic response as a layer of a network, in seconds, fixed or learnable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from giblet.alignment.kernels import HRF, OVERSAMPLING, check_hrf, collapse, several, tr_kernel
from giblet.errors import InputError

DOUBLE_GAMMA = {
    # time to peak (s), time to undershoot (s), dispersion of each (s), undershoot as a share: nilearn's values
    "glover": (6.0, 12.0, 0.9, 0.9, 0.48),
    "spm": (6.0, 16.0, 1.0, 1.0, 0.167),
}
SECONDS = 32.0


class HRFLayer(nn.Module):
    """Convolve features by TR with an HRF, causally; gradients flow to the features, and to the HRF if it may learn.

    The learnable HRF is the difference of two gamma densities with five positive parameters: delay of the peak and of
    the undershoot in seconds, dispersion of each in seconds, and the size of the undershoot. Five numbers in seconds,
    not a free kernel per lag: they keep their meaning at another TR, stay a causal HRF whatever the optimiser does,
    and cannot fit the noise of a short scan.

    Parameters
    ----------
    tr : float
        Repetition time in seconds.
    hrf : str or callable
        As for :func:`giblet.alignment.convolve_hrf`; where learning starts from, if `learnable`.
    learnable : bool
        Only for ``"glover"`` and ``"spm"``.
    delays : sequence of float, optional
        For ``hrf="fir"``, in seconds.
    slice_time_ref : float or sequence of float
        When in its TR a volume is read, 0 to 1. Several share one HRF: scans whose slice timing refers to different
        moments; `forward` says which.
    oversampling : int
        Fine samples of the HRF per TR.

    Raises
    ------
    InputError
        If an option is out of range.

    See Also
    --------
    giblet.alignment.convolve_hrf : the same for arrays, with the formula.

    Examples
    --------
    >>> HRFLayer(tr=1.5)(torch.zeros(2, 40, 16)).shape
    torch.Size([2, 40, 16])
    """

    kernels: torch.Tensor
    """float32 (n_refs, n_lags, n_responses), of a fixed HRF: what a TR shows in the volumes from its own on."""

    def __init__(
        self,
        *,
        tr: float = 1.5,
        hrf: HRF = "glover",
        learnable: bool = False,
        delays: Sequence[float] | None = None,
        slice_time_ref: float | Sequence[float] = 0.0,
        oversampling: int = OVERSAMPLING,
    ) -> None:
        super().__init__()
        refs = [slice_time_ref] if isinstance(slice_time_ref, (int, float)) else slice_time_ref
        self.slice_time_refs = tuple(float(ref) for ref in refs)
        if not self.slice_time_refs:
            raise InputError("slice_time_ref is empty; expected a fraction of the TR, or one for each kind of scan")
        if learnable and hrf not in DOUBLE_GAMMA:
            raise InputError(f"hrf={hrf!r} cannot learn: 'glover' or 'spm' can")
        self.hrf, self.learnable, self.delays = hrf, learnable, delays
        self.oversampling = oversampling
        if learnable:
            start = torch.tensor(DOUBLE_GAMMA[str(hrf)], dtype=torch.float32)
            self.log_parameters = nn.Parameter(start.log())
        # Not saved: they follow from the TR and the parameters, and a checkpoint may be used at another TR.
        self.register_buffer("kernels", torch.empty(0), persistent=False)
        self.register_buffer("_collapse", torch.empty(0), persistent=False)
        self.set_tr(tr)

    def set_tr(self, tr: float) -> None:
        """Use the same HRF, in seconds, at another repetition time.

        Parameters
        ----------
        tr : float
            Repetition time in seconds.

        Raises
        ------
        InputError
            If `tr` is not positive or longer than 60 s, or a FIR delay is too short for it.
        """
        for ref in self.slice_time_refs:
            self.tr = check_hrf(self.hrf, tr=tr, delays=self.delays, slice_time_ref=ref, oversampling=self.oversampling)
        device = self.kernels.device
        if not self.learnable:
            kernels = [
                tr_kernel(self.hrf, tr=self.tr, delays=self.delays, slice_time_ref=ref, oversampling=self.oversampling)
                for ref in self.slice_time_refs
            ]
            self.kernels = torch.as_tensor(np.stack(kernels), dtype=torch.float32, device=device)
            return
        n_fine = round(SECONDS * self.oversampling / self.tr)
        n_lags = -(-n_fine // self.oversampling) + 1
        weights = [collapse(n_lags, n_fine, self.oversampling, ref) for ref in self.slice_time_refs]
        self._collapse = torch.as_tensor(np.stack(weights), dtype=torch.float32, device=device)

    @property
    def parameters_in_seconds(self) -> dict[str, float]:
        """The learnable HRF as numbers to report: delays and dispersions in s, undershoot as a share.

        Raises
        ------
        InputError
            If the HRF is fixed.
        """
        if not self.learnable:
            raise InputError("the HRF is fixed: only a learnable one has parameters")
        names = ("peak_delay", "undershoot_delay", "peak_dispersion", "undershoot_dispersion", "undershoot_ratio")
        return dict(zip(names, self.log_parameters.detach().exp().tolist(), strict=True))

    @property
    def kernel(self) -> torch.Tensor:
        """The kernel of the first `slice_time_ref`; see `current_kernel`."""
        return self.current_kernel()

    def current_kernel(self, which: int = 0) -> torch.Tensor:
        """The kernel by volume, with gradients if it is learnable.

        Parameters
        ----------
        which : int
            Place of the volumes' `slice_time_ref` among those of the layer.

        Returns
        -------
        Tensor of float32, shape (n_lags, n_responses)
        """
        if not self.learnable:
            return self.kernels[which]
        n_fine = self._collapse.shape[2]
        # nilearn's own stamps, so that the layer starts where the NumPy function is.
        stamps = torch.linspace(0, SECONDS, n_fine, device=self._collapse.device)
        since = stamps - self.tr / self.oversampling
        peak, undershoot, peak_width, undershoot_width, ratio = self.log_parameters.float().exp()
        fine = _gamma_density(since, peak, peak_width) - ratio * _gamma_density(since, undershoot, undershoot_width)
        return (self._collapse[which] @ (fine / fine.sum()))[:, None]

    def forward(self, x: torch.Tensor, which: int = 0) -> torch.Tensor:
        """Convolve.

        Parameters
        ----------
        x : Tensor, shape (B, T, C) or (T, C)
            T successive TRs of one run; before them the stimulus counts as zero.
        which : int
            Place of the volumes' `slice_time_ref` among those of the layer.

        Returns
        -------
        Tensor, shape (B, T, C) or (T, C)
            As `x` in shape and dtype; ``"fir"`` and HRFs with derivatives add a trailing axis (delays; response,
            derivatives).

        Raises
        ------
        InputError
            If `x` is of another shape.
        """
        if x.ndim not in (2, 3) or not x.is_floating_point():
            raise InputError(f"HRFLayer got {x.dtype} {tuple(x.shape)}; expected floats (B, T, C) or (T, C)")
        batched = x[None] if x.ndim == 2 else x
        b, t, c = batched.shape
        kernel = self.current_kernel(which).to(x.dtype)
        n_lags, n_responses = kernel.shape
        series = batched.transpose(1, 2).reshape(b * c, 1, t)
        padded = nn.functional.pad(series, (n_lags - 1, 0))
        out = nn.functional.conv1d(padded, kernel.flip(0).T[:, None])  # (B * C, n_responses, T)
        out = out.reshape(b, c, n_responses, t).permute(0, 3, 1, 2)  # (B, T, C, n_responses)
        out = out if several(self.hrf) else out[..., 0]
        return out[0] if x.ndim == 2 else out

    def extra_repr(self) -> str:
        """TR and HRF, for ``print(model)``.

        Returns
        -------
        str
        """
        refs = ", ".join(f"{ref:g}" for ref in self.slice_time_refs)
        return f"tr={self.tr:g}, hrf={self.hrf!r}, slice_time_ref={refs}, learnable={self.learnable}"


def _gamma_density(since: torch.Tensor, delay: torch.Tensor, dispersion: torch.Tensor) -> torch.Tensor:
    """Gamma density with shape ``delay / dispersion`` and scale `dispersion`, zero up to the onset."""
    shape = delay / dispersion
    after = since > 1e-6
    scaled = torch.where(after, since, torch.ones_like(since)) / dispersion
    log_density = (shape - 1) * scaled.log() - scaled - torch.lgamma(shape) - dispersion.log()
    return torch.where(after, log_density.exp(), torch.zeros_like(since))
