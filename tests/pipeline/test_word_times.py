"""Words are found where people heard them, doubtful ones are marked, and a text of another recording is refused."""

import csv
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("pocketsphinx")
pytest.importorskip("praatio")

import giblet as gb
from giblet.data.media import AudioReader
from giblet.data.words.alignment.timed import time_words
from giblet.data.words.subtitles import read_segments
from giblet.errors import AlignmentError, InputError
from tests.alice_clip import CLIP, RATE, SHARED, chunks, errors, needs_clip, sound, spoken

pytestmark = needs_clip

OTHER = [
    "house", "water", "running", "seventeen", "philosophy", "green", "mountain", "window", "telephone", "surprise",
    "orange", "castle", "walking", "never", "often", "market",
]  # fmt: skip
"""Words that stand in for those of the transcript."""


@pytest.fixture(scope="module")
def clip():
    return sound()


@pytest.fixture(scope="module")
def transcript(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("story") / "story.txt"
    path.write_text(" ".join(spoken()[0]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def aligned(transcript):
    return gb.align_words(CLIP, transcript, transcript.parent)


def milliseconds(words, onsets) -> tuple[float, float]:
    """Median and 90th percentile of the errors of onsets."""
    found = 1000 * errors(words, onsets)
    return float(np.median(found)), float(np.percentile(found, 90))


def test_onsets_are_those_that_people_set_by_hand(aligned):
    words, onsets = spoken()
    assert [word.text for word in aligned.words] == words and len(words) == 135
    assert aligned.count("unheard") == 0 and aligned.count("doubtful") <= 7
    median, nine_tenths = milliseconds(aligned.words, onsets)
    assert median <= 15 and nine_tenths <= 40
    assert aligned.share > 0.95
    assert {word.text for word in aligned.words if word.guessed} == {"currants", "happpens"}


def test_words_and_their_phonemes_follow_each_other_without_overlap(aligned):
    times = [time for word in aligned.words for time in (word.onset, word.offset)]
    assert times == sorted(times) and times[0] > 0 and times[-1] < aligned.duration
    for word in aligned.words:
        edges = [word.onset, *(one.offset for one in word.phonemes)]
        assert edges[-1] == word.offset and [one.onset for one in word.phonemes] == edges[:-1]
        assert all(0 <= one.confidence <= 1 for one in word.phonemes)
    eats = aligned.words[-2]
    assert (eats.text, [one.name for one in eats.phonemes]) == ("eats", ["IY", "T", "S"])


def test_extract_reads_each_file_as_the_same_words(aligned, tmp_path):
    table, phonemes, grid, card = aligned.files
    expected = [(word.text, word.onset, word.offset) for word in aligned.words]
    for path in (table, grid):
        assert [(row.text, float(row.onset), float(row.offset)) for row in read_segments(path)] == expected
    assert [row.text for row in read_segments(phonemes)] == [p.name for word in aligned.words for p in word.phonemes]
    features = gb.extract(grid, gb.TextSettings.make(tr=2.0, model=None), tmp_path)
    counts = np.histogram(spoken()[1], bins=2.0 * np.arange(25))[0]
    assert np.corrcoef(features.to_pandas()["word_rate"], counts[: len(features.to_pandas())])[0, 1] > 0.98
    about = json.loads(card.read_text())
    assert about["result"]["words"] == 135 and about["files"] == [path.name for path in aligned.files]


def test_the_same_again_is_read_from_the_files_and_a_changed_file_is_not(aligned, transcript, tmp_path):
    copied = tmp_path / "copy"
    shutil.copytree(transcript.parent, copied)
    again = gb.align_words(CLIP, transcript, copied)
    assert again.status == "up to date" and (again.words, again.share) == (aligned.words, aligned.share)
    assert aligned.status == "written" and again.duration == aligned.duration


def test_another_result_is_not_replaced_without_a_word(aligned, transcript, tmp_path):
    before = aligned.path.read_bytes()
    other = tmp_path / "other.txt"
    other.write_text("Another text.")
    with pytest.raises(InputError, match=r"holds another result .*overwrite=True"):
        gb.align_words(CLIP, other, aligned.path.parent)
    assert aligned.path.read_bytes() == before


def test_the_level_of_the_sound_and_its_chunks_change_nothing(clip):
    words, onsets = spoken()
    first, part = onsets < 8.3, clip[: round(8.4 * RATE)]  # amid a pause
    found = [time_words(given, [w for w, k in zip(words, first, strict=True) if k])[0] for given in (
        chunks(part), chunks(part * np.float32(0.001), 0.7), chunks(part * np.float32(40))
    )]  # fmt: skip
    assert milliseconds(found[0], onsets[first])[1] <= 60
    for other in found[1:]:
        assert max(abs(a.onset - b.onset) for a, b in zip(found[0], other, strict=True)) <= 0.0101


@pytest.mark.parametrize("n", [3, 40])
def test_a_text_of_another_recording_is_refused_with_the_share_of_its_words(clip, n):
    words = spoken(before=True)[0][100 : 100 + n]
    message = rf"^tale\.txt does not fit film\.mp4: .*its {n} words"
    with pytest.raises(AlignmentError, match=message):
        time_words(chunks(clip), words, names=("film.mp4", "tale.txt"))


def test_few_words_are_found_in_the_sound_that_says_them(clip):
    words, onsets = spoken()
    found, share = time_words([clip[: round((onsets[8] - 0.05) * RATE)]], words[:8])
    assert share == 1.0
    assert milliseconds(found, onsets[:8])[1] <= 60


def test_words_in_another_script_have_no_time_and_many_are_refused(clip):
    words, _ = spoken()
    part, said = clip[: 8 * RATE], [*words[:5], "привет", *words[5:20]]
    found, _ = time_words([part], said)
    assert [word.text for word in found if word.status == "unheard"] == ["привет"]
    with pytest.raises(InputError, match="are in a script that the English dictionary does not know"):
        time_words([part], ["привет", "мир", "Alice"])


def test_silence_and_no_sound_refuse_every_text(tmp_path):
    with pytest.raises(AlignmentError, match=r"0 of its 2 words \(0%\)"):
        time_words([np.zeros(3 * RATE, np.float32)], ["hello", "world"])
    silent = tmp_path / "short.wav"
    soundfile.write(silent, np.zeros(RATE // 10, np.float32), RATE)
    (tmp_path / "a.txt").write_text("hello world")
    with pytest.raises(AlignmentError, match=r"a\.txt does not fit short\.wav"):
        gb.align_words(silent, tmp_path / "a.txt", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "short.wav"]


def test_what_is_given_must_say_which_words_are_spoken(transcript, tmp_path):
    for given in ({}, {"transcript": transcript, "asr_model": "x"}):
        with pytest.raises(InputError, match="a transcript or `asr_model` says which words are spoken"):
            gb.align_words(CLIP, out_dir=tmp_path, **given)
    with pytest.raises(InputError, match="min_share is 2; expected a share from 0 to 1"):
        gb.align_words(CLIP, transcript, tmp_path, min_share=2)


@pytest.mark.long
@pytest.mark.parametrize("many", [4, 12])
def test_many_times_the_clip_take_as_many_times_as_long_with_the_same_figures(clip, many):
    import time

    words, onsets = spoken()
    seconds = []
    for times in (1, many):
        began = time.process_time()
        found, share = time_words(chunks(np.tile(clip, times)), words * times)
        seconds.append((time.process_time() - began) / times)
        true = np.concatenate([onsets + k * len(clip) / RATE for k in range(times)])
        median, nine_tenths = milliseconds(found, true)
        assert share > 0.9 and not any(word.status == "unheard" for word in found)
        assert median <= 15 and nine_tenths <= 40
    assert seconds[1] < 1.5 * seconds[0]


@pytest.mark.slow
def test_replaced_words_are_marked_and_the_others_keep_their_times(clip):
    """15 % of the words are others."""
    words, onsets = spoken()
    found_errors, n_wrong, n_right_marked, n_right = [], 0, 0, 0
    for seed in range(4):
        rng = random.Random(seed)
        wrong = np.array([rng.random() < 0.15 for _ in words])
        given = [rng.choice(OTHER) if w else word for word, w in zip(words, wrong, strict=True)]
        found, _ = time_words(chunks(clip), given)
        unmarked = [word.text for word, w in zip(found, wrong, strict=True) if w and word.status == "ok"]
        assert not unmarked, (seed, unmarked)
        n_wrong += wrong.sum()
        right = [word for word, w in zip(found, wrong, strict=True) if not w]
        n_right, n_right_marked = n_right + len(right), n_right_marked + sum(word.status != "ok" for word in right)
        found_errors.append(errors(right, onsets[~wrong]))
    assert n_wrong > 60
    assert n_right_marked < 0.12 * n_right
    assert np.percentile(np.concatenate(found_errors), 90) <= 0.130


@pytest.mark.slow
def test_words_keep_their_times_where_others_are_missing_in_the_text(clip):
    """30 % of the words are left out."""
    words, onsets = spoken()
    found_errors = []
    for seed in range(4):
        rng = random.Random(seed)
        kept = np.array([rng.random() > 0.3 for _ in words])
        found, _ = time_words(chunks(clip), [word for word, k in zip(words, kept, strict=True) if k])
        assert sum(word.onset is not None for word in found) > 0.9 * len(found)
        found_errors.append(errors(found, onsets[kept]))
    assert np.percentile(np.concatenate(found_errors), 90) <= 0.130


@pytest.mark.slow
@pytest.mark.parametrize(
    "n", [pytest.param(n, marks=[] if n in (1, 40) else pytest.mark.long) for n in (1, 2, 3, 5, 8, 15, 40, 200)]
)
def test_texts_of_another_recording_are_refused_however_short(clip, n):
    words = spoken(before=True)[0]
    rng = random.Random(n)
    for _ in range(2 if n < 40 else 1):
        start = rng.randrange(len(words) - n)
        with pytest.raises(AlignmentError, match="does not fit"):
            time_words(chunks(clip), words[start : start + n])
        begin = rng.randrange(len(clip) - 6 * RATE)
        with pytest.raises(AlignmentError, match="does not fit"):
            time_words([clip[begin : begin + round(RATE * min(6, 0.35 * n + 0.5))]], words[start : start + n])


@pytest.mark.long
def test_a_long_text_of_another_recording_is_refused_before_the_sound_ends(clip):
    far = []
    with pytest.raises(AlignmentError, match=r"its 1500 words account for [0-9]% of the speech in the first 1[0-9]+ s"):
        time_words(
            chunks(np.tile(clip, 12)), spoken(before=True)[0][:1500], total=12 * len(clip) / RATE / 2,
            progress=lambda done, of: far.append(done),
        )  # fmt: skip
    assert 90 < far[-1] < 160


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["replaced", pytest.param("missing", marks=pytest.mark.long)])
def test_a_right_text_with_many_faults_is_not_refused_early(clip, fault):
    """Where the text leaves no room for anything else, so that it must be found in the first 90 s of speech."""
    words, rng = spoken()[0] * 3, random.Random(5)
    wrong = [rng.random() < (0.15 if fault == "replaced" else 0.3) for _ in words]
    if fault == "replaced":
        given = [rng.choice(OTHER) if w else word for word, w in zip(words, wrong, strict=True)]
    else:
        given = [word for word, w in zip(words, wrong, strict=True) if not w]
    found, share = time_words(chunks(np.tile(clip, 3)), given, total=1.0)
    right = [word for word, w in zip(found, wrong, strict=True) if not w] if fault == "replaced" else found
    assert share > 0.6 and sum(word.onset is not None for word in right) > 0.8 * len(right)


@pytest.mark.slow
@pytest.mark.parametrize("music", [
    *(pytest.param(name, marks=pytest.mark.long) for name in ("Karissa_Hobbs", "Kevin_MacLeod")), "sorohanro",
])  # fmt: skip
def test_music_at_10_db_moves_onsets_by_little(clip, music):
    """A song, an orchestra, and a trumpet alone, whose tone is nearest to a voice and which does worst."""
    words, onsets = spoken()
    (path,) = (SHARED / "audio" / "librosa").glob(f"{music}*")
    played = np.resize(np.concatenate(list(AudioReader(path, RATE))), len(clip))
    level = np.sqrt((clip**2).mean() / (played**2).mean() / 10)
    found, _ = time_words(chunks(clip + level * played), words)
    assert sum(word.onset is not None for word in found) >= 0.95 * len(words)
    assert np.percentile(errors(found, onsets), 90) <= 0.060


def test_the_tables_hold_what_the_result_holds(aligned):
    with aligned.path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["status"] for row in rows] == [word.status for word in aligned.words]
    assert [float(row["confidence"]) for row in rows] == [word.confidence for word in aligned.words]
    assert "135 of 135 words" in repr(aligned) and "135" in aligned._repr_html_()
