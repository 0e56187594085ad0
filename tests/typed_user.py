"""A user's script that calls every name of ``import giblet``: mypy reads it in ``make lint``, and nothing runs it."""

from pathlib import Path

import numpy as np

import giblet as gb


def analyse(film: Path, scan: Path, mask: Path) -> dict[str, float]:
    settings = gb.AudioSettings.make(tr=1.5, n_trs=920)
    extracted = gb.extract(film, settings, "features")
    pictures = [one.path for one in gb.extract_many([film], gb.VideoSettings.make(tr=1.5), "features")]
    motion = gb.MotionProcessor(tr=1.5, causal=True).extract(film)
    gb.extract(film, gb.MotionSettings.make(tr=1.5, pyramid="features/film_desc-motion_features.nc"), "features")
    cuts = gb.CutProcessor(tr=1.5).extract(film)
    gb.extract(film, gb.CutSettings.make(tr=1.5, shortest=0.4), "features")
    clips = gb.ClipProcessor(tr=1.5, model="MCG-NJU/videomae-base", layers=(6,)).extract(film)
    gb.extract(film, gb.VideoClipSettings.make(tr=1.5, causal=False), "features")
    assert "direction" in motion and "cut_rate" in cuts and "layer_6" in clips
    timed = gb.align_words(film, "story.txt", "words")
    read = gb.extract("words.tsv", gb.TextSettings.make(tr=1.5, model=None), "features")
    rate = read.to_pandas()["word_rate"].mean()
    words = gb.TextProcessor(tr=1.5, model=None).extract("words.tsv")
    states = gb.LanguageProcessor(tr=1.5, model="smollm2", layers=(0, 16)).extract("words.tsv")
    gb.extract("words.tsv", gb.LanguageSettings.make(tr=1.5, model=None), "features")
    assert "layer_16" in states
    assert read.status == "written" and pictures[0] is not None
    loudness = gb.AcousticsProcessor(("loudness",), tr=1.5).extract(film)
    heard_so = gb.SpeechProcessor("openai/whisper-small", tr=1.5, layers=(6,)).extract(film)
    gb.extract(film, gb.AcousticsSettings.make(tr=1.5, kinds=("pitch",), causal=False), "features")
    gb.extract(film, gb.SpeechSettings.make(tr=1.5, model="facebook/wav2vec2-base"), "features")
    assert "loudness" in loudness and "layer_6" in heard_so
    sound = gb.load_features(extracted.path)
    gb.save_features(words, Path("features/words_features.nc"))
    exported: Path = gb.export_bids(extracted.path, "bids", subject="01", task="film").sidecar
    decoded: Path = gb.decode(extracted.path).path
    codec = gb.load_codec("bundled", bandwidth=6.0)
    codes: np.ndarray = codec.encode(np.zeros(24_000, np.float32))
    bold = gb.FMRIProcessor(mask=mask, tr=1.5).load(scan)
    aligned = gb.align({"sound": sound, "words": words}, bold, tr=1.5, stimulus_time_at_volume_0=20)
    splits = gb.make_splits(920, tr=1.5)
    checked = gb.check_alignment([extracted.path], scan, mask=mask)
    simulated = gb.simulate(pictures[0], "brain", snr=0.5)
    result = gb.train(gb.TrainSettings.from_yaml("train.yaml"))
    run: gb.TrainedRun = gb.open_run(result.folder)
    prediction = run.predict("test", run.subjects[0])
    card = gb.score(prediction, codec=run.load_codec())
    files = (*simulated.files, *gb.reconstruct(gb.open_run(result.folder), overwrite=True).files)
    tested = gb.rotation_test(bold.bold.values, simulated.simulation.bold, tr=1.5)
    encoded = gb.encode(gb.EncodeSettings.from_yaml("encode.yaml"))
    other_film: Path = gb.predict_film("encode.yaml", pictures[0])[0].path
    heard = gb.encode(gb.ClipSettings.from_yaml("clips.yaml"))
    other_sounds: Path = gb.predict_clips("clips.yaml", "other.tsv")[0].path
    quality = gb.evaluate_codec("sounds").quality
    models = [gb.AudioEncoder, gb.MultimodalDecoder, gb.MultimodalAutoencoder]
    processors = [gb.AudioProcessor(codec=codec, tr=1.5), gb.VideoProcessor(tr=1.5)]
    lost: float = gb.measure_round_trip(film).si_sdr
    page: Path = gb.demo("demo_output", alice="alice").page
    return {
        "p": tested.mean_p, "lag": checked[0].scan.mean_best_lag, "trs": float(len(splits.test)),
        "clips": float(quality.n_clips), "scores": float(len(card.scores)), "files": float(len(files)),
        "all": float(len(models) + len(processors) + len(codes) + len(aligned.bold)),
        "found": float(encoded.subjects[0].stats["q"].min()), "other": other_film.stat().st_mtime,
        "heard": float(heard.subjects[0].stats["q"].min()), "other sounds": other_sounds.stat().st_mtime,
        "rate": rate, "lost": lost, "seconds": decoded.stat().st_mtime, "exported": exported.stat().st_mtime,
        "page": page.stat().st_mtime,
        "words": float(timed.count("ok")),
    }  # fmt: skip
