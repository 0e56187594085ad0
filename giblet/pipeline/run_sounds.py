"""What can be heard of a training run: original, codec alone, reconstructions and their null, by the same seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from giblet.data.media import AudioReader
from giblet.errors import GibletError, InputError
from giblet.features import load_features
from giblet.files import sha256_of
from giblet.pages import Listen, Player
from giblet.pipeline.run_files import Card, RunFiles

MOST = 4
"""Stretches that can be listened to; of more, the first."""
MOST_SUBJECTS = 6
"""Reconstructions of the same seconds that can be compared."""
PREDICTED, TRUE = "predicted_decoded.wav", "true_decoded.wav"
CAPTION = (
    "All sounds are of the same seconds and share one playhead: choose another while one plays, and it goes on from "
    "there. The pictures go from 0 to 8 kHz, brighter is louder, on one scale. Compare the reconstruction with the "
    "codec alone, the best that any prediction could sound like, and with itself rotated in time: what the rotated "
    "one shares with the original, it shares by chance."
)


@dataclass
class _Stretch:
    """The same seconds of the same film, as decoded from one or more brains."""

    name: str
    start: float
    seconds: float
    feature: Path | None
    codec: bool
    true: Path | None = None
    predicted: list[tuple[str, Path]] = field(default_factory=list)


def listens(files: RunFiles, cards: Sequence[Card], originals: Sequence[Path] = ()) -> tuple[list[Listen], list[str]]:
    """Sounds that were decoded, for each stretch of the film.

    Parameters
    ----------
    files : RunFiles
    cards : sequence of Card
        Of single subjects.
    originals : sequence of Path
        Films or sounds that the features were made from.

    Returns
    -------
    listens : list of Listen
    notes : list of str
        What cannot be heard, and why.

    Raises
    ------
    InputError
        If an original is not what any feature file of the run was made from, or a sound cannot be read.
    """
    stretches = _stretches(files, cards)
    known, notes = _known(originals, stretches, cards), list[str]()
    shown = [one for one in stretches if one.predicted]
    if cards and not shown:
        notes.append(
            "There is nothing to hear: no sound was decoded, or the sounds are no longer beside the scorecards."
        )
    if len(shown) > MOST:
        notes.append(f"{len(shown)} stretches were decoded; the first {MOST} can be heard here, all lie in the run.")
    found = []
    for one in shown[:MOST]:
        players, told = _players(one, known)
        notes += told
        found.append(Listen(one.name, players, CAPTION))
    return found, list(dict.fromkeys(notes))


def _stretches(files: RunFiles, cards: Sequence[Card]) -> list[_Stretch]:
    found: dict[tuple[Any, ...], _Stretch] = {}
    for card in cards:
        about = card.content
        subject, tr = str(about.get("subject")), float(about.get("tr", 0))
        for stretch, stem in card.stretches:
            feature = files.audio_of(subject, int(stretch.get("run", 0)))
            start, n_trs = float(stretch.get("film_seconds", 0)), int(stretch.get("n_trs", 0))
            key = (about.get("split"), feature, start, n_trs)
            film = "" if feature is None else f" of {feature.name.split('_desc-')[0]}"
            name = f"{about.get('split', 'scored')} part{film}, from {start:g} s"
            one = found.setdefault(key, _Stretch(name, start, n_trs * tr, feature, about.get("codec") is not None))
            one.true = one.true or card.file(f"{stem}_desc-{TRUE}")
            predicted = card.file(f"{stem}_desc-{PREDICTED}")
            brain = "" if card.path.parent.name == "reconstruction" else f", {card.path.parent.name}"
            if predicted is not None:
                one.predicted.append((subject + brain, predicted))
    return list(found.values())


def _players(one: _Stretch, known: Mapping[str, Path]) -> tuple[list[Player], list[str]]:
    players, notes = list[Player](), list[str]()
    sha256 = _source_of(one.feature)
    original = known.get(sha256 or "") or known.get("")
    if original is not None:
        rate = Player.of_file("", one.predicted[0][1]).sample_rate
        players.append(
            Player("original", cut(original, one.start, one.seconds, rate), rate, f"{original.name}, as shown")
        )
    else:
        notes.append(
            "The original cannot be heard: the film is not stored in the run. Name it (giblet report RUN --original "
            "FILM), and it stands first."
        )
    kept = "codec alone" if one.codec else "mel spectrogram alone"
    if one.true is not None:
        players.append(Player.of_file(kept, one.true, "the true features, decoded: the ceiling of any prediction"))
    else:
        notes.append(f"The {kept} cannot be heard: no features of these seconds are scored, or the file is gone.")
    for who, path in one.predicted[:MOST_SUBJECTS]:
        players.append(Player.of_file(f"reconstruction, {who}", path, "decoded from the brain"))
    if len(one.predicted) > MOST_SUBJECTS:
        notes.append(f"{len(one.predicted)} subjects heard this; the first {MOST_SUBJECTS} reconstructions are here.")
    who, path = one.predicted[0]
    turned = round(one.seconds / 2, 1)
    about = f"null: the same reconstruction from second {turned:g} to its end, then its first {turned:g} s"
    players.append(Player.of_file(f"rotated in time, {who}", path, about, turned))
    return players, notes


def _source_of(feature: Path | None) -> str | None:
    """SHA-256 of what a feature file was made from; None where it is not there or cannot be read."""
    if feature is None or not feature.is_file():
        return None
    try:
        return str(load_features(feature).attrs["source_sha256"])
    except GibletError:
        return None


def _known(originals: Sequence[Path], stretches: Sequence[_Stretch], cards: Sequence[Card]) -> dict[str, Path]:
    """Originals by their SHA-256; by ``""`` the one of which the scorecards know, where features are not there."""
    if not originals:
        return {}
    sources = {sha256 for one in stretches if (sha256 := _source_of(one.feature)) is not None}
    named = [(card.content.get("options") or {}).get("original") for card in cards]
    scored = {one["sha256"] for one in named if isinstance(one, Mapping) and "sha256" in one}
    found: dict[str, Path] = {}
    for path in originals:
        if not path.is_file():
            raise InputError(f"no such file: {path}; name the film that the features were made from, or leave it out")
        sha256 = sha256_of(path)
        if sha256 not in sources | scored:
            raise InputError(
                f"{path} is not what a decoded part of the run was made from; name that film, or leave it out"
                if sources | scored
                else f"{path} cannot be compared, as neither features nor scorecards of the run say what they are of; "
                "put the features back where they were, or leave it out"
            )
        found[sha256] = path
        if sha256 not in sources and not sources:
            found[""] = path
    return found


def cut(path: Path, start: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Some seconds of a film's sound.

    Parameters
    ----------
    path : Path
    start, seconds : float
        On the film's clock, in seconds; what lies before 0 or behind the end is silence.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray of float32, shape (n_samples,)

    Raises
    ------
    InputError
        If the film cannot be read.
    """
    first, n = round(start * sample_rate), round(seconds * sample_rate)
    found, at = np.zeros(n, np.float32), 0
    for block in AudioReader(path, sample_rate=sample_rate):
        low, high = max(first, at), min(first + n, at + len(block))
        if low < high:
            found[low - first : high - first] = block[low - at : high - at]
        at += len(block)
        if at >= first + n:
            break
    return found
