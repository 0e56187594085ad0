"""Texts named for decoded vectors, beside what they are near to anyway."""

import numpy as np
import pandas as pd
import pytest

from giblet.data.text import Corpus, TextProcessor
from giblet.evaluation.predictions import Stretch
from giblet.modalities import TEXT
from giblet.pipeline.predicted_files import StretchFiles, Texts, write_text


def test_each_text_stands_beside_its_mean_cosine_with_all_decoded_vectors(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    vectors, decoded = rng.standard_normal((4, 6)), rng.standard_normal((5, 6))
    words = ("one", "two", "three", "four")
    monkeypatch.setattr(TextProcessor, "__init__", lambda self, tr, model: None)
    monkeypatch.setattr(TextProcessor, "corpus", lambda self, texts: Corpus(tuple(texts), vectors))
    none = np.zeros(0)
    stretch = Stretch(0, 5, 1, none, none, none, {TEXT: decoded}, {}, {})
    (path,) = write_text(StretchFiles(stretch, tmp_path / "sub-01", 300.0, 1.5, {}), Texts("model", words))
    table = pd.read_csv(path, sep="\t")
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (decoded, vectors)]
    cosines = unit[0] @ unit[1].T
    assert list(table.columns) == ["onset", "rank", "text", "cosine", "mean_cosine"]
    assert list(table.onset) == list(np.repeat(300 + 1.5 * np.arange(5), 3))
    for row in table.itertuples():
        k, text = round((row.onset - 300) / 1.5), words.index(row.text)
        assert row.cosine == pytest.approx(cosines[k, text], abs=1e-4)
        assert row.cosine == pytest.approx(np.sort(cosines[k])[-row.rank], abs=1e-4)
        assert row.mean_cosine == pytest.approx(cosines[:, text].mean(), abs=1e-4)
