"""Features of clips: sounds that are played one by one, each of which has one response.

What a codec makes of a clip is pooled over its frames, as over a TR of a film: the mean says which sound it was, the
deviation how much of it and how it moved. Clips may be of any lengths.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from giblet.cells import read_cells
from giblet.codec.base import AudioCodec
from giblet.codec.mel import MelSpectrogram
from giblet.data.bold.tables import is_table, read_table
from giblet.data.media import AudioReader
from giblet.errors import InputError
from giblet.files import read_npy
from giblet.progress import Progress

log = logging.getLogger(__name__)

LATENTS, LATENT_CHANGES, COUNTS, FIRST_COUNTS, MEL = "latents", "latent_changes", "counts", "first_counts", "mel"
POOLED = {
    LATENTS: "mean and deviation over frames of the latents that the codes stand for, (2 * D,)",
    LATENT_CHANGES: "deviation of the latents' changes from frame to frame, (D,)",
    COUNTS: "share of the frames that have each entry of each codebook, (K * V,)",
    FIRST_COUNTS: "the same of the first codebook alone, (V,)",
    MEL: "mean and deviation over frames of the mel spectrogram in dB, (2 * n_mels,)",
}
"""What can be made of a clip, by name."""
THREE_WAYS = (
    "codes are names of sounds and no amounts: give what they stand for ('latents'), counts of each entry ('counts', "
    "'first_counts'), or a learned embedding of them as an array"
)
SPEECH_LEVEL = -26.0
"""dB of full scale, root mean square: the level of ITU-T P.56, at which most sounds do not clip."""
N_MELS = 128
CLIPS_AT_A_TIME = 64
"""Whose samples are held in memory together."""


@dataclass(frozen=True)
class Clips:
    """Sound files in the order of their responses."""

    files: tuple[Path, ...]
    names: tuple[str, ...]
    """As the table calls them."""
    group: np.ndarray | None = None
    """str (n_clips,): what clips belong together."""

    def __len__(self) -> int:
        """Clips."""
        return len(self.files)


def read_clips(
    table: str | Path, *, file_column: str = "file", group_column: str | None = None, folder: str | Path | None = None
) -> Clips:
    """Read a table of sound files, one row per clip.

    Parameters
    ----------
    table : str or Path
        ``.tsv`` or ``.csv``.
    file_column : str
        Names of files.
    group_column : str, optional
        Labels of what belongs together; by default each clip stands for itself.
    folder : str or Path, optional
        Where files are that are named without a whole path; by default where the table is.

    Returns
    -------
    Clips

    Raises
    ------
    InputError
        If the table cannot be read or lacks a column, a file is not there, a group is empty, or one file is in several
        rows of different groups: it would be learned from and predicted.
    """
    path = Path(table)
    columns = _text_columns(path)
    for column in (file_column, group_column):
        if column is not None and column not in columns:
            raise InputError(f"{path.name} has no column {column!r}: it has {', '.join(map(repr, columns))}")
    names = columns[file_column]
    base = path.parent if folder is None else Path(folder)
    files = tuple(base / Path(name).expanduser() for name in names)
    for row, (name, file) in enumerate(zip(names, files, strict=True), start=1):
        if not name or not file.is_file():
            raise InputError(f"row {row} of {path.name} names {name!r}, and there is no file {file}: correct the row")
    group = None if group_column is None else np.array(columns[group_column])
    if group is not None and (group == "").any():
        raise InputError(f"row {int(np.argmax(group == '')) + 1} of {path.name} has no {group_column}: name its group")
    label = np.arange(len(files)) if group is None else group
    for file, count in Counter(files).items():
        if count > 1 and len({str(own) for own, other in zip(label, files, strict=True) if other == file}) > 1:
            raise InputError(
                f"{path.name} names {file.name} in {count} rows: average its responses, or put it into one group "
                "(group_column), or it would be learned from and predicted"
            )
    return Clips(files, tuple(names), group)


def clip_features(
    sounds: Sequence[str | Path | np.ndarray],
    bands: Sequence[str] | Mapping[str, Any],
    codec: AudioCodec,
    *,
    level: float | None = None,
    n_mels: int = N_MELS,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Bands of features of clips, pooled over each clip.

    Parameters
    ----------
    sounds : sequence of str, Path or ndarray of float, shape (n,)
        Files, or samples at the codec's rate.
    bands : sequence of str, or mapping of str to str, list of str, Path or array
        Names of :data:`POOLED`; or by band a name, several that stand side by side in one band, or anything else of one
        row per clip: an array, or a table or ``.npy`` file of it.
    codec : AudioCodec
        Whose codes are meant. It hears the clips as they are, but for `level`.
    level : float, optional
        Bring all clips to this root mean square, in dB of full scale, e.g. -26. By default they stay as they are.
    n_mels : int
        Bands of the mel spectrogram.
    progress : callable, optional
        Called with clips done and clips in all.

    Returns
    -------
    dict of str to ndarray, shape (n_clips, n_features)
        float32, but for arrays that were given.

    Raises
    ------
    InputError
        If a name is unknown or is that of codes, a sound is silent and a level was asked for, or an array has another
        number of rows.

    Examples
    --------
    >>> from giblet.codec import load_codec
    >>> rng = np.random.default_rng(0)
    >>> sounds = [0.1 * rng.standard_normal(n, dtype=np.float32) for n in (9600, 12_000)]
    >>> found = clip_features(sounds, ["latents", "counts"], load_codec("bundled"), level=-26)
    >>> {name: values.shape for name, values in found.items()}
    {'latents': (2, 160), 'counts': (2, 8192)}
    """
    wanted = dict(bands) if isinstance(bands, Mapping) else {name: name for name in bands}
    if not wanted:
        raise InputError("no band was named: name at least one")
    parts = {name: _parts_of(name, what) for name, what in wanted.items()}
    made = {part for own in parts.values() if own is not None for part in own}
    pooled: dict[str, list[np.ndarray]] = {part: [] for part in made}
    if made:
        mel = MelSpectrogram(codec.sample_rate, n_mels=n_mels) if MEL in made else None
        waveforms = (_waveform(sound, number, codec.sample_rate, level) for number, sound in enumerate(sounds, 1))
        done = 0
        while some := list(islice(waveforms, CLIPS_AT_A_TIME)):
            codes = codec.encode_many(some) if made != {MEL} else [np.zeros(0)] * len(some)
            for waveform, own in zip(some, codes, strict=True):
                for part, values in _pooled(waveform, own, codec, mel, made):
                    pooled[part].append(values)
            done += len(some)
            if progress is not None:
                progress(done, len(sounds))
    return {
        name: _given(name, wanted[name], len(sounds))
        if own is None
        else np.concatenate([np.stack(pooled[part]) for part in own], axis=1).astype(np.float32)
        for name, own in parts.items()
    }


def at_level(waveform: np.ndarray, level: float) -> np.ndarray:
    """A sound at a level.

    Parameters
    ----------
    waveform : ndarray of float, shape (n,)
    level : float
        Root mean square over the whole, in dB of full scale.

    Returns
    -------
    ndarray of float32, shape (n,)

    Raises
    ------
    InputError
        If the sound is silent, or the level is not below 0 and finite.

    Examples
    --------
    >>> round(float(at_level(np.array([0.5, -0.5]), -20).max()), 3)
    0.1
    """
    if isinstance(level, bool) or not -200 < level <= 0:
        raise InputError(f"level is {level!r}: dB of full scale are needed, at most 0, such as {SPEECH_LEVEL:g}")
    samples = np.asarray(waveform, np.float64)
    size = float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0
    if size == 0:
        raise InputError("the sound is silent, which no level can be brought to: leave it out, or level as it is")
    return (samples * (10 ** (level / 20) / size)).astype(np.float32)


def read_array(path: str | Path) -> np.ndarray:
    """Numbers of one row per clip, from a table or an array file.

    Parameters
    ----------
    path : str or Path
        ``.tsv`` or ``.csv`` with a header, or ``.npy``.

    Returns
    -------
    ndarray, shape (n_clips, n_columns)

    Raises
    ------
    InputError
        If it is of another type, or cannot be read.
    """
    path = Path(path)
    if is_table(path):
        return read_table(path).to_numpy()
    if path.suffix.lower() != ".npy":
        raise InputError(f"{path.name} is neither a table (.tsv, .csv) nor an array (.npy)")
    return read_npy(path)


def _text_columns(path: Path) -> dict[str, list[str]]:
    if not is_table(path):
        raise InputError(f"{path.name} is no table of clips: .tsv or .csv is needed")
    cells = read_cells(path, words=True)
    rows = [[cell.strip() for cell in row] for row in cells.rows()]
    if not rows:
        raise InputError(f"{path.name} names no clips: expected one per row")
    return {name: [row[at] for row in rows] for at, name in enumerate(cells.names) if name is not None}


def _parts_of(name: str, what: Any) -> list[str] | None:
    """Names of :data:`POOLED`, side by side; None for what is given."""
    if isinstance(what, (Path, np.ndarray)) or (isinstance(what, str) and Path(what).suffix):
        return None
    parts = [what] if isinstance(what, str) else list(what) if isinstance(what, Sequence) else None
    if parts is None or not all(isinstance(part, str) for part in parts):
        return None
    if not parts:
        raise InputError(f"band {name!r} is of nothing: name one of {', '.join(POOLED)}")
    for part in parts:
        if part == "codes":
            raise InputError(f"band {name!r} is of 'codes': {THREE_WAYS}")
        if part not in POOLED:
            raise InputError(f"band {name!r} is of {part!r}: one of {', '.join(POOLED)}, an array or a file is needed")
    return parts


def _given(name: str, what: Any, n_clips: int) -> np.ndarray:
    values = read_array(what) if isinstance(what, (str, Path)) else np.asarray(what)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or len(values) != n_clips:
        raise InputError(f"band {name!r} has shape {values.shape}: one row for each of {n_clips} clips is needed")
    return values


def _waveform(sound: Any, number: int, sample_rate: int, level: float | None) -> np.ndarray:
    """Samples of one clip."""
    if isinstance(sound, (str, Path)):
        named, pieces = str(sound), list(AudioReader(sound, sample_rate))
        waveform = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    else:
        named, waveform = f"clip {number}", np.asarray(sound)
    if waveform.ndim != 1 or not len(waveform):
        raise InputError(f"{named} has samples of shape {waveform.shape}: mono sound, (n,), is needed")
    if level is None:
        return waveform
    try:
        waveform = at_level(waveform, level)
    except InputError as exc:
        raise InputError(f"{named}: {exc}") from exc
    loudest = float(np.abs(waveform).max())
    if loudest > 1:
        log.warning(
            "%s goes up to %.2f of full scale at a level of %g dB: a lower level is safer", named, loudest, level
        )
    return waveform


def _pooled(
    waveform: np.ndarray, codes: np.ndarray, codec: AudioCodec, mel: MelSpectrogram | None, made: set[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """What is made of one clip."""
    import librosa
    import torch

    from giblet.models.latents import latent_statistics

    if made & {LATENTS, LATENT_CHANGES}:
        latents = codec.latents(codes)  # (D, T)
        if LATENTS in made:
            yield LATENTS, latent_statistics(torch.from_numpy(np.ascontiguousarray(latents.T))).numpy()
        if LATENT_CHANGES in made:
            changes = np.diff(latents, axis=1)
            yield LATENT_CHANGES, changes.std(1) if changes.shape[1] else np.zeros(len(latents), np.float32)
    if made & {COUNTS, FIRST_COUNTS}:
        shares = np.stack([np.bincount(book, minlength=codec.codebook_size) for book in codes]) / codes.shape[1]
        if COUNTS in made:
            yield COUNTS, shares.reshape(-1)
        if FIRST_COUNTS in made:
            yield FIRST_COUNTS, shares[0]
    if mel is not None:
        power = np.concatenate(list(mel.stream([waveform.astype(np.float32)])), axis=1)
        decibels = librosa.power_to_db(power)  # no quieter than 80 dB below the loudest
        yield MEL, np.concatenate([decibels.mean(1), decibels.std(1)])
