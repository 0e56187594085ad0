"""Bands of features of one run: what is made of feature files, tables and arrays, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from giblet.cells import separator_of
from giblet.codec import AudioCodec, load_codec
from giblet.data.bold.tables import read_table
from giblet.encoding.settings import COUNTS, ENVELOPE, EVENT, LATENTS, MADE, MEL_MEAN, BandSettings
from giblet.errors import AlignmentError, CodecError, InputError
from giblet.evaluation.reconstruction import latents_by_tr
from giblet.features import CODES, CONTINUOUS, MEL, VARIABLES_RENAMED, main_variable, present_in
from giblet.files import read_npy
from giblet.models.latents import latent_statistics
from giblet.pipeline.brain import regressors_in
from giblet.pipeline.encoding_times import on_trs, timed_values
from giblet.pipeline.simulation import regressor_by_tr
from giblet.renamed import now_called
from giblet.training.films import Films

WAYS = (
    "give what the codes stand for (take: latents, or latents_mean), how often each entry comes (take: counts), or a "
    "feature file of an embedding"
)
FLOOR = 1e-10
"""Power below which a spectrum has no logarithm."""
TRS_AT_A_TIME = 64
ORIGIN = ("codec_fingerprint", "bandwidth", "model_fingerprint", "desc")
"""Attributes of a feature file that say what its numbers are."""


class BandReader:
    """Makes bands of files, each once.

    Parameters
    ----------
    bands : mapping of str to BandSettings
    codec : str
        The one that made the codes: ``"bundled"``, a folder or a hub name.
    films : Films
        What was read before.
    device : str
        For the codec.
    """

    def __init__(self, bands: Mapping[str, BandSettings], *, codec: str, films: Films, device: str = "auto") -> None:
        self.bands, self.films = bands, films
        self.origins: dict[str, dict[str, Any]] = {}
        """By band, what its feature files say that their numbers are."""
        self._codec_name, self._device, self._made = codec, device, dict[tuple[str, Path, float], xr.Dataset]()
        self._codec: AudioCodec | None = None

    def of_run(
        self, files: Mapping[str, Path], tr: float, n_volumes: int | None = None, begins: float = 0.0
    ) -> dict[str, tuple[Path, xr.Dataset]]:
        """The bands of a run, not yet aligned.

        Parameters
        ----------
        files : mapping of str to Path
            By the name that bands call them.
        tr : float
            Repetition time in seconds.
        n_volumes : int, optional
            Of the run: tables and arrays without times must have as many rows.
        begins : float
            Second of the film at volume 0, where the first row of a table of volumes stands; up to the end of the scan,
            events are known to be all.

        Returns
        -------
        dict of str to (Path, Dataset)
            By band, its file, and (n_trs, n_columns) float32 or float64 of it.

        Raises
        ------
        GibletError
            If a file cannot be read, or holds nothing that the band could be.
        """
        found = {}
        for name, band in self.bands.items():
            if band.of not in files:
                raise InputError(f"band {name!r} is of {band.of!r}: there is no such file among {', '.join(files)}")
            path = files[band.of]
            until = 0.0 if n_volumes is None or band.sampling != EVENT else begins + n_volumes * tr
            key = name, path.resolve(), until
            if key not in self._made:
                if band.times is None:
                    self._made[key] = self._read(name, band, path, tr)
                else:
                    self._made[key] = self._timed(name, band, path, files.get(band.times), tr, until)
            dataset = self._made[key]
            if dataset.attrs.get("by_volume") and n_volumes is not None and len(dataset["band"]) != n_volumes:
                raise InputError(
                    f"band {name!r}: {path.name} has {len(dataset['band'])} rows and the scan {n_volumes} volumes: a "
                    "table or array needs one row for each"
                )
            if dataset.attrs.get("by_volume") and n_volumes is not None:
                dataset = dataset.assign(onset=("tr", begins + np.arange(n_volumes) * tr))
            found[name] = path, dataset
        return found

    def _read(self, name: str, band: BandSettings, path: Path, tr: float) -> xr.Dataset:
        table = separator_of(path) is not None
        if not table and path.suffix != ".npy":
            return self._of_features(name, band, path)
        if band.take is not None:
            raise InputError(f"band {name!r}: take: {band.take} is for feature files, and {path.name} is none")
        if not path.is_file():
            raise InputError(f"band {name!r}: no such file: {path}")
        values = read_table(path, band.columns).to_numpy(np.float64) if table else self._of_array(name, band, path)
        return _dataset(name, path, values, {"tr": tr, "desc": name, "by_volume": 1})

    def _timed(
        self, name: str, band: BandSettings, path: Path, times_path: Path | None, tr: float, until: float
    ) -> xr.Dataset:
        """What has times of its own, by TR."""
        for one in (path, times_path):
            if one is not None and not one.is_file():
                raise InputError(f"band {name!r}: no such file: {one}")
        try:
            times, values = timed_values(band, path, times_path, lambda one: self._of_array(name, band, one))
            _check_values(name, path, values)
            by_tr, present = on_trs(times, values, str(band.sampling), tr, until)
        except (AlignmentError, InputError) as exc:
            raise exc if f"band {name!r}" in str(exc) else type(exc)(f"band {name!r}: {exc}") from exc
        made = _dataset(name, path, by_tr, {"tr": tr, "desc": name})
        made["band_mask"] = ("tr", present)
        return made

    def _of_array(self, name: str, band: BandSettings, path: Path) -> np.ndarray:
        if band.columns is not None:
            raise InputError(f"band {name!r}: columns are for tables, and {path.name} has no names")
        values = read_npy(path)
        if values.dtype.kind in "iu":
            raise InputError(
                f"band {name!r}: {path.name} holds whole numbers ({values.dtype}), as codes are, which are no amounts: "
                f"{WAYS}; whole numbers that are amounts, such as words per TR, as .astype(np.float32)"
            )
        if values.ndim not in (1, 2) or values.dtype.kind != "f":
            raise InputError(
                f"band {name!r}: {path.name} is {values.dtype} {values.shape}: floats of (n_trs, n_features) are needed"
            )
        return values.reshape(len(values), -1)

    def _of_features(self, name: str, band: BandSettings, path: Path) -> xr.Dataset:
        if band.columns is not None:
            raise InputError(f"band {name!r}: columns are for tables, and {path.name} is a feature file: say take")
        features = self.films.load(path)
        self._note_origin(name, features, path)
        main = main_variable(features)
        take = main if band.take is None else band.take
        present = np.ones(features.sizes["tr"], bool)
        if take == main and features.attrs["kind"] == CODES:
            raise InputError(f"band {name!r}: {path.name} holds codes, names of sounds and no amounts: {WAYS}")
        if take in MADE and take not in features:
            values = self._made_of(name, take, features, path)
        elif take not in features or features[take].dims[:1] != ("tr",) or features[take].dtype.kind not in "iuf":
            if take in VARIABLES_RENAMED:
                told = now_called(take, VARIABLES_RENAMED[take])
                raise InputError(
                    f"band {name!r}: {told} in a film's picture ({path.name}); MotionSettings extract what is called "
                    "motion energy elsewhere"
                )
            known = [str(n) for n, v in features.data_vars.items() if v.dims[:1] == ("tr",) and n != "onset"]
            raise InputError(f"band {name!r}: {path.name} has no {take!r}: it has {', '.join(known)}")
        else:
            values, present = features[take].values, present_in(features, take)
            if values[0].size > 1 and features[take].ndim > 2 and take == MEL:
                raise InputError(f"band {name!r}: {path.name} has a spectrum for each frame: say take: {MEL_MEAN}")
            values = values.reshape(len(values), -1)
        kept = {key: features.attrs[key] for key in ("tr", "desc", "settings", "source") if key in features.attrs}
        made = _dataset(name, path, values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64), kept)
        made["band_mask"] = ("tr", present)
        return made.assign({key: features[key] for key in ("onset", "valid") if key in features})

    def _made_of(self, name: str, take: str, features: xr.Dataset, path: Path) -> np.ndarray:
        if take == MEL_MEAN:
            if MEL not in features:
                raise InputError(
                    f"band {name!r}: {path.name} holds no mel spectrogram: extract the sound with use_encodec=False"
                )
            return _mel_mean(features)
        codec = self._codec_name if "codec" in features.attrs else None
        if take == ENVELOPE and ("codec" in features.attrs or MEL in features):
            envelope = regressors_in(features, path.name, codec=codec, device=self._device)[0]
            return regressor_by_tr(envelope, features)[ENVELOPE].values[:, None]
        if features.attrs["kind"] != CODES:
            raise InputError(f"band {name!r}: take: {take} is of codes, and {path.name} holds none")
        codes = features[main_variable(features)].values
        if take == COUNTS:
            return _counts(codes, int(features.attrs["codebook_size"]))
        loaded = self._codec_of(features, path)
        statistics = []
        for start in range(0, len(codes), TRS_AT_A_TIME):
            latents = torch.from_numpy(latents_by_tr(codes[start : start + TRS_AT_A_TIME], loaded).copy())
            statistics.append(latent_statistics(latents.transpose(1, 2)).numpy())
        both = np.concatenate(statistics)
        return both if take == LATENTS else both[:, : both.shape[1] // 2]

    def _codec_of(self, features: xr.Dataset, path: Path) -> AudioCodec:
        if self._codec is None:
            self._codec = load_codec(
                self._codec_name, bandwidth=float(features.attrs["bandwidth"]),
                device="auto" if self._device == "cuda" else self._device,
            )  # fmt: skip
        made_by = features.attrs["codec_fingerprint"]
        if made_by != self._codec.codes_fingerprint:
            raise CodecError(
                f"{path.name} holds codes of codec {made_by[:12]}, and {self._codec.name} is "
                f"{self._codec.codes_fingerprint[:12]}: name the one that made them (codec)"
            )
        return self._codec

    def _note_origin(self, name: str, features: xr.Dataset, path: Path) -> None:
        own = {key: _plain(features.attrs[key]) for key in ORIGIN if key in features.attrs}
        known = self.origins.setdefault(name, own)
        for key in ORIGIN:
            if known.get(key) != own.get(key):
                raise InputError(
                    f"band {name!r}: {path.name} has {key} {own.get(key)}, another file {known.get(key)}: extract all "
                    "in one way"
                )


def _check_values(name: str, path: Path, values: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"band {name!r}: {path.name} holds {len(bad)} NaN or infinite values, the first in row {row + 1}, column "
            f"{column + 1}: put numbers there, or take those TRs out of the scan (confounds can censor volumes)"
        )
    if not values.shape[1]:
        raise InputError(f"band {name!r}: {path.name} has no columns")


def _dataset(name: str, path: Path, values: np.ndarray, attrs: Mapping[str, Any]) -> xr.Dataset:
    _check_values(name, path, values)
    about = {**attrs, "kind": CONTINUOUS, "variable": "band"}
    return xr.Dataset({"band": (("tr", "column"), values)}, attrs=about)


def _mel_mean(features: xr.Dataset) -> np.ndarray:
    """Mean power of each band in the TR, in dB."""
    power = features[MEL].values.astype(np.float64)
    if power.ndim == 3:
        own = features["frame_mask"].values[:, None, :] if "frame_mask" in features else np.ones_like(power, bool)
        power = (power * own).sum(-1) / np.maximum(own.sum(-1), 1)
    return 10 * np.log10(power + FLOOR)


def _counts(codes: np.ndarray, size: int) -> np.ndarray:
    """How often each entry of each codebook comes in a TR, float32 (n_trs, n_codebooks * size)."""
    n_trs, n_books, width = codes.shape
    found = np.zeros((n_trs, n_books * size), np.float32)
    places = codes.astype(np.int64) + (np.arange(n_books) * size)[:, None]
    rows = np.repeat(np.arange(n_trs), n_books * width)
    np.add.at(found, (rows, places.reshape(-1)), 1)
    return found


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
