"""The scorecard, on a tiny codec whose answers are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import false_discovery_control, pearsonr, ttest_1samp

from giblet.codec import load_codec
from giblet.errors import InputError
from giblet.evaluation.compared import compare
from giblet.evaluation.encoding import score_encoding
from giblet.evaluation.group_scorecard import group_scorecard
from giblet.evaluation.score import FREQUENT, MEAN, Null, Score
from giblet.evaluation.scorecard import Scorecard
from giblet.evaluation.scores import score_codes
from giblet.statistics.estimates import Chance, Estimate, ScoredTRs
from giblet.timing import group_codes_by_tr

TR = 0.75
"""Short, so that a minute of speech holds blocks and shifts."""


@pytest.fixture(scope="module")
def codec():
    return load_codec("bundled", device="cpu")


@pytest.fixture(scope="module")
def codes(codec, speech):
    return group_codes_by_tr(codec.encode(speech[: 30 * 24_000]), tr=TR, frame_rate=75)


@pytest.fixture(scope="module")
def parts(codes):
    """A quarter of a minute to take nulls from, a quarter to be predicted."""
    return codes[:20], codes[20:]


@pytest.fixture(scope="module")
def spoiled(parts):
    """Half of the TRs predicted right, half wrong."""
    truth = parts[1]
    predicted = truth.copy()
    predicted[::2] = (predicted[::2] + 1) % 1024
    return predicted


@pytest.fixture(scope="module")
def spoiled_scores(parts, spoiled, codec):
    return score_codes(parts[1], spoiled, parts[0], codec, TR)


def by_name(scores):
    return Scorecard({}, tuple(scores)).score


def test_accuracy_is_the_share_of_right_codes_and_the_majority_comes_from_training(parts, spoiled, spoiled_scores):
    train, truth = parts
    one = by_name(spoiled_scores.scores)("accuracy, codebook 1")
    assert one.reconstruction.value == pytest.approx((truth[:, 0] == spoiled[:, 0]).mean())
    frequent = np.bincount(train[:, 0].ravel()).argmax()
    assert one.nulls[FREQUENT].score.value == pytest.approx((truth[:, 0] == frequent).mean())
    assert one.nulls[FREQUENT].margin.value == pytest.approx(one.reconstruction.value - one.nulls[FREQUENT].score.value)


def test_latent_and_mel_correlation_are_scipys_over_all_values(parts, spoiled, spoiled_scores, codec):
    truth = parts[1]

    def latents(x):
        return np.stack([codec.latents(one) for one in x])

    one = by_name(spoiled_scores.scores)("latent r")
    oracle = pearsonr(latents(truth).ravel(), latents(spoiled).ravel()).statistic
    assert one.reconstruction.value == pytest.approx(oracle, abs=1e-5)
    over_time = by_name(spoiled_scores.scores)("latent r over time")
    a, b = latents(truth).mean(2), latents(spoiled).mean(2)
    each = [pearsonr(a[:, d], b[:, d]).statistic for d in range(a.shape[1]) if np.ptp(a[:, d]) > 1e-6]
    assert over_time.reconstruction.value == pytest.approx(np.mean(each), abs=1e-4)


def test_a_perfect_prediction_is_right_everywhere_and_above_every_null(parts, codec):
    train, truth = parts
    scores = score_codes(truth, truth.copy(), train, codec, TR).scores
    for one in scores:
        if one.name == "SI-SDR, dB":
            assert one.reconstruction.value is None  # infinite: the same sound
        elif one.name == "level error, dB":
            assert one.reconstruction.value == pytest.approx(0, abs=1e-6)
        else:
            assert one.reconstruction.value == pytest.approx(1.0, abs=1e-3), one.name


@pytest.mark.parametrize("null", [MEAN, FREQUENT])
def test_the_nulls_are_not_above_themselves_and_have_no_correlation_over_time(parts, codec, null):
    from giblet.evaluation.reconstruction import mean_latent_codes, most_frequent_codes

    train, truth = parts
    of = mean_latent_codes(train, codec) if null == MEAN else most_frequent_codes(train, 1024)
    constant = np.ascontiguousarray(np.broadcast_to(of[None, :, None], truth.shape)).astype(np.int32)
    get = by_name(score_codes(truth, constant, train, codec, TR).scores)
    for name in ("latent r", "mel r", "accuracy, codebook 1"):
        one = get(name)
        assert one.nulls[null].margin.value == pytest.approx(0, abs=1e-9)
        assert not one.above_nulls
    over_time = get("latent r over time")
    assert over_time.reconstruction.value is None
    assert "constant" in over_time.reconstruction.why or "never changes" in over_time.reconstruction.why
    assert over_time.above_nulls is None


def test_the_ceiling_is_measured_against_the_film_where_it_is_given(parts, spoiled, codec, speech):
    train, truth = parts
    start = round(len(train) * TR * 24_000)
    original = speech[start:]
    scored = score_codes(truth, spoiled, train, codec, TR, original=original)
    scores, notes = scored.scores, scored.notes
    one = by_name(scores)("mel r")
    assert one.reconstruction.value < one.ceiling < 1
    late = by_name(score_codes(truth, spoiled, train, codec, TR, original=speech[: 30 * 24_000]).scores)("mel r")
    assert late.ceiling < one.ceiling - 0.1  # another place in the film
    assert not any("compared with that of the true codes" in note for note in notes)


def test_silence_is_counted_and_accuracy_without_it_is_told(codec, speech):
    quiet = speech[: 30 * 24_000].copy()
    quiet[21 * 24_000 : 27 * 24_000] = 0
    codes = group_codes_by_tr(codec.encode(quiet), tr=TR, frame_rate=75)
    original = quiet[18 * 24_000 :]
    notes = score_codes(codes[24:], codes[24:].copy(), codes[:20], codec, TR, original=original).notes
    told = [note for note in notes if "silent" in note]
    assert len(told) == 1 and told[0].startswith("8 of 16 TRs are silent")


def test_short_parts_have_no_intervals_and_say_so(parts, codec):
    train, truth = parts
    scored = score_codes(truth[:8], truth[:8].copy(), train, codec, TR)
    scores, notes = scored.scores, scored.notes
    assert by_name(scores)("accuracy, codebook 1").reconstruction.low is None
    assert any("no intervals" in note for note in notes)
    assert any(note.startswith("no p") for note in notes)


def test_the_shifted_null_tells_a_prediction_in_its_place_from_the_same_elsewhere():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((120, 5, 3))
    trs = ScoredTRs.of(120, 1.5)
    right = compare("r", truth, truth + rng.standard_normal(truth.shape), {}, trs)
    elsewhere = compare("r", truth, np.roll(truth, 30, axis=0), {}, trs)
    for one, other in zip(right, elsewhere, strict=True):
        assert one.above_nulls and one.shifted.p < 0.05
        assert not other.above_nulls and other.shifted.p > 0.05


def test_a_prediction_that_is_the_same_for_every_tr_has_no_correlation_over_time(parts, codec):
    """Its sound differs a little from TR to TR, as the codec begins somewhere: that is not the prediction's doing."""
    train, truth = parts
    constant = np.ascontiguousarray(np.broadcast_to(train[5, :, 7][None, :, None], truth.shape))
    found = by_name(score_codes(truth, constant, train, codec, TR).scores)
    for name in ("latent r over time", "mel r over time"):
        one = found(name)
        assert one.reconstruction.value is None and "never changes" in one.reconstruction.why and not one.above_nulls
        assert all(null.score.value is None and null.margin is None for null in one.nulls.values())
    assert found("mel r").reconstruction.value > 0  # pooled, it has the spectrum of speech
    own = by_name(score_codes(truth, truth.copy(), train, codec, TR).scores)("mel r over time")
    assert own.reconstruction.value == pytest.approx(1) and set(own.nulls) == {MEAN, FREQUENT}
    assert all(null.score.value is None for null in own.nulls.values())


def test_the_scorecard_is_json_and_a_table(spoiled_scores):
    scores, notes = spoiled_scores.scores, spoiled_scores.notes
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 4))
    encoding = score_encoding(x, x + rng.standard_normal(x.shape), ScoredTRs.of(120, 1.5))
    card = Scorecard.of({"split": "test"}, scores, encoding, notes)
    said = json.loads(json.dumps(card.as_dict(), allow_nan=False))
    assert [one["name"] for one in said["scores"]][:2] == ["accuracy, codebook 1", "accuracy, codebook 2"]
    assert said["encoding"]["p"] < 0.05
    lines = card.table().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(scores) + 1
    with pytest.raises(InputError, match="there is no score 'loudness'"):
        card.score("loudness")


def test_a_null_that_scores_higher_is_not_passed_over_where_the_part_is_too_short_for_intervals():
    """Rotations alone do not make a result of what the training mean does better: 70 TRs, no interval, p .0001."""
    better = Null(Estimate(0.53), Estimate(0.47 - 0.53))
    worse = Null(Estimate(0.45), Estimate(0.47 - 0.45))
    rotated = Chance(0.46, 0.0001, 63)
    assert Score("mel r", Estimate(0.47), None, {MEAN: worse, FREQUENT: better}, rotated).above_nulls is False
    assert Score("mel r", Estimate(0.47), None, {MEAN: worse, FREQUENT: worse}, rotated).above_nulls is True
    without_margins = {name: replace(null, margin=None) for name, null in ((MEAN, worse), (FREQUENT, better))}
    assert Score("mel r", Estimate(0.47), None, without_margins, rotated).above_nulls is False  # means of a group
    untested = Score("SI-SDR, dB", Estimate(-5.0), None, {MEAN: Null(Estimate(-9.0), Estimate(4.0))})
    assert untested.above_nulls is None


def test_p_values_of_a_card_are_corrected_for_their_number():
    p = [0.004, 0.03, 0.04, 0.2]
    scores = [Score(f"s{k}", Estimate(0.1), shifted=Chance(0.0, one, 100)) for k, one in enumerate(p[:3])]
    silent = Score("too short", Estimate(0.1), shifted=Chance(None, None, 0))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 4))
    encoding = score_encoding(x, x + rng.standard_normal(x.shape), ScoredTRs.of(120, 1.5))
    card = Scorecard.of({}, [*scores, silent], encoding)
    assert card.encoding is not None
    wanted = false_discovery_control([*p[:3], encoding.chance.p])
    found = [one.shifted.q for one in card.scores[:3]] + [card.encoding.chance.q]
    np.testing.assert_allclose(found, wanted)
    assert [one.above_nulls for one in card.scores] == [True, True, True, None]
    assert any("4 tests" in note for note in card.notes)
    alone = Scorecard.of({}, [Score("s", Estimate(0.1), shifted=Chance(0.0, 0.03, 100))])
    assert alone.scores[0].shifted.q == 0.03 and not alone.notes


def test_a_decoder_that_collapsed_is_above_chance_in_no_codebook(codes, codec):
    """At 189995b its p was .05 or less in 17 to 35 % of codebooks, as equal means were summed in two orders."""
    truth, train = np.concatenate([codes, codes[::-1], codes[10:]]), codes[:20]
    constant = np.ascontiguousarray(np.broadcast_to(train[3, :, 5][None, :, None], truth.shape))
    found = score_codes(truth, constant, train, codec, TR).scores
    p = [one.shifted.p for one in found if one.name.startswith("accuracy") or one.name in ("latent r", "mel r")]
    assert p == [1.0] * 10


def listeners(rng, n_subjects, n_trs, shared):
    """BOLD of subjects who share this part of their variance, which the prediction says nothing of."""

    def slow(columns):
        x = lfilter([1], [1, -0.7], rng.standard_normal((n_trs + 100, columns)), axis=0)[100:]
        return x / x.std(axis=0)

    common = slow(1)
    return [np.sqrt(shared) * common + np.sqrt(1 - shared) * slow(1) for _ in range(n_subjects)], slow(1)


@pytest.mark.parametrize("shared", [0.0, 0.3])
def test_the_mean_over_subjects_is_tested_by_joint_rotations(shared):
    """People who saw one film agree: a t-test over subjects then takes noise for signal, joint rotations do not."""
    rng, joint, t_test = np.random.default_rng(3), [], []
    for _ in range(300):
        brains, prediction = listeners(rng, 12, 150, shared)
        encodings = [score_encoding(bold, prediction, ScoredTRs.of(150, 1.5)) for bold in brains]
        cards = [Scorecard.of({"subject": str(k)}, [], one) for k, one in enumerate(encodings)]
        joint.append(group_scorecard(cards).encoding.chance.p)
        t_test.append(ttest_1samp([np.arctanh(one.mean.value) for one in encodings], 0, alternative="greater").pvalue)
    assert 0.025 <= np.mean(np.array(joint) <= 0.05) <= 0.075
    assert (np.mean(np.array(t_test) <= 0.05) > 0.12) == (shared > 0)


def test_a_group_is_the_mean_of_its_subjects_and_says_where_it_cannot_be_tested():
    rng = np.random.default_rng(4)
    brains, prediction = listeners(rng, 3, 150, 0.2)
    encodings = [score_encoding(bold + prediction, prediction, ScoredTRs.of(150, 1.5)) for bold in brains]
    cards = [Scorecard.of({"subject": name, "tr": 1.5}, [], one) for name, one in zip("abc", encodings, strict=True)]
    group = group_scorecard(cards)
    assert group.encoding.mean.value == pytest.approx(np.mean([one.mean.value for one in encodings]))
    assert group.encoding.mean.low < group.encoding.mean.value < group.encoding.mean.high
    assert group.encoding.chance.p < 1e-4
    assert (group.about["subjects"], group.about["tr"]) == (["a", "b", "c"], 1.5)
    short = score_encoding(brains[0][:100] + prediction[:100], prediction[:100], ScoredTRs.of(100, 1.5))
    mixed = group_scorecard([cards[0], Scorecard.of({"subject": "d"}, [], short)])
    assert mixed.encoding.chance.p is None
    assert any("other numbers of TRs" in note for note in mixed.notes)
    with pytest.raises(InputError, match="at least two subjects"):
        group_scorecard(cards[:1])


def test_the_page_says_whose_scores_these_are_and_how_they_were_made(spoiled_scores):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 4))
    encoding = score_encoding(x, x + rng.standard_normal(x.shape), ScoredTRs.of(120, 1.5))
    about = {"subject": "01", "split": "test", "n_trs": 120, "tr": 1.5, "high_pass": 1 / 128}
    page = Scorecard.of(about, spoiled_scores.scores, encoding, spoiled_scores.notes).markdown()
    assert page.startswith("# test part, 01\n")
    for said in ("120 of 1.5 s", "slower than 128 s", "120 rotations", "of the configuration"):
        assert said in page, said


# --- how a scorecard looks in a notebook


def test_a_scorecard_as_a_table_holds_its_figures(spoiled_scores):
    card = Scorecard.of({"subject": "01", "split": "test"}, spoiled_scores.scores, None, spoiled_scores.notes)
    table = card.to_pandas()
    assert list(table.index) == [one.name for one in card.scores]
    for one in card.scores:
        row = table.loc[one.name]
        kept = [one.reconstruction.value, one.reconstruction.low, one.reconstruction.high, one.ceiling]
        kept += [one.nulls[name].score.value if name in one.nulls else None for name in (MEAN, FREQUENT)]
        kept += [None] * 3 if one.shifted is None else [one.shifted.mean, one.shifted.p, one.shifted.q]
        names = ["reconstruction", "low", "high", "ceiling", MEAN, FREQUENT, "rotated", "p", "q"]
        np.testing.assert_array_equal(row[names].to_numpy(float), np.array(kept, float), err_msg=one.name)
        assert row["above_nulls"] is one.above_nulls or (one.above_nulls is None and row.isna()["above_nulls"])


def test_the_encoding_is_the_last_row_of_the_table():
    rng = np.random.default_rng(0)
    bold = rng.standard_normal((200, 4))
    encoding = score_encoding(bold, bold + rng.standard_normal((200, 4)), ScoredTRs.of(200, 1.5))
    card = Scorecard.of({"subject": "01"}, [], encoding)
    row = card.to_pandas().loc["encoding r"]
    assert (row["reconstruction"], row["low"]) == (encoding.mean.value, encoding.mean.low)
    assert (row["p"], row["above_nulls"]) == (encoding.chance.p, True)


def test_the_html_of_a_scorecard_escapes_names_and_shows_what_the_table_shows(spoiled_scores):
    card = Scorecard.of({"subject": "<b>", "split": "test"}, spoiled_scores.scores)
    page = card._repr_html_()
    assert "<b>" not in page and "test part, &lt;b&gt;" in page
    assert page.count("<tr>") == len(card.scores) + 1
    assert f"<td>{card.scores[0].reconstruction}</td>" in page
    assert repr(card).startswith("<Scorecard of <b>: ") and "scores above all nulls>" in repr(card)
