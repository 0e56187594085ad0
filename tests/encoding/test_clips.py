"""Features of clips against what they are by definition; tables and responses as studies have them."""

import numpy as np
import pytest
import soundfile
from scipy.io import savemat

from giblet.codec import load_codec
from giblet.encoding.clips import POOLED, at_level, clip_features, read_clips
from giblet.encoding.responses import read_mat, read_responses
from giblet.errors import InputError
from tests.encoding.clip_sounds import RATE, sounds


@pytest.fixture(scope="module")
def codec():
    return load_codec("bundled", device="cpu")


@pytest.fixture(scope="module")
def made(codec):
    return clip_features(sounds(6), list(POOLED), codec)


def test_latents_are_pooled_by_mean_and_deviation_over_each_clips_own_frames(codec, made):
    for row, waveform in enumerate(sounds(6)):
        latents = codec.latents(codec.encode(waveform))
        expected = np.r_[latents.mean(1), latents.std(1)]
        np.testing.assert_allclose(made["latents"][row], expected, atol=2e-3)  # encode_many may differ in a code
        np.testing.assert_allclose(made["latent_changes"][row], np.diff(latents, axis=1).std(1), atol=2e-3)


def test_counts_are_shares_of_frames_and_the_first_codebook_comes_first(codec, made):
    counts = made["counts"].reshape(6, codec.n_codebooks, codec.codebook_size)
    np.testing.assert_allclose(counts.sum(2), 1, atol=1e-5)
    np.testing.assert_array_equal(counts[:, 0], made["first_counts"])
    codes = codec.encode(sounds(6)[0])
    assert counts[0, 0, np.bincount(codes[0]).argmax()] == counts[0, 0].max()


def test_all_features_of_clips_at_one_level_are_the_same_however_loud_they_were(codec):
    quiet = [0.1 * sound for sound in sounds(4)]
    loud, soft = (clip_features(given, ["latents", "mel"], codec, level=-26) for given in (sounds(4), quiet))
    for name in loud:
        np.testing.assert_allclose(soft[name], loud[name], atol=0.02)
    assert not np.allclose(clip_features(quiet, ["latents"], codec)["latents"], loud["latents"], atol=0.02)


def test_files_and_samples_give_the_same_features(codec, tmp_path):
    given = sounds(3)
    for number, sound in enumerate(given):
        soundfile.write(tmp_path / f"{number}.wav", sound, RATE, subtype="FLOAT")
    files = [tmp_path / f"{number}.wav" for number in range(3)]
    found, expected = (clip_features(some, {"x": ["latents", "mel"]}, codec)["x"] for some in (files, given))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_band_may_stand_side_by_side_or_come_from_outside(codec, made, tmp_path):
    np.save(tmp_path / "words.npy", np.arange(6.0))
    bands = {"both": ["latents", "latent_changes"], "words": tmp_path / "words.npy", "own": np.eye(6)}
    found = clip_features(sounds(6), bands, codec)
    np.testing.assert_array_equal(found["both"], np.hstack([made["latents"], made["latent_changes"]]))
    assert found["words"].tolist() == [[i] for i in range(6)]
    assert found["own"].shape == (6, 6)


@pytest.mark.parametrize(
    ("bands", "said"),
    [
        (["codes"], "latents.*counts.*embedding"),
        (["loudness"], "latents, latent_changes, counts"),
        ({"x": np.zeros((5, 2))}, "each of 6 clips"),
        ([], "at least one"),
    ],
)
def test_a_band_that_is_none_is_refused(codec, bands, said):
    with pytest.raises(InputError, match=said):
        clip_features(sounds(6), bands, codec)


def test_a_silent_clip_has_no_level():
    with pytest.raises(InputError, match="silent"):
        at_level(np.zeros(100), -26)


def table(folder, rows, header="file\tspeaker"):
    for row in rows:
        (folder / row.split("\t")[0]).touch()
    (folder / "clips.tsv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "clips.tsv"


def test_a_table_names_files_beside_it_and_groups(tmp_path):
    path = table(tmp_path, ["b.wav\tann", "a.wav\tbob", "c.wav\tann"])
    clips = read_clips(path, group_column="speaker")
    assert [file.name for file in clips.files] == ["b.wav", "a.wav", "c.wav"]
    assert clips.group.tolist() == ["ann", "bob", "ann"]
    assert read_clips(path).group is None


def test_one_file_in_two_rows_must_be_one_group(tmp_path):
    path = table(tmp_path, ["a.wav\tann", "a.wav\tann", "b.wav\tbob"])
    assert len(read_clips(path, group_column="speaker")) == 3
    with pytest.raises(InputError, match="in 2 rows"):
        read_clips(path)


def test_what_a_table_lacks_is_said(tmp_path):
    path = table(tmp_path, ["a.wav\t", "b.wav\tbob"])
    with pytest.raises(InputError, match=r"row 1 of clips.tsv has no speaker"):
        read_clips(path, group_column="speaker")
    with pytest.raises(InputError, match="no column 'sound': it has 'file', 'speaker'"):
        read_clips(path, file_column="sound")
    (tmp_path / "b.wav").unlink()
    with pytest.raises(InputError, match=r"row 2 .*'b.wav'"):
        read_clips(path)


NAMES = ("a", "bc", "d")


def test_responses_of_all_kinds_of_files_are_the_same(tmp_path):
    values = np.arange(6.0).reshape(3, 2) / 4
    np.save(tmp_path / "r.npy", values)
    savemat(tmp_path / "r.mat", {"betas": values, "names": np.array(NAMES, object)})
    np.savetxt(tmp_path / "r.csv", values, delimiter=",", header="v1,v2", comments="")
    for name in ("r.npy", "r.mat", "r.csv"):
        np.testing.assert_array_equal(read_responses(tmp_path / name, NAMES).values, values)
    assert read_responses(tmp_path / "r.csv", NAMES).voxels == ("v1", "v2")


def test_a_table_with_names_of_files_is_put_into_the_clips_order(tmp_path):
    (tmp_path / "r.tsv").write_text("file\tv1\tv2\nd\t5\t6\na\t1\t2\nbc\t3\t4\n")
    found = read_responses(tmp_path / "r.tsv", NAMES)
    assert found.values.tolist() == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(InputError, match="no row of 'x'"):
        read_responses(tmp_path / "r.tsv", ("a", "x", "d"))


def test_responses_that_do_not_fit_are_refused(tmp_path):
    np.save(tmp_path / "r.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match="as many columns: turn it"):
        read_responses(tmp_path / "r.npy", NAMES)
    savemat(tmp_path / "r.mat", {"R": np.eye(3), "S": np.eye(3)})
    with pytest.raises(InputError, match="R, S"):
        read_responses(tmp_path / "r.mat", NAMES)
    with pytest.raises(InputError, match="no variable 'T'"):
        read_responses(tmp_path / "r.mat", NAMES, variable="T")


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (3,)])
def test_cell_arrays_of_text_are_lists_whichever_way_they_lie(tmp_path, shape):
    savemat(tmp_path / "x.mat", {"names": np.array(["a", "", "bc"], object).reshape(shape)})
    assert read_mat(tmp_path / "x.mat")["names"] == ["a", "", "bc"]


def test_a_file_of_matlab_7_3_says_what_to_do(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 9)
    with pytest.raises(InputError, match="-v7"):
        read_mat(tmp_path / "x.mat")
