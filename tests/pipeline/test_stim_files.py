"""Features as BIDS recordings: the times of all rows, all digits, what is not there, and names that BIDS accepts."""

import gzip
import io
import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from giblet.codec import load_codec
from giblet.data.audio import AudioProcessor
from giblet.data.text import TextProcessor
from giblet.data.video import VideoProcessor
from giblet.errors import InputError
from giblet.evaluation.reconstruction import latents_by_tr
from giblet.features import load_features, new_features, save_features
from giblet.pipeline import export_bids
from giblet.spans import volume_rate
from giblet.timing import TRGrid
from tests.bids import problems_in, raw_dataset
from tests.films import write_film
from tests.test_features import made

RUN = {"subject": "01", "task": "film"}


def read(stim) -> tuple[pd.DataFrame, dict]:
    """As any program would that knows BIDS and nothing of giblet."""
    about = json.loads(stim.sidecar.read_text())
    text = gzip.decompress(stim.path.read_bytes()).decode()
    table = pd.read_csv(io.StringIO(text), sep="\t", header=None, names=about["Columns"], na_values=["n/a"])
    table.index = about["StartTime"] + np.arange(len(table)) / about["SamplingFrequency"]
    return table, about


def by_tr(folder, tr, n_trs, film=None, name="text", **variables):
    grid = TRGrid(tr, n_trs, volume_rate(tr))
    shaped = {key: (("tr", "dim")[: values.ndim], values) for key, values in variables.items()}
    features = new_features(
        shaped, grid, film_duration=grid.duration if film is None else film, kind="continuous", desc=name,
        source="film.tsv", source_sha256="0", duration=float(grid.duration), settings={},
    )  # fmt: skip
    return save_features(features, folder / f"film_desc-{name}_features.nc")


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0, 1.49])
def test_every_row_lies_at_its_onset_to_the_last_of_ten_thousand(tr, tmp_path):
    source = by_tr(tmp_path, tr, 10_000, rate=np.arange(10_000.0))
    table, about = read(export_bids(source, tmp_path / "bids", **RUN))
    assert about["SamplingFrequency"] == float(1 / Fraction(str(tr)))
    assert np.allclose(table.index, load_features(source).onset, rtol=0, atol=1e-9)
    assert (table["rate"] == np.arange(10_000)).all()


def test_a_film_that_begins_before_the_scan_has_its_first_row_before_volume_0(tmp_path):
    source = by_tr(tmp_path, 1.5, 8, rate=np.arange(8.0))
    found = export_bids(source, tmp_path / "bids", **RUN, stimulus_time_at_volume_0=4.3)
    assert found.start_time == -4.3 and read(found)[1]["StartTime"] == -4.3
    late = export_bids(source, tmp_path / "bids", **RUN, stimulus_time_at_volume_0=-0.75, recording="late")
    assert late.start_time == 0.75


def test_words_that_were_shifted_when_extracted_are_not_shifted_again(tmp_path):
    (tmp_path / "words.tsv").write_text("onset\toffset\ttext\n10.5\t11\tonce\n16\t17\tthere\n")
    words = TextProcessor(tr=2.0, model=None, table_time_at_tr_0=10.0).extract(tmp_path / "words.tsv")
    source = save_features(words, tmp_path / "words_desc-text_features.nc")
    with pytest.raises(InputError, match="would shift it again"):
        export_bids(source, tmp_path / "bids", **RUN, stimulus_time_at_volume_0=10)
    assert read(export_bids(source, tmp_path / "bids", **RUN))[0]["word_rate"].tolist()[:1] == [0.5]


def test_codes_keep_every_frame_and_their_rate(tmp_path):
    features, codes = made(tr=1.5, n_trs=6, film=8.0)
    source = save_features(features, tmp_path / "film_desc-encodec24k_features.nc")
    table, about = read(export_bids(source, tmp_path / "bids", **RUN))
    assert about["SamplingFrequency"] == 75 and list(table) == [f"codebook_{k}" for k in range(8)]
    assert table.shape == (675, 8) and len(about["Columns"]) == 8
    assert "category" in about["codebook_3"]["Description"]
    in_film = np.arange(675) < 8 * 75  # TR 5 ends at 9 s, the film at 8 s
    assert np.array_equal(table[in_film], codes.T[in_film])
    assert table[~in_film].isna().all(axis=None)


def test_text_in_the_table_is_whole_numbers_and_n_a(tmp_path):
    features, codes = made(n_codebooks=2)
    source = save_features(features, tmp_path / "film_desc-encodec24k_features.nc")
    lines = gzip.decompress(export_bids(source, tmp_path / "bids", **RUN).path.read_bytes()).decode().split("\n")
    assert lines[0] == f"{codes[0, 0]}\t{codes[1, 0]}" and lines[-2:] == ["n/a\tn/a", ""]


def test_all_digits_of_single_and_double_precision_come_back(tmp_path):
    rng = np.random.default_rng(0)
    single, double = rng.standard_normal((40, 3)).astype(np.float32), rng.standard_normal(40) * 1e-9
    source = by_tr(tmp_path, 1.5, 40, embedding=single, rate=double)
    exported = export_bids(source, tmp_path / "bids", **RUN)
    assert list(read(exported)[0]) == ["embedding_0", "embedding_1", "embedding_2", "rate"]
    # By Python: pandas before 3.1 reads every second number one bit off.
    text = gzip.decompress(exported.path.read_bytes()).decode()
    table = np.array([[float(cell) for cell in line.split("\t")] for line in text.splitlines()])
    assert np.array_equal(table[:, :3].astype(np.float32), single)
    assert np.array_equal(table[:, 3], double)


def test_what_is_not_there_is_n_a_and_what_is_0_stays_0(tmp_path):
    (tmp_path / "words.tsv").write_text("onset\toffset\ttext\n0.5\t1\tonce\n6\t7\tthere\n")
    words = TextProcessor(tr=2.0, model=None, film_duration=9.0).extract(tmp_path / "words.tsv", n_trs=6)
    table, about = read(
        export_bids(save_features(words, tmp_path / "w_desc-text_features.nc"), tmp_path / "bids", **RUN)
    )
    assert table["word_length"].isna().tolist() == [False, True, True, False, True, True]
    assert table["word_rate"].isna().tolist() == [False] * 5 + [True], "the film ends in the fifth TR"
    assert table["word_rate"].tolist()[:5] == [0.5, 0, 0, 0.5, 0]
    assert "per second" in about["word_rate"]["Description"]


def test_a_word_in_the_tr_that_the_text_ends_in_is_there(tmp_path):
    (tmp_path / "words.tsv").write_text("onset\toffset\ttext\n0.5\t1\tonce\n4.5\t5.2\tend\n")
    words = TextProcessor(tr=2.0, model=None).extract(tmp_path / "words.tsv", n_trs=4)
    assert words["valid"].values.tolist() == [True, True, False, False]
    table, _ = read(export_bids(save_features(words, tmp_path / "w_desc-text_features.nc"), tmp_path / "bids", **RUN))
    assert table["onset_count"].tolist()[:3] == [1, 0, 1] and table["onset_count"].isna().tolist()[3]


def test_a_picture_gives_its_series_and_its_pixels_if_asked(tmp_path):
    picture = VideoProcessor(tr=1.5, size=(4, 6)).extract(write_film(tmp_path / "grey.mp4", picture=4.5))
    source = save_features(picture, tmp_path / "grey_desc-video_features.nc")
    table, _ = read(export_bids(source, tmp_path / "bids", **RUN))
    assert list(table) == ["luminance", "contrast", "luminance_change", "shown"]
    pixels, _ = read(export_bids(source, tmp_path / "bids", **RUN, take="frames", recording="pixels"))
    valid = picture["valid"].values
    assert np.array_equal(pixels[valid], picture["frames"].values.reshape(len(valid), -1)[valid])


def test_a_mel_spectrogram_keeps_its_frames_and_its_mean_is_by_tr(speech, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", speech[: 24_000 * 6], 24_000)
    mel = AudioProcessor(use_encodec=False, n_mels=16, tr=1.5).extract(tmp_path / "a.wav")
    source = save_features(mel, tmp_path / "a_desc-mel_features.nc")
    table, about = read(export_bids(source, tmp_path / "bids", **RUN))
    assert about["SamplingFrequency"] == pytest.approx(22_050 / 512) and table.shape[1] == 16
    own = mel["frame_mask"].values
    assert len(table) == own.sum() and np.array_equal(
        table.to_numpy().astype(np.float32), mel["mel"].values.transpose(0, 2, 1)[own]
    )
    means, about = read(export_bids(source, tmp_path / "bids", **RUN, take="mel_mean", recording="mean"))
    assert about["SamplingFrequency"] == 1 / 1.5 and means.shape == (4, 16)


def test_latents_of_codes_are_those_of_the_codec(tmp_path):
    codec = load_codec("bundled", bandwidth=6.0)
    features, _ = made(tr=1.5, n_trs=6, film=9.0, codec_fingerprint=codec.codes_fingerprint)
    source = save_features(features, tmp_path / "film_desc-encodec24k_features.nc")
    table, about = read(
        export_bids(source, tmp_path / "bids", **RUN, take=["latents_mean", "envelope"], recording="latents")
    )
    expected = latents_by_tr(features["codes"].values, codec).mean(-1)
    assert table.shape == (6, expected.shape[1] + 1) and about["SamplingFrequency"] == 1 / 1.5
    assert np.allclose(table.iloc[:, :-1], expected, atol=1e-4) and list(table)[-1] == "envelope"


def test_the_same_again_is_left_alone_and_another_is_refused(tmp_path):
    source = by_tr(tmp_path, 1.5, 8, rate=np.arange(8.0))
    first = export_bids(source, tmp_path / "bids", **RUN)
    assert (first.status, export_bids(source, tmp_path / "bids", **RUN).status) == ("written", "unchanged")
    other = by_tr(tmp_path, 1.5, 8, rate=np.ones(8))
    with pytest.raises(InputError, match="already exists and is another recording"):
        export_bids(other, tmp_path / "bids", **RUN)
    assert export_bids(other, tmp_path / "bids", **RUN, overwrite=True).status == "written"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"subject": "0_1"}, "subject is '0_1': BIDS takes letters and digits only, as in '01'"),
        ({"task": "a film"}, "task is 'a film'.*as in 'aFilm'"),
        ({"session": ""}, "session is '': BIDS takes letters and digits only, as in '01'"),
        ({"run": "two"}, "run is 'two': BIDS takes digits only, as in '2'"),
        ({"take": "loudness"}, "has no 'loudness': `take` one of rate"),
    ],
)
def test_what_bids_does_not_take_is_told(more, said, tmp_path):
    source = by_tr(tmp_path, 1.5, 8, rate=np.arange(8.0))
    with pytest.raises(InputError, match=said):
        export_bids(source, tmp_path / "bids", **{**RUN, **more})
    assert not (tmp_path / "bids").exists()


@pytest.mark.parametrize("kind", ["raw", "derivative", "none"])
def test_the_bids_validator_accepts_recordings_in_raw_data_and_in_a_folder_of_their_own(kind, tmp_path):
    root = tmp_path / "bids" if kind == "none" else raw_dataset(tmp_path / "bids", DatasetType=kind)
    features, _ = made(n_codebooks=2)
    sound = save_features(features, tmp_path / "film_desc-encodec24k_features.nc")
    words = by_tr(tmp_path, 1.5, 8, rate=np.arange(8.0), embedding=np.ones((8, 2)))
    for session, run in ((None, None), ("pre", 2)):
        for source in (sound, words):
            found = export_bids(source, root, **RUN, session=session, run=run, stimulus_time_at_volume_0=2)
    assert found.path.relative_to(root).as_posix() == (
        "sub-01/ses-pre/func/sub-01_ses-pre_task-film_run-2_recording-text_stim.tsv.gz"
    )
    if kind == "raw":  # a data set of recordings alone is none
        import nibabel as nib

        for one in root.rglob("func"):
            for path in one.glob("*_recording-text_stim.json"):
                image = nib.Nifti1Image(np.zeros((2, 2, 2, 8), np.float32), np.eye(4))
                image.header.set_zooms((1, 1, 1, 1.5))
                image.header.set_xyzt_units("mm", "sec")
                name = path.name.replace("_recording-text_stim.json", "_bold")
                nib.save(image, one / f"{name}.nii.gz")
                (one / f"{name}.json").write_text(json.dumps({"TaskName": "film", "RepetitionTime": 1.5}))
        (root / "participants.tsv").write_text("participant_id\nsub-01\n")
        (root / "README").write_text("A study of a film, made by a test. " * 10)
    assert problems_in(root) == []


@pytest.mark.parametrize(
    ("change", "code"), [({"StartTime": None}, "SIDECAR_KEY_REQUIRED"), ({"Columns": ["rate", "b"]}, "TSV_EQUAL_ROWS")]
)
def test_the_bids_validator_would_find_what_is_wrong(change, code, tmp_path):
    """In raw data: of derivatives it asks for no key."""
    root = raw_dataset(tmp_path / "bids")
    found = export_bids(by_tr(tmp_path, 1.5, 8, rate=np.arange(8.0)), root, **RUN)
    about = json.loads(found.sidecar.read_text()) | change
    found.sidecar.write_text(json.dumps({name: value for name, value in about.items() if value is not None}))
    assert code in {what.split()[0] for what, _ in problems_in(root)}
