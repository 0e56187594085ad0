"""When each word of a film is spoken: from its sound and a transcript to tables and a TextGrid."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from giblet.data.media import AudioReader
from giblet.data.words.alignment.dictation import Dictation
from giblet.data.words.alignment.stretch import SAMPLE_RATE
from giblet.data.words.alignment.timed import DOUBTFUL, OK, UNHEARD, TimedPhoneme, TimedWord, time_words
from giblet.data.words.alignment.transcript import read_transcript
from giblet.data.words.annotations import write_textgrid
from giblet.data.words.spoken import words_in
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.files import check_writable, read_json, sha256_of, write_atomic
from giblet.notebook import html_facts
from giblet.pipeline.results import described, files_of_result
from giblet.progress import Progress
from giblet.storage import bring, taking_urls
from giblet.version import __version__

log = logging.getLogger(__name__)

COLUMNS = {
    "onset": "Second of the film at which the word begins",
    "offset": "Second at which it ends",
    "text": "As the transcript has it",
    "confidence": "From 0 to 1, how well the sound fits; below 0.5 another word is probably spoken",
    "status": "ok; doubtful: the sound does not fit; unheard: no time is given",
    "pronunciation": "From the dictionary, composed of its words, guessed from the letters, or none",
}
"""Of the table of words, and what they hold."""
PHONEME_COLUMNS = ("onset", "offset", "text", "confidence", "word")
"""Of the table of phonemes; "word" is the number of the word's row, from 1."""
NAMES = ("words.tsv", "phonemes.tsv", "words.TextGrid", "words.json", "transcript.txt")
"""Of the files, behind that of the film."""


@dataclass(frozen=True, repr=False)
class WordTimes:
    """The words of a film with their times, and the files that hold them."""

    words: tuple[TimedWord, ...]
    """All of the transcript, in order."""
    share: float
    """Of words that are heard in rows of three at least: how well the transcript fits."""
    duration: float
    """Seconds of the film's sound."""
    files: tuple[Path, ...]
    """Words (.tsv), phonemes (.tsv), both as a TextGrid, what they were made from (.json); a transcript by Whisper."""
    status: str = "written"
    """Or ``"up to date"``, where the files were there already."""

    @property
    def path(self) -> Path:
        """The table of words, which ``extract`` reads."""
        return self.files[0]

    def count(self, status: str) -> int:
        """How many words have a status.

        Parameters
        ----------
        status : {"ok", "doubtful", "unheard"}

        Returns
        -------
        int
        """
        return Counter(word.status for word in self.words)[status]

    def as_dict(self) -> dict[str, Any]:
        """Counts and files, for ``--json``.

        Returns
        -------
        dict
        """
        counts = {status: self.count(status) for status in (OK, DOUBTFUL, UNHEARD)}
        guessed = sum(word.guessed for word in self.words)
        about: dict[str, Any] = {
            "words": len(self.words),
            **counts,
            "guessed": guessed,
            "share": self.share,
            "duration": self.duration,
        }
        about["status"] = self.status
        return {**about, "files": list(map(str, self.files))}

    def __repr__(self) -> str:
        return f"<WordTimes {self.path}: {len(self.words) - self.count(UNHEARD)} of {len(self.words)} words>"

    def _repr_html_(self) -> str:
        return html_facts(str(self.path), {name: value for name, value in self.as_dict().items() if name != "files"})


@fill_doc
@taking_urls("film", "transcript", into=("out_dir",))
def align_words(
    film: str | Path,
    transcript: str | Path | None = None,
    out_dir: str | Path = ".",
    *,
    asr_model: str | None = None,
    encoding: str | None = None,
    track: int | None = None,
    min_share: float = 0.5,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> WordTimes:
    """Find out when each word of a film is spoken, in English, offline and on a CPU.

    Parameters
    ----------
    film : str or Path
        Anything that FFmpeg reads.
    transcript : str or Path, optional
        What is spoken, in order: plain text (``.txt``), or subtitles, whose times are not used. Words may be missing or
        wrong.
    out_dir : str or Path
        Gets ``<film>_words.tsv``, ``<film>_phonemes.tsv``, ``<film>_words.TextGrid`` and ``<film>_words.json``.
    asr_model : str, optional
        Instead of a transcript: a Whisper model of the transformers library, a folder or a hub name, that writes one
        (``<film>_transcript.txt``).
    encoding : str, optional
        Of the transcript, such as ``"cp1252"``; by default UTF-8.
    track : int, optional
        Which sound track, from 0. By default the one that the film marks as its default, or else the first.
    min_share : float
        Share of the words, 0 to 1, that must be heard in rows of three at least; otherwise the transcript is refused.
    device : str
        %(device)s For `asr_model`.
    overwrite : bool
        Replace files of another film, transcript or option.
    progress : callable, optional
        %(progress)s

    Returns
    -------
    WordTimes

    Raises
    ------
    InputError
        If film or transcript cannot be used, or files of others stand in the way; nothing is written then.
    AlignmentError
        If the transcript does not fit the sound.

    See Also
    --------
    giblet.pipeline.features.extract : reads the table that this writes.
    """
    if (transcript is None) == (asr_model is None):
        given = "neither is given" if transcript is None else "both are"
        raise InputError(f"a transcript or `asr_model` says which words are spoken, and {given}: give one of them")
    if not 0 <= min_share <= 1:
        raise InputError(f"min_share is {min_share!r}; expected a share from 0 to 1")
    film, folder = Path(film), Path(out_dir)
    check_writable(folder)
    card = folder / f"{film.stem}_words.json"
    options = {
        "film": described(film), "transcript": described(transcript), "asr_model": asr_model, "encoding": encoding,
        "track": track, "min_share": min_share,
    }  # fmt: skip
    for name in NAMES:
        bring(card.with_name(f"{film.stem}_{name}"), needed=False)
    if not overwrite and (standing := _standing(card, options)) is not None:
        return standing
    files_of_result(card, options, overwrite)
    reader = AudioReader(film, SAMPLE_RATE, track=track)
    written = None
    if asr_model is not None:
        written = Dictation(asr_model, device=device).write(reader, progress=progress, total=reader.duration_hint)
        words, source = words_in(written), f"what {asr_model} heard"
        if not words:
            raise InputError(f"{asr_model} heard no words in {film.name}: give a transcript, or another model")
    else:
        assert transcript is not None
        words, source = read_transcript(Path(transcript), encoding=encoding), Path(transcript).name
    timed, share = time_words(
        reader, words, min_share=min_share, names=(film.name, source), progress=progress, total=reader.duration_hint
    )
    _tell(timed, source)
    files = _write(timed, reader.duration, folder / film.stem, written)
    result = WordTimes(tuple(timed), share, reader.duration, files)
    write_atomic(card, json.dumps(_sidecar(result, options), indent=2) + "\n")
    return result


def _tell(words: Sequence[TimedWord], source: str) -> None:
    """Warn of what a user should look at."""
    for what, chosen in (
        ("words have no time, as they are not heard", [word for word in words if word.status == UNHEARD]),
        ("words fit the sound poorly at their place", [word for word in words if word.status == DOUBTFUL]),
        ("words are not in the dictionary, how they are said was guessed", [word for word in words if word.guessed]),
    ):
        if chosen:
            texts = list(dict.fromkeys(word.text for word in chosen))
            more = ", ..." if len(texts) > 5 else ""
            log.warning("%s: %d of %d %s: %s%s", source, len(chosen), len(words), what, ", ".join(texts[:5]), more)


def _write(words: Sequence[TimedWord], duration: float, stem: Path, transcript: str | None) -> tuple[Path, ...]:
    """The files of words and phonemes, each whole."""
    tables, phoneme_table, grid, card, text = (stem.with_name(f"{stem.name}_{name}") for name in NAMES)
    found = [(word, word.onset, word.offset) for word in words if word.onset is not None and word.offset is not None]
    write_atomic(tables, _tsv(list(COLUMNS), [[getattr(word, name) for name in COLUMNS] for word in words]))
    rows = [
        [one.onset, one.offset, one.name, one.confidence, number]
        for number, word in enumerate(words, 1)
        for one in word.phonemes
    ]
    write_atomic(phoneme_table, _tsv(PHONEME_COLUMNS, rows))
    write_textgrid(
        grid,
        {
            "words": [(onset, offset, word.text) for word, onset, offset in found],
            "phonemes": [(one.onset, one.offset, one.name) for word in words for one in word.phonemes],
            "confidence": [(onset, offset, f"{word.confidence:.2f}") for word, onset, offset in found],
        },
        duration,
    )
    if transcript is not None:
        write_atomic(text, transcript + "\n")
    return (tables, phoneme_table, grid, card, *([text] if transcript is not None else []))


def _tsv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written, dialect="excel-tab", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["n/a" if cell is None else cell for cell in row] for row in rows])
    return written.getvalue()


def _made_by() -> list[dict[str, str]]:
    """What decides the times besides film, transcript and options."""
    versions = {"giblet": __version__, "pocketsphinx": version("pocketsphinx")}
    return [{"Name": name, "Version": number} for name, number in versions.items()]


def _standing(card: Path, options: dict[str, Any]) -> WordTimes | None:
    """The result that stands there, if it is of these options and whole."""
    if not card.exists():
        return None
    about = read_json(card, "move it away, or pass overwrite=True to replace it")
    same = about.get("options") == json.loads(json.dumps(options)) and about.get("GeneratedBy") == _made_by()
    files = tuple(card.with_name(name) for name in about.get("files", []))
    if not same or any(not path.exists() or sha256_of(path) != sha for path, sha in _hashes(card, about)):
        return None
    phonemes: dict[str, list[TimedPhoneme]] = {}
    for row in _rows(files[1]):
        one = TimedPhoneme(row["text"], float(row["onset"]), float(row["offset"]), float(row["confidence"]))
        phonemes.setdefault(row["word"], []).append(one)
    words = []
    for number, row in enumerate(_rows(files[0]), 1):
        numbers = [None if row[name] == "n/a" else float(row[name]) for name in ("onset", "offset", "confidence")]
        spelled = tuple(phonemes.get(str(number), ()))
        words.append(
            TimedWord(row["text"], numbers[0], numbers[1], numbers[2], row["status"], row["pronunciation"], spelled)
        )
    return WordTimes(tuple(words), about["result"]["share"], about["result"]["duration"], files, "up to date")


def _hashes(card: Path, about: dict[str, Any]) -> list[tuple[Path, str]]:
    return [(card.with_name(name), sha) for name, sha in about.get("sha256", {}).items()]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def _sidecar(result: WordTimes, options: dict[str, Any]) -> dict[str, Any]:
    """What stands beside the tables: their columns, what they were made from, and how much was found."""
    about = {name: value for name, value in result.as_dict().items() if name not in ("files", "status")}
    return {
        "Description": f"Words of {options['film']['name']} with their times, in seconds from its beginning",
        **{name: {"Description": text} for name, text in COLUMNS.items()},
        "GeneratedBy": _made_by(),
        "options": options,
        "result": about,
        "files": [path.name for path in result.files],
        "sha256": {path.name: sha256_of(path) for path in result.files if path.suffix != ".json"},
    }
