"""The check of a scan against feature files: what is read, how often, and on which clock the sound lies."""

import json
import threading
from concurrent.futures import CancelledError

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from threadpoolctl import threadpool_info, threadpool_limits

from giblet.data import fmri
from giblet.data.audio import AudioSettings
from giblet.data.media import AudioReader
from giblet.errors import AlignmentError, CodecError, InputError
from giblet.evaluation.regressors import envelope
from giblet.features import load_features, save_features
from giblet.pipeline import brain, brain_study, decode, extract
from giblet.pipeline.brain import check_alignment, edges_in, regressors_from
from giblet.pipeline.brain_study import check_configured
from tests.encoding_study import EncodingStudy, words_file


@pytest.fixture(scope="module")
def talk(tmp_path_factory, speech):
    """24 s of speech as a sound file."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, speech[: 24 * 24_000], 24_000)
    return path


@pytest.mark.parametrize("mel", [False, True], ids=["codes", "mel"])
def test_the_envelope_of_features_is_that_of_their_decoded_sound(talk, tmp_path, mel):
    """But for the 16 bits of the file; and at the file's own sample rate, which of mel is 22050 Hz."""
    settings = AudioSettings.make(use_encodec=not mel, n_mels=64)
    features = extract(talk, settings, tmp_path).path
    decoded = decode(features, tmp_path / "back.wav")
    rate = soundfile.info(decoded.path).samplerate
    expected = envelope(np.concatenate(list(AudioReader(decoded.path, sample_rate=rate))), rate)
    (found,) = regressors_from(features)
    assert rate == (22_050 if mel else 24_000)
    np.testing.assert_array_equal(found.edges, expected.edges)
    ((name, edges),) = edges_in(load_features(features), features.name)  # known without the sound
    assert name == found.name
    np.testing.assert_array_equal(edges, found.edges)
    assert found.edges[-1] == pytest.approx(24, abs=0.1)
    np.testing.assert_allclose(found.values, expected.values, atol=2 / 2**15)


def test_each_feature_file_is_read_once(talk, tmp_path, monkeypatch):
    features = extract(talk, None, tmp_path).path
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.standard_normal((60, 2)), columns=["V1", "A1"]).to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    read, load = [], brain.load_features
    monkeypatch.setattr(brain, "load_features", lambda path: read.append(path) or load(path))
    options = {"tr": 0.4, "overrule_tr": True, "lags": (-4, 4), "n_surrogates": 19}
    (found,) = check_alignment([features], tmp_path / "a.tsv", **options)
    assert (read, found.name, found.targets) == ([features], "envelope", ("V1", "A1"))


def test_numpy_computes_on_one_thread_beside_the_decoding_and_then_on_as_many_as_before(talk, tmp_path, monkeypatch):
    def blas_threads():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    seen = []

    def watched(of):
        return lambda *given, **options: seen.append(blas_threads()) or of(*given, **options)

    for name in ("what_is_checked", "check"):
        monkeypatch.setattr(brain, name, watched(getattr(brain, name)))
    features = extract(talk, None, tmp_path).path
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.standard_normal((60, 2)), columns=["V1", "A1"]).to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    with threadpool_limits(2, user_api="blas"):
        check_alignment([features], tmp_path / "a.tsv", tr=0.4, lags=(-4, 4), n_surrogates=19)
        assert (seen, blas_threads()) == ([{1}, {1}], {2})


@pytest.fixture
def short_scan(tmp_path):
    """Scan of 15 s, less than the sound lasts, and its mask."""
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 30), np.float32), np.eye(4))
    image.header.set_zooms((1, 1, 1, 0.5))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "bold.nii")
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "mask.nii")
    return tmp_path / "bold.nii", tmp_path / "mask.nii"


@pytest.fixture
def nothing_read(monkeypatch):
    monkeypatch.setattr(fmri, "voxels_in", lambda *args: pytest.fail("the scan is read"))
    monkeypatch.setattr(brain, "sound_decoder", lambda *args, **options: pytest.fail("the sound is decoded"))


LENGTHS = r"the BOLD has 30 volumes \(15 s\), envelope lasts 24 s from volume 0"


@pytest.mark.usefixtures("nothing_read")
def test_the_scan_of_another_film_is_told_before_it_is_read_and_the_sound_is_decoded(talk, tmp_path, short_scan):
    features = extract(talk, None, tmp_path).path
    bold, mask = short_scan
    with pytest.raises(AlignmentError, match=LENGTHS):
        check_alignment([features], bold, mask=mask)
    with pytest.raises(AlignmentError, match="envelope begins 100 s after volume 0"):
        check_alignment([features], bold, mask=mask, stimulus_time_at_volume_0=-100, trim=True)


def test_a_scan_that_cannot_be_read_is_told_without_waiting_for_the_sound(talk, tmp_path, short_scan, monkeypatch):
    """It is decoded while the scan is read, and no further once that has failed."""
    features = extract(talk, None, tmp_path).path
    begun, told = threading.Event(), threading.Event()
    decoded = []

    class Slow:
        def features_to_sound(self, values, metadata):
            def blocks():
                for number in range(100):
                    decoded.append(number)
                    begun.set()
                    told.wait(5)
                    yield np.zeros(2400, np.float32)

            return blocks(), 24.0

    def damaged(self, paths, expect=None):
        expect(60, 0.4)
        assert begun.wait(5)
        threading.Timer(0.2, told.set).start()
        raise InputError("bold.nii is cut short")

    monkeypatch.setattr(brain, "sound_decoder", lambda *given, **options: Slow())
    monkeypatch.setattr(fmri.FMRIProcessor, "scan", damaged)
    with pytest.raises(InputError, match="cut short"):
        check_alignment([features], *short_scan[:1], mask=short_scan[1])
    assert decoded in ([0], [0, 1])


def test_what_is_given_up_is_not_filled_with_hours_of_silence(talk, tmp_path, monkeypatch):
    features = load_features(extract(talk, None, tmp_path).path)
    given_up, taken = threading.Event(), []

    class Long:
        def features_to_sound(self, values, metadata):
            return (taken.append(number) or np.zeros(2400, np.float32) for number in range(10**6)), 10.0**6

    monkeypatch.setattr(brain, "sound_decoder", lambda *given, **options: Long())
    monkeypatch.setattr(brain, "envelope", lambda blocks, rate, begins: [taken.append(len(block)) for block in blocks])
    make = brain._maker(features, "talk.nc", codec=None, device="cpu", given_up=given_up)
    given_up.set()
    with pytest.raises(CancelledError):
        make()
    assert taken == [0]


def test_a_codec_that_is_not_there_is_told_before_the_scan_is_read(talk, tmp_path, short_scan, monkeypatch):
    features = extract(talk, None, tmp_path).path
    monkeypatch.setattr(fmri, "voxels_in", lambda *args: pytest.fail("the scan is read"))
    with pytest.raises(CodecError, match="there is no such folder"):
        check_alignment([features], *short_scan[:1], mask=short_scan[1], codec="./gone", tr=1.6, overrule_tr=True)


@pytest.mark.usefixtures("nothing_read")
def test_so_it_is_for_the_runs_of_a_configuration(talk, tmp_path, short_scan):
    features = extract(talk, None, tmp_path).path
    bold, mask = map(str, short_scan)
    runs = [{"bold": bold, "audio": str(features)}]
    path = tmp_path / "encode.yaml"
    path.write_text(yaml.safe_dump({
        "data": {"subjects": [{"name": "01", "mask": mask, "runs": runs}]}, "output": str(tmp_path / "out"),
        "bands": {"sound": {"of": "audio"}},
    }))  # fmt: skip
    with pytest.raises(AlignmentError, match=LENGTHS):
        next(check_configured(path))


def test_words_are_held_against_the_time_of_each_run_that_shows_them(tmp_path, monkeypatch):
    """A clock that would shift words twice is refused in the second run too, where they are known already."""
    study = EncodingStudy(tmp_path)
    late = load_features(words_file(study.words, 60, 0)).assign_attrs(settings=json.dumps({"table_time_at_tr_0": "4"}))
    save_features(late, study.words)
    rng = np.random.default_rng(0)
    for run in (1, 2):
        pd.DataFrame(rng.standard_normal((60, 2)), columns=["a", "b"]).to_csv(
            study.table(1, run), sep="\t", index=False
        )
    runs = [study.run(), study.run(number=2, stimulus_time_at_volume_0=4.0)]
    options = study.settings(tmp_path / "out") | {"data": {"subjects": [{"name": "1", "runs": runs}]}}
    config = study.config(tmp_path / "encode.yaml", options)
    checked = check_configured(config, lags=(-4, 4), n_surrogates=19)
    read = []
    monkeypatch.setattr(brain_study, "load_features", lambda path: read.append(path) or load_features(path))
    assert next(checked).number == 1
    with pytest.raises(InputError, match=r"words.nc: words.tsv was extracted with table_time_at_tr_0=4"):
        next(checked)
    assert read == [study.words], "once for both runs"
