"""Windows side by side: every word is heard once, what is heard at their ends is heard again, time grows linearly."""

from dataclasses import replace

import numpy as np
import pytest

from giblet.data.words.alignment.recogniser import HeardWord
from giblet.data.words.alignment.stretch import FRAMES_PER_SECOND, SAMPLE_RATE
from giblet.data.words.alignment.windows import FAR_AHEAD, WORDS_AHEAD, place_words


class Listener:
    """Hears the words that a schedule says are spoken, in a sound whose samples are their own seconds."""

    def __init__(self, times: dict[str, float]) -> None:
        self.times, self.calls = times, []

    def hear(self, sound, words, *, jump=False):
        begin, end = float(sound[0]), float(sound[-1])
        self.calls.append((begin, len(words), jump))
        heard = []
        for index, word in enumerate(words):
            start = round((self.times.get(word, -1.0) - begin) * FRAMES_PER_SECOND)
            known = jump or index - (heard[-1].index if heard else -1) < 20  # without a jump, skipping many costs more
            if known and start >= 0 and self.times[word] + 0.3 <= end:
                heard.append(HeardWord(index, start, start + 30, -20.0, ()))
        return heard


def ramp(seconds):
    samples = np.arange(seconds * SAMPLE_RATE, dtype=np.float64) / SAMPLE_RATE
    return [samples[k : k + 10 * SAMPLE_RATE].astype(np.float32) for k in range(0, len(samples), 10 * SAMPLE_RATE)]


def onsets(placement):
    return {word.index: word.window + word.heard.start / FRAMES_PER_SECOND for word in placement.words}


@pytest.mark.parametrize("seconds", [100, 400])
def test_every_word_is_found_once_at_its_time(seconds):
    words = [f"w{k}" for k in range(2 * seconds - 2)]
    times = {word: 0.5 + 0.5 * k for k, word in enumerate(words)}
    listener = Listener(times)
    found = place_words(ramp(seconds), words, listener)
    assert [word.index for word in found.words] == list(range(len(words)))
    assert found.certain_words == len(words) and found.explained == pytest.approx(1)
    for index, onset in onsets(found).items():
        assert onset == pytest.approx(times[words[index]], abs=0.011)
    assert len(listener.calls) <= 1 + seconds / 24
    assert all(n <= WORDS_AHEAD for _, n, _ in listener.calls)


def test_speech_that_begins_late_or_text_that_is_not_spoken_is_no_end():
    words = [f"w{k}" for k in range(700)]
    spoken = words[500:]
    listener = Listener({word: 90 + 0.5 * k for k, word in enumerate(spoken)})
    found = place_words(ramp(200), words, listener)
    assert [word.index for word in found.words] == list(range(500, 700))
    assert any(jump and n > WORDS_AHEAD for _, n, jump in listener.calls) and FAR_AHEAD >= 700


def test_a_text_that_is_never_heard_ends_with_the_sound():
    found = place_words(ramp(100), ["never"] * 50, Listener({}))
    assert found.words == [] and found.certain_words == 0 and found.explained == 0
    assert found.duration == pytest.approx(100)


class Babble(Listener):
    """Hears other speech wherever no word of the schedule is spoken."""

    def hear(self, sound, words, *, jump=False):
        begin, end = float(sound[0]), float(sound[-1])
        heard = super().hear(sound, words, jump=jump)
        first = begin + heard[0].start / FRAMES_PER_SECOND if heard else end
        n = int((min(first, end) - begin) / 0.3)
        return [HeardWord(None, 30 * k, 30 * k + 30, -25.0, ()) for k in range(n)] + heard


def test_a_search_is_given_up_when_speech_has_passed_without_the_text():
    listener = Babble({})
    found = place_words(ramp(900), ["never"] * 1500, listener, patience=90)
    assert found.given_up and found.explained == 0
    assert 90 < found.duration < 135 and len(listener.calls) <= 8


def test_silence_does_not_count_against_a_text():
    words = [f"w{k}" for k in range(200)]
    listener = Listener({word: 290 + 0.5 * k for k, word in enumerate(words)})
    found = place_words(ramp(400), words, listener, patience=90)
    assert not found.given_up and found.certain_words == 200


def test_speech_before_the_text_is_no_reason_to_give_up_while_there_is_patience():
    words = [f"w{k}" for k in range(200)]
    listener = Babble({word: 80 + 0.5 * k for k, word in enumerate(words)})
    assert place_words(ramp(200), words, listener, patience=60).given_up
    found = place_words(ramp(200), words, listener, patience=100)
    assert not found.given_up and found.certain_words == 200


def test_a_word_that_was_put_back_stands_for_itself_alone():
    class Lossy(Listener):
        def hear(self, sound, words, *, jump=False):
            return [replace(one, put_back=one.index == 2) for one in super().hear(sound, words, jump=jump)]

    words = [f"w{k}" for k in range(8)]
    found = place_words(ramp(10), words, Lossy({word: 0.5 + 0.5 * k for k, word in enumerate(words)}))
    assert [word.certain for word in found.words] == [False, False, False, True, True, True, True, True]
