"""Commands with workers, as a user meets them."""

import json

import pytest

from tests.encoding_study import make_encoding_study
from tests.words import BARE, words

pytest.importorskip("distributed", reason="the extra cluster is not installed")


def test_a_batch_says_what_came_of_each_film_and_its_status_that_some_failed(giblet, tmp_path):
    table, bad = words(tmp_path), tmp_path / "bad.tsv"
    bad.write_text("no\ttable\n")
    argv = ["extract", "--text", table, bad, *BARE, "-o", tmp_path / "out", "--workers", 1]
    status, said, err = giblet(*argv)
    assert status == 1, err  # not 2: that is bad use, and nothing was done
    assert "2 films: 1 written, 1 failed\n" in said and f"  {table}  written  7 TRs" in said
    assert err.startswith("giblet: error: ") and len(err.splitlines()) == 1 and "bad.tsv" in err
    status, said, err = giblet(*argv[:2], table, *argv[4:], "--json")
    assert (status, err) == (0, "")
    assert [one["status"] for one in json.loads(said)] == ["up to date"]


def test_wrong_use_is_told_in_the_words_of_the_command(giblet, tmp_path):
    table = words(tmp_path)
    wrong = [
        (["--retries", 2], "--retries is 2, but there are no workers that could die: add --workers or --scheduler"),
        (["--workers", 0], "--workers is 0: 1 or more are needed"),
        (["--workers", 2, "--scheduler", "tcp://a:1"], "--workers is 2; --scheduler is 'tcp://a:1': give one"),
    ]
    for options, expected in wrong:
        status, said, err = giblet("extract", "--text", table, *BARE, "-o", tmp_path / "out", *options)
        assert (status, said) == (2, "") and expected in err, err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_encode_has_workers_and_predictions_have_none(giblet, tmp_path):
    study = make_encoding_study(tmp_path)
    config = study.config(tmp_path / "encode.yaml", study.settings(tmp_path / "out", 1, 2))
    status, said, err = giblet("encode", config, "--workers", 2)
    assert (status, err) == (0, ""), err
    assert said.count("(written)") == 2
    status, _, err = giblet("encode", config, "--features", study.other, "--workers", 2)
    assert status == 2 and "--workers and --scheduler are for fits" in err
