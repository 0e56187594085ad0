"""Each TR is scored once, whatever the window; each window is seen once an epoch, whatever the number of processes."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import default_collate

from giblet.data.dataset.series import Series
from giblet.data.dataset.windows import Recording
from giblet.models import Modality, ModelSettings, MultimodalAutoencoder
from giblet.training.scored_windows import Schedule, ScoredWindows


def recording(lengths, name="01", n_voxels=2) -> Recording:
    n = sum(lengths)
    values = np.arange(n, dtype=np.float32)[:, None]
    series = {"bold": Series(np.tile(values, n_voxels)), "text": Series(values)}
    return Recording.of(name, series, tr=1.5, run=np.repeat(np.arange(1, len(lengths) + 1), lengths))


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=4),
    window=st.integers(1, 30),
    context=st.integers(0, 22),
    lead=st.integers(0, 8),
)
def test_each_tr_is_the_own_of_one_window(lengths, window, context, lead):
    one = recording(lengths)
    trs = np.arange(len(one.run))
    windows = ScoredWindows([one], {"01": trs}, window=window, context=context, lead=lead)
    seen = []
    for i in range(len(windows)):
        sample = windows[i]
        assert len(sample["own"]) == context + window + lead
        seen += sample["data"]["text"][sample["own"], 0].int().tolist()
    assert sorted(seen) == trs.tolist()
    assert not windows[~0]["own"].any() and torch.equal(windows[~0]["data"]["bold"], windows[0]["data"]["bold"])


def test_the_count_of_scorable_trs_is_what_the_model_scores():
    model = MultimodalAutoencoder(
        ModelSettings.make(features=4, bottleneck=4, rank=4), {"text": Modality("vector", (1,))}, {"01": 2}
    )
    one = recording([70, 25, 40])
    begins = {"01": np.r_[np.arange(70), 9 + np.arange(25), np.arange(40)]}  # the second run began before the scan
    windows = ScoredWindows(
        [one], {"01": np.r_[0:95, 100:135]}, window=15, context=model.context_trs, lead=model.lead_trs,
        stimulus_trs=begins,
    )  # fmt: skip
    batch = default_collate([windows[i] for i in range(len(windows))])
    scored = {k: int((v & batch["own"]).sum()) for k, v in model.scored_rows(batch["mask"], batch["trs"]).items()}
    # 70 from the start of the film, 25 - 22 whose context is in the scan, 35 - 22 as TRs 95 to 99 are of another part.
    assert model.context_trs == 22 and windows.scorable == scored
    assert scored == {"bold": 70 + 3 + 13, "decode": 70 + 25 + 35 - 3 * model.lead_trs}


def test_a_window_knows_where_it_comes_from():
    windows = ScoredWindows([recording([30, 30])], {"01": np.arange(60)}, window=10, context=5, lead=2)
    names = [windows.name_of(i) for i in range(len(windows))]
    assert names[0] == "subject 01, run 1, TRs 0 to 16"
    assert names[-1] == "subject 01, run 2, TRs 20 to 29" and windows.name_of(~0) == names[0]


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (3, 2), (1, 4)])
def test_processes_share_each_step_between_them(world, accumulate):
    both = [recording([300], "01"), recording([190], "02", 3)]
    windows = ScoredWindows(both, {r.subject: np.arange(len(r.run)) for r in both}, window=10, context=5, lead=2)
    ranks = [Schedule(windows, 4, 7, rank=r, world=world, accumulate=accumulate) for r in range(world)]
    alone = Schedule(windows, 4, 7)
    n = alone.steps_per_epoch
    seen = []
    for number, (whole, *shares) in enumerate(zip(alone.steps(0, n), *(r.steps(0, n) for r in ranks), strict=True)):
        wanted = whole[0]
        got = [i for pieces in shares for i in chain(*pieces) if i >= 0]
        assert sorted(got) == sorted(wanted), number
        assert all(pieces and all(pieces) for pieces in shares)  # no process stands idle: the others would wait for it
        assert len({windows.subject_of(i) for i in wanted}) == 1
        seen += got
    assert sorted(seen) == list(range(len(windows)))
    val = [chain(*r.in_order()) for r in ranks]
    assert sorted(chain(*val)) == list(range(len(windows)))


def test_the_order_goes_on_anywhere_and_differs_between_epochs():
    windows = ScoredWindows([recording([300])], {"01": np.arange(300)}, window=10, context=5, lead=2)
    schedule = Schedule(windows, 4, 7)
    everything = list(schedule.steps(0, 20))
    assert len(everything) == 20
    for first in (0, 3, schedule.steps_per_epoch, 13):
        assert list(schedule.steps(first, 20)) == everything[first:]
    n = schedule.steps_per_epoch
    assert everything[:n] != everything[n : 2 * n] and list(Schedule(windows, 4, 8).steps(0, 20)) != everything
