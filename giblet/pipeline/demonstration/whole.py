"""The whole demonstration: a film and speech, a simulated brain, a model, sound from that brain, and a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from giblet.data.audio import AudioSettings
from giblet.evaluation.score import SIGNIFICANT
from giblet.files import check_writable
from giblet.notebook import html_facts
from giblet.pipeline.demonstration.alice import find_alice, show_alice
from giblet.pipeline.demonstration.brain import (
    ANSWERS_TO,
    HRF,
    N_VOXELS,
    OTHER_READERS,
    SNR,
    TR,
    encoding_of,
    noise_ceiling,
    runs,
    simulated,
    training_of,
)  # fmt: skip
from giblet.pipeline.demonstration.real import RealBrains, verdict
from giblet.pipeline.demonstration.stages import Stage, Stages, Tell
from giblet.pipeline.demonstration.stories import find_stories, show_stories
from giblet.pipeline.encoding import encode
from giblet.pipeline.features import extract
from giblet.pipeline.round_trip import FILM, RoundTrip, round_trip_of, sample
from giblet.pipeline.training import train
from giblet.progress import TrainingStep
from giblet.storage import check_local

if TYPE_CHECKING:
    from giblet.evaluation.encoding import EncodingScore
    from giblet.evaluation.identification import Identification
    from giblet.pages import Report, Section
    from giblet.pipeline.encoding_result import EncodingResult
    from giblet.pipeline.reconstruction import Reconstruction
    from giblet.pipeline.simulation import SimulatedScan
    from giblet.training.result import RunResult

ON_THE_PAGE = "report.html"
MANY = 10
"""Passages from which a share is told."""


@dataclass(frozen=True, repr=False)
class Demonstration:
    """Result of :func:`demo`: what each stage made, and the three figures that matter."""

    folder: Path
    page: Path
    """The page with all of it."""
    round_trip: RoundTrip
    """Of the film's sound through the codec alone."""
    scans: tuple[SimulatedScan, ...]
    """The simulated runs; the last one is tested."""
    training: RunResult
    reconstruction: Reconstruction
    encoding: EncodingResult
    ceiling: EncodingScore
    """What the noiseless signal of the simulation would score."""
    real: tuple[RealBrains, ...] = ()
    stages: tuple[Stage, ...] = field(default=(), compare=False)
    """With the seconds that each took."""

    @property
    def encoding_r(self) -> float:
        """Mean over simulated voxels of held-out r, without drifts."""
        return float(self.encoding.subjects[0].summary["mean_r"])

    @property
    def identification(self) -> Identification:
        """Of the longest passages of which there are many; where none are, of those of which there are most."""
        found = self.reconstruction.scorecard.passages
        many = [one for one in found if one.n_passages >= MANY]
        return max(many, key=lambda one: one.seconds) if many else max(found, key=lambda one: one.n_passages)

    @property
    def codec_identification(self) -> Identification | None:
        """Of the same passages, in the spectra of the codec's round trip: what a perfect decoder would reach."""
        length = self.identification.seconds
        codec = [one.ceiling for one in self.reconstruction.scorecard.passages if one.seconds == length]
        return next((one for one in codec if one is not None), None)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What is printed at the end: the three figures that matter, what real brains add, and where the page is."""
        one, summary = self.identification, self.encoding.subjects[0].summary
        p, codec = one.pairwise_rotated.p, self.codec_identification
        kept = "" if codec is None else f", {_percent(codec.pairwise.value)} of those pairs told apart"
        return [
            (
                "encoding",
                f"mean r {self.encoding_r:.3f} in {N_VOXELS} simulated voxels, ceiling {self.ceiling.mean.value:.3f}; "
                f"{verdict(summary['mean_p'])}",
            ),
            (
                "identification",
                f"{_percent(one.pairwise.value)} of pairs of {one.seconds:g}-s passages told apart from the simulated "
                f"scan, chance 50 %; {verdict(p)}",
            ),
            (
                "round trip",
                f"SI-SDR {self.round_trip.si_sdr:.2f} dB, level {self.round_trip.level_error:+.2f} dB against the "
                f"film's own sound{kept} (codec alone)",
            ),
            *((f"{one.name}: {what}", text) for one in self.real for what, text in one.lines),
            ("page", str(self.page)),
        ]

    def __repr__(self) -> str:
        return f"<Demonstration on a simulated brain: {self.page}>"

    def _repr_html_(self) -> str:
        return html_facts(repr(self).strip("<>"), dict(self.lines))

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, as ``giblet demo --json`` prints it.

        Returns
        -------
        dict of str to object
            ``page`` and ``folder`` (paths), ``simulated`` (what the brain is), ``encoding`` (``r``, ``ceiling``,
            ``p``), ``identification`` (as :meth:`giblet.evaluation.identification.Identification.as_dict`),
            ``codec_identification`` (the same of the codec alone), ``round_trip`` (as :meth:`RoundTrip.as_dict`),
            ``training``, ``real`` (by data set), ``seconds`` (by stage).
        """
        summary, codec = self.encoding.subjects[0].summary, self.codec_identification
        return {
            "page": str(self.page), "folder": str(self.folder),
            "simulated": {
                "answers_to": ANSWERS_TO, "circular": self.scans[-1].circular, "n_voxels": N_VOXELS, "snr": SNR,
                "tr": TR,
            },
            "encoding": {
                "r": self.encoding_r, "ceiling": self.ceiling.mean.value, "p": summary["mean_p"],
                "found": summary["n_q"], "of": summary["n_tested"],
            },
            "identification": self.identification.as_dict(),
            "codec_identification": None if codec is None else codec.as_dict(),
            "round_trip": self.round_trip.as_dict(),
            "training": self.training.as_dict(),
            "real": {one.name: one.as_dict() for one in self.real},
            "seconds": {one.name: one.seconds for one in self.stages},
        }  # fmt: skip


def demo(
    out_dir: str | Path = "demo_output",
    *,
    alice: str | Path | None = None,
    lebel: str | Path | None = None,
    overwrite: bool = False,
    progress: Tell | None = None,
) -> Demonstration:
    """Go the whole way on a simulated brain whose truth is known, and write one page about it.

    The film and the speech that come with giblet are extracted; a brain is simulated that answers to the sound as a
    cochlea hears it, under as much noise; a model learns from some readers and reconstructs what others said, whom it
    never heard; encoding models are tested in every voxel; all of it stands on the page. What stands in `out_dir`
    already, of the same settings and files, is not made again, as far as each of these jobs goes on by itself.

    Parameters
    ----------
    out_dir : str or Path
        Gets features, simulated scans, the run, encoding models, and ``report.html``.
    alice : str or Path, optional
        Folder with listeners to Alice in Wonderland (Brennan et al. 2016): adds which regions follow words and sound.
    lebel : str or Path, optional
        Folder with listeners to spoken stories (LeBel et al. 2023): adds which layer of a language model they follow,
        and which passage of an unseen story they heard. Needs the language model smollm2.
    overwrite : bool
        Replace results of other settings or files. A training run of others is refused nevertheless.
    progress : callable, optional
        Called with a :class:`giblet.pipeline.demonstration.stages.Stage` as it begins, goes on and ends.

    Returns
    -------
    Demonstration

    Raises
    ------
    GibletError
        If a sample, a folder or the language model is missing, or the results of others stand in `out_dir`.

    See Also
    --------
    measure_round_trip : The sound of a film through the codec, and nothing else.

    Examples
    --------
    >>> shown = demo("demo_output")  # doctest: +SKIP
    >>> shown.page  # doctest: +SKIP
    PosixPath('demo_output/report.html')
    """
    check_local(Path(out_dir), "a demonstration")
    folder = Path(out_dir)
    check_writable(folder)
    places = {"alice": None if alice is None else find_alice(alice), "lebel": None}
    places["lebel"] = None if lebel is None else find_stories(lebel)
    # Here, as these take seconds to import, and a folder that is not there should be told before.
    from giblet.pipeline.reconstruction import reconstruct
    from giblet.pipeline.trained_run import open_run

    heard = runs(FILM)
    films = {name: sample(name) for name in dict.fromkeys(one.sound for one in heard)}
    stages = Stages(7 + sum(place is not None for place in places.values()), progress)
    with stages.stage("extract", f"codes of the film and of {len(films) - 1} sounds of speech") as tell:
        settings, features = AudioSettings.make(tr=TR, device="cpu"), {}
        for number, (name, path) in enumerate(films.items()):
            features[name] = extract(path, settings, folder / "features", overwrite=overwrite)
            tell((number + 1) / len(films))
    with stages.stage("round trip", "the film's codes back into sound"):
        round_trip = round_trip_of(features[FILM], overwrite=overwrite)
    with stages.stage("simulate", f"a brain of {N_VOXELS} simulated voxels that hears {len(heard)} runs"):
        scans = simulated(heard, features, folder / "simulated", overwrite=overwrite)
    with stages.stage("train", "the model, on the simulated brain") as tell:

        def step(at: TrainingStep) -> None:
            tell(at.done)

        training = train(training_of(heard, features, scans, folder / "simulated_run"), progress=step)
    with stages.stage("reconstruct", "sound from the simulated brain, of readers never heard before"):
        made = reconstruct(open_run(training.folder), original=films[OTHER_READERS], overwrite=overwrite, device="cpu")
    with stages.stage("encode", "which simulated voxels follow the sound"):
        encoding = encode(encoding_of(heard, features, scans, folder / "simulated_encoding"), overwrite=overwrite)
    real: list[RealBrains] = []
    if places["alice"] is not None:
        with stages.stage("alice", "real listeners to Alice in Wonderland: words and sound by region") as tell:
            real.append(show_alice(places["alice"], folder / "alice", overwrite=overwrite, progress=tell))
    if places["lebel"] is not None:
        with stages.stage("lebel", "real listeners to spoken stories: layers, and passages found") as tell:
            real.append(show_stories(places["lebel"], folder / "lebel", overwrite=overwrite, progress=tell))
    page = folder / ON_THE_PAGE
    with stages.stage("report", "all of it on one page"):
        shown = Demonstration(
            folder, page, round_trip, tuple(scans), training, made, encoding, noise_ceiling(scans[-1]), tuple(real)
        )
        _page_of(shown).save_as_html(page)
    return Demonstration(**{**vars(shown), "stages": tuple(stages.ended)})


def _page_of(shown: Demonstration) -> Report:
    """The page: what matters first, then what real brains add, then each run as its own page has it."""
    from giblet.pages import Report, Section
    from giblet.pipeline.report import report

    sections = [_first(shown)]
    sections += [section for one in shown.real for section in one.sections()]
    runs_shown = ((shown.training.folder, "Model", sample(OTHER_READERS)), (shown.encoding.folder, "Encoding", ()))
    for folder, what, original in runs_shown:
        sections += [
            Section(f"{what}: {section.title}", section.text, section.parts, section.warnings)
            for section in report(folder, original=original).sections
        ]
    beside = ", and real ones" if shown.real else ""
    summary = (
        f"A simulated brain{beside}: from a film and speech to codes, to a model, back to sound, and how much of that "
        "is true. Everything about the simulated brain says so; its truth is known."
    )
    return Report(f"giblet demo: a simulated brain{beside}", sections, summary)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _first(shown: Demonstration) -> Section:
    from giblet.pages import Figure, Section, Table
    from giblet.pages.cells import p_value

    one, ceiling, summary = shown.identification, shown.ceiling.mean.value, shown.encoding.subjects[0].summary
    p, right = one.pairwise_rotated.p, one.top.get(1)
    first = [] if right is None else [f"its own passage is the most alike: {right}; chance {one.chance[1]:.3f}"]
    codec = shown.codec_identification
    kept = [] if codec is None else [f"{_percent(codec.pairwise.value)} of pairs of {codec.seconds:g}-s passages"]
    figures = [
        Figure(
            "Encoding, simulated brain", f"r = {shown.encoding_r:.3f}",
            [f"ceiling: {ceiling:.3f}, the noiseless signal", "chance: 0", f"p {p_value(summary['mean_p'])}"],
            summary["mean_p"] is not None and summary["mean_p"] <= SIGNIFICANT,
        ),
        Figure(
            f"Identification of {one.seconds:g}-s passages, simulated brain",
            _percent(one.pairwise.value),
            ["of pairs; chance: 50 %", f"{one.n_passages} passages, p {p_value(p)}", *first],
            p is not None and p <= SIGNIFICANT,
        ),
        Figure(
            "Round trip, no brain", f"{shown.round_trip.si_sdr:.2f} dB",
            ["SI-SDR against the film's own sound", f"level {shown.round_trip.level_error:+.2f} dB", *kept],
        ),
    ]  # fmt: skip
    truth = [
        ["what it is", "simulated: numbers from a program, no person was scanned"],
        ["what it answers to", "envelopes of gammatone bands of the sound, which the model is not given"],
        ["what the model is given", "codes of the sound"],
        ["voxels, TR", f"{N_VOXELS}, {TR:g} s"],
        ["signal and noise", f"variance of the signal {SNR:g} times that of the noise"],
        ["response", f"{HRF}, which the encoding models assume too"],
        ["circular", shown.scans[-1].circular],
        [
            "noise ceiling",
            f"{ceiling:.3f}: mean correlation of the noiseless signal with the simulated BOLD, tested run",
        ],
    ]
    text = [
        "A model learned from a film and some readers, and is tested on readers whom it never heard. All BOLD of this "
        "part is simulated, so the truth is known: the ceiling is what a perfect model would reach under this noise.",
        "Encoding predicts the simulated BOLD from the sound. Identification asks whether what was decoded from the "
        "simulated BOLD is more like the passage that was played than like another one of the same run. The round trip "
        "has no brain in it: what the codec alone keeps of the film's sound.",
    ]
    return Section("What matters", text, [*figures, Table(["the simulated brain", ""], truth, words=True)])
