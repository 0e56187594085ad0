"""The check of a scan against feature files: what is read, how often, and on which clock the sound lies."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import soundfile

from giblet.data import fmri
from giblet.data.audio import AudioSettings
from giblet.data.media import AudioReader
from giblet.errors import AlignmentError
from giblet.evaluation.regressors import envelope
from giblet.features import load_features
from giblet.pipeline import brain, decode, extract
from giblet.pipeline.brain import check_alignment, edges_in, regressors_from


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


def test_the_scan_of_another_film_is_told_before_it_is_read_and_the_sound_is_decoded(talk, tmp_path, monkeypatch):
    features = extract(talk, None, tmp_path).path
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 30), np.float32), np.eye(4))
    image.header.set_zooms((1, 1, 1, 0.5))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "bold.nii")
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "mask.nii")
    monkeypatch.setattr(fmri, "voxels_in", lambda *args: pytest.fail("the scan is read"))
    monkeypatch.setattr(brain, "sound_decoder", lambda *args, **options: pytest.fail("the sound is decoded"))
    with pytest.raises(AlignmentError, match=r"the BOLD has 30 volumes \(15 s\), envelope lasts 24 s from volume 0"):
        check_alignment([features], tmp_path / "bold.nii", mask=tmp_path / "mask.nii")
    with pytest.raises(AlignmentError, match="envelope begins 100 s after volume 0"):
        check_alignment(
            [features], tmp_path / "bold.nii", mask=tmp_path / "mask.nii", stimulus_time_at_volume_0=-100, trim=True
        )
