"""Which audio head hears most in a brain, and does the model predict a brain as well as ridge?

Speech of many readers (LibriSpeech) becomes codes; a simulated brain answers to it at an SNR of 1; one model a head is
trained on it; the tables are about TRs of no training. Brains that answer to the main components of the mean latents of
each TR, linearly and with saturation, are circular: ridge is given these latents, and the model codes that tell them.
The fair one answers to gammatone bands and modulations of the sound, which neither is given, and a fifth of its noise
is head motion and a global signal.

python benchmarks/heads.py --work heads_runs --write

A run that was interrupted goes on where it stopped. With --write the tables replace those of docs/heads.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
import torch
import xarray as xr
from sklearn.decomposition import PCA

from giblet.codec import AudioCodec, load_codec
from giblet.data.audio import AudioSettings
from giblet.data.brain_sources import brain_bands
from giblet.data.simulate import simulate_bold, write_simulation
from giblet.encoding import fit_ridge
from giblet.evaluation.compared import compare
from giblet.evaluation.encoding import score_encoding
from giblet.evaluation.predictions import Stretch, predict
from giblet.evaluation.reconstruction import latents_by_tr
from giblet.evaluation.score import FREQUENT, MEAN, Score
from giblet.evaluation.scores import constant_codes, score_codes
from giblet.features import load_features
from giblet.models import MultimodalAutoencoder
from giblet.pipeline import extract
from giblet.statistics.correlation import mean_correlation_influence
from giblet.statistics.estimates import Estimate, ScoredTRs
from giblet.training.settings import TrainSettings
from giblet.training.study import Study, build_study
from giblet.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
START, END = "<!-- heads: start -->", "<!-- heads: end -->"
TR = 1.5
COMPONENTS = 8
"""Of the mean latents, which the simulated brain answers to."""
FAIR = "gammatone"
CONFOUNDS = 0.2
"""Share in the noise of the fair brain."""
OF_ENTRIES = 4
"""Of how often each entry of the first codebook occurs in a TR."""
ROWS = {
    "regression": [("round", False)],
    "classification": [("most probable code", False), ("latent: mean under the probabilities", True)],
    "latent": [("latent, requantised", False)],
}


def speech(folder: Path, minutes: float, to: Path) -> Path:
    """One sound of many readers, a quarter of a second of silence between them."""
    if to.exists():
        return to
    files = sorted(folder.glob("*.flac"))
    if not files:
        raise SystemExit(f"no .flac in {folder}: give --audio a folder of 16 kHz speech")
    wanted, have, parts = int(minutes * 60 * 16_000), 0, []
    for file in files:
        sound, rate = soundfile.read(file, dtype="float32")
        if rate != 16_000:
            raise SystemExit(f"{file} is at {rate} Hz: 16 kHz is needed")
        parts += [sound, np.zeros(rate // 4, np.float32)]
        have += len(sound) + rate // 4
        if have >= wanted:
            break
    soundfile.write(to, np.concatenate(parts)[:wanted], 16_000)
    return to


def brain(features: Path, codec: AudioCodec, name: str, voxels: int, work: Path) -> Path:
    """A simulated scan.

    ``"linear"`` and ``"tanh"`` answer to the main components of the mean latents of each TR, and are circular. Knowing
    those tells nothing of which code is right, so ``"codes"`` answers, linearly, to the four main components of how
    often each entry of the first codebook occurs in the TR. ``"gammatone"`` answers to what is not in the codes' file.
    """
    path = work / f"{name}.tsv"
    if not path.exists():
        codes = load_features(features).codes.values
        if name == FAIR:
            heard = brain_bands(load_features(features), ["gammatone", "modulation"], film=work / "speech.flac")
            write_simulation(simulate_bold(heard, tr=TR, n_voxels=voxels, snr=1.0, confounds=CONFOUNDS), path)
            return path
        if name == "codes":
            shares = np.stack([np.bincount(one[0], minlength=codec.codebook_size) for one in codes]) / codes.shape[2]
            heard = PCA(OF_ENTRIES, svd_solver="full").fit_transform(shares)
        else:
            latents = latents_by_tr(codes, codec).mean(axis=2, dtype=np.float64)
            heard = PCA(COMPONENTS, svd_solver="full").fit_transform(latents)
        mapping = "tanh" if name == "tanh" else "linear"
        write_simulation(simulate_bold(heard, tr=TR, n_voxels=voxels, mapping=mapping, snr=1.0), path)
    return path


def settings_of(
    features: Path, bold: Path, head: str, way: str, output: Path, options: argparse.Namespace
) -> TrainSettings:
    """Of a run whose best step is that of one way, ``"encoding"`` or ``"decoding"``: they share no weights."""
    beside = "bold" if way == "decoding" else "audio"
    return TrainSettings.make(
        data={"subjects": [{"name": "01", "runs": [{"bold": bold, "audio": features}]}], "fractions": (0.7, 0.1, 0.2)},
        model={"head": head, "modality_weights": {beside: 0.01}}, output=output, epochs=options.epochs,
        learning_rate=options.learning_rate, final_learning_rate=options.learning_rate / 20,
        validate_every=options.validate_every, patience=None, device="cpu",
    )  # fmt: skip


def encoding_rows(study: Study, stretch: Stretch, codec: AudioCodec, mapping: str, truth: xr.Dataset) -> list[str]:
    """The model beside ridge on the same test TRs: on the mean latents, and on the very features of the simulation."""
    recording, splits = study.recordings[0], study.splits["01"]
    n = len(recording.run)
    latents = latents_by_tr(recording.series["audio"].read(0, n), codec).mean(axis=2, dtype=np.float64)
    bold = study.normalisers["01"]["bold"](recording.series["bold"].read(0, n))
    rows = np.arange(stretch.start, stretch.stop)[stretch.bold_scored]
    measured, model = stretch.bold[stretch.bold_scored], stretch.bold_predicted[stretch.bold_scored]
    trs = ScoredTRs.of(len(rows), TR)
    ours, influence = score_encoding(measured, model, trs), mean_correlation_influence(measured, model)
    ceiling = score_encoding(measured, truth.signal.values[rows], trs).mean.value  # without drifts, as model and ridge
    found = []
    true = "the true features" if mapping == FAIR else "the true components"
    for name, features in {"mean latents": latents, true: truth.features.values}.items():
        ridge = fit_ridge(features, bold, splits.train, TR).predicted[rows]
        theirs = score_encoding(measured, ridge, trs)
        assert ours.mean.value is not None and theirs.mean.value is not None
        apart = influence - mean_correlation_influence(measured, ridge)
        gap = trs.estimate(ours.mean.value - theirs.mean.value, apart)
        told = mapping if mapping == FAIR else f"{mapping}, circular"
        found.append(
            f"| {told} | {name} | {_value(ours.mean)} | {_value(theirs.mean)} |"
            f" {ours.mean.value / theirs.mean.value:.3f} | {_value(gap)} | {_number(ceiling)} |"
            f" {_number(ours.chance.mean)} ({_number(ours.chance.p)}) |"
        )
    return found


def head_rows(name: str, study: Study, settings: TrainSettings, codec: AudioCodec) -> list[str]:
    """The scores of each way to make codes of what a head says."""
    head, rows = settings.model.head, []
    model = MultimodalAutoencoder.from_pretrained(settings.output / "best")
    recording, splits = study.recordings[0], study.splits["01"]
    train = recording.series["audio"].read(int(splits.train[0]), int(splits.train[-1]) + 1)
    for how, expected in ROWS[head]:
        (stretch,) = predict(
            model, recording, study.normalisers["01"], splits.test, stimulus_trs=study.stimulus_trs["01"],
            expected=expected,
        )  # fmt: skip
        keep = stretch.scored["audio"]
        found = score_codes(stretch.truth["audio"][keep], stretch.decoded["audio"][keep], train, codec, TR)
        by_name = {one.name: one for one in found.scores}
        first = by_name["accuracy, codebook 1"]
        cells = [f"{_value(first.reconstruction)}, {_value(first.nulls[FREQUENT].margin)} above"]
        cells += [_beside(by_name[name]) for name in ("latent r", "latent r over time", "mel r", "mel r over time")]
        cells.append(f"{_number(by_name['STOI'].reconstruction.value)}" if "STOI" in by_name else "-")
        rows.append(f"| {name} | {head} | {how} | {' | '.join(cells)} |")
    if head == "latent":
        with torch.no_grad():
            outputs = model.decode(torch.from_numpy(stretch.bold)[None], "01")
            own = model.decoder.to_latents(outputs)[0].numpy()[keep]
        heard = stretch.truth["audio"][keep]
        nulls = {null: latents_by_tr(codes, codec) for null, codes in constant_codes(train, heard, codec).items()}
        latent = compare("latent r", latents_by_tr(heard, codec), own, nulls, ScoredTRs.of(len(heard), TR))
        rows.append(f"| {name} | {head} | latent, as it is | - | {' | '.join(map(_beside, latent))} | - | - | - |")
    return rows


def _beside(score: Score) -> str:
    nulls = [score.nulls[name].score.value for name in (MEAN, FREQUENT)]
    told = ", ".join(_number(value) for value in (*nulls, score.shifted.mean if score.shifted else None))
    return f"{_value(score.reconstruction)} [{told}] {'above all' if score.above_nulls else 'not above all'}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _value(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    return f"{estimate.value:.3f}" + ("" if estimate.low is None else f" ({estimate.low:.3f} to {estimate.high:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=ROOT.parent / "shared" / "audio" / "librispeech")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made on the way")
    parser.add_argument("--minutes", type=float, default=46.0)
    parser.add_argument("--voxels", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--validate-every", type=int, default=2, help="epochs")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--heads", nargs="+", default=list(ROWS))
    parser.add_argument("--brains", nargs="+", default=["linear", "tanh", FAIR, "codes"])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/heads.md")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    codec = load_codec("bundled", device="cpu")
    sound = speech(options.audio, options.minutes, options.work / "speech.flac")
    features = extract(sound, AudioSettings.make(tr=TR, device="cpu"), options.work).path
    assert features is not None
    encoding, decoding, about = [], [], ""
    for name in options.brains:
        bold = brain(features, codec, name, options.voxels, options.work)
        ways = [("encoding", options.heads[-1])] if name != "codes" else []
        ways += [("decoding", head) for head in options.heads] if name in ("linear", "codes") else []
        for way, head in ways:
            settings = settings_of(features, bold, head, way, options.work / f"run_{name}_{way}_{head}", options)
            study = build_study(settings)
            result = Trainer(settings, study=study).fit()
            told = f"{result.status}, best of {result.step} steps is {result.best_step}"
            print(f"{name}, {way}, {head}: {told}", flush=True)
            if way == "decoding":
                decoding += head_rows(name, study, settings, codec)
                continue
            model = MultimodalAutoencoder.from_pretrained(settings.output / "best")
            (stretch,) = predict(
                model, study.recordings[0], study.normalisers["01"], study.splits["01"].test,
                stimulus_trs=study.stimulus_trs["01"],
            )  # fmt: skip
            truth = load_features(options.work / f"{name}_truth.nc")
            encoding += encoding_rows(study, stretch, codec, name, truth)
            splits = study.splits["01"]
            about = (
                f"Codec {codec.fingerprint[:8]}; {options.minutes:g} min of speech, {len(splits.train)} TRs of "
                f"{TR:g} s to train on, {len(splits.val)} to choose by, {len(splits.test)} to test; "
                f"{options.voxels} voxels; {options.epochs} epochs."
            )
    text = "\n".join(
        [
            about, "",
            "| brain | ridge is given | model r (95 %) | ridge r (95 %) | ratio | model - ridge | noise ceiling | "
            "time-shifted (p) |",
            "|---|---|--:|--:|--:|--:|--:|--:|",
            *encoding, "",
            "| brain | head | codes from | accuracy, codebook 1, and margin over the most frequent code | "
            "latent r [nulls] | latent r over time [nulls] | mel r [nulls] | mel r over time [nulls] | STOI |",
            "|---|---|---|--:|--:|--:|--:|--:|--:|",
            *decoding,
        ]
    )  # fmt: skip
    print(text)
    if options.write:
        page = ROOT / "docs" / "heads.md"
        before, rest = page.read_text(encoding="utf-8").split(START)
        page.write_text(f"{before}{START}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
