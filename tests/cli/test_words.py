"""``giblet align-words``: one line, or JSON, and errors in the words of the command line."""

import json

import pytest
import soundfile

pytest.importorskip("pocketsphinx")
pytest.importorskip("praatio")

from tests.alice_clip import RATE, needs_clip, sound, spoken

pytestmark = needs_clip


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "story.wav"
    soundfile.write(path, sound()[: round(8.4 * RATE)], RATE)
    words, onsets = spoken()
    (tmp_path / "story.txt").write_text(" ".join(word for word, t in zip(words, onsets, strict=True) if t < 8.3))
    return path


def test_words_are_aligned_and_extracted_from_the_shell(giblet, film, tmp_path):
    out = tmp_path / "out"
    status, said, _ = giblet("align-words", film, film.with_suffix(".txt"), "-o", out)
    lines = said.splitlines()
    assert status == 0 and lines[0].startswith(f"{out / 'story_words.tsv'}: ") and "of 26 words in 8.400 s" in lines[0]
    assert sorted(path.name for path in out.iterdir()) == [
        "story_phonemes.tsv", "story_words.TextGrid", "story_words.json", "story_words.tsv",
    ]  # fmt: skip
    status, said, _ = giblet("align-words", film, film.with_suffix(".txt"), "-o", out, "--json")
    about = json.loads(said)
    assert (about["status"], about["words"], about["unheard"]) == ("up to date", 26, 0)
    for name in ("story_words.tsv", "story_words.TextGrid"):
        status, said, _ = giblet(
            "extract", out / name, "--text", "--text-model", "none", "--tr", 2, "-o", out, "--overwrite"
        )
        assert status == 0 and "word_rate (5,)" in said


def test_bad_input_is_one_line_with_the_options_of_the_shell(giblet, film, tmp_path):
    status, _, said = giblet("align-words", film)
    assert status == 2 and "a transcript or --asr-model says which words are spoken, and neither is given" in said
    other = tmp_path / "other.txt"
    other.write_text("the quick brown fox jumps over the lazy dog and runs away from here")
    status, _, said = giblet("align-words", film, other, "-o", tmp_path / "out")
    assert status == 2 and "other.txt does not fit story.wav" in said and "lower --min-share" in said
    assert len(said.strip().splitlines()) == 1 and not (tmp_path / "out").exists()
    grid = tmp_path / "a.TextGrid"
    grid.write_text("hello")
    status, _, said = giblet("extract", grid, "--text", "--text-model", "none", "--tr", 2, "-o", tmp_path)
    assert status == 2 and "cannot read a.TextGrid" in said
