"""The TR is what somebody said: caller, sidecar, header; a default, another unit and a contradiction are told of."""

import gzip
import json
import logging
import struct

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError

SHAPE = (3, 3, 3)


@pytest.fixture
def scan(tmp_path):
    """Writes a scan with a TR and unit in its header and a sidecar, or a table; loads it. (tr, tr_source)."""
    mask = tmp_path / "mask.nii"
    nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.eye(4)).to_filename(mask)
    values = np.random.default_rng(0).normal(900, 20, (*SHAPE, 8)).astype(np.float32)

    def load(header, unit="sec", sidecar=None, name="sub-3_bold.nii", **options):
        path = tmp_path / name
        beside = tmp_path / "sub-3_bold.json"
        beside.unlink(missing_ok=True)
        if sidecar is not None:
            beside.write_text(sidecar if isinstance(sidecar, str) else json.dumps(sidecar))
        if header is None:
            pd.DataFrame(values.reshape(-1, 8).T).add_prefix("r").to_csv(path, sep="\t", index=False)
            return FMRIProcessor(**options).load(path)
        image = nib.Nifti1Image(values, np.eye(4))
        image.header.set_zooms((1, 1, 1, header))
        if isinstance(unit, str):
            image.header.set_xyzt_units("mm", unit)
        content = bytearray(image.to_bytes())
        if isinstance(unit, int):
            content[123] = unit  # xyzt_units, as nifti1.h has it
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return FMRIProcessor(mask, **options).load(path)

    return load


def said(bold):
    return bold.attrs["tr"], bold.attrs["tr_source"]


@pytest.mark.parametrize("unit", ["sec", "unknown", 0, 2])
def test_a_tr_of_one_second_that_only_a_header_says_is_doubted(scan, caplog, unit):
    with caplog.at_level(logging.WARNING):
        assert said(scan(1.0, unit)) == (1.0, "header")
    assert "header of sub-3_bold.nii says TR 1 s" in caplog.text and "where nobody set a TR; pass tr" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert said(scan(1.0, unit, tr=1.0)) == (1.0, "given")
        assert said(scan(1.0, unit, {"RepetitionTime": 1.0})) == (1.0, "sidecar")
        assert said(scan(1000.0, "msec")) == (1.0, "header")
        assert said(scan(2.0, "unknown")) == (2.0, "header")
    assert not caplog.text


def test_a_header_that_says_one_second_by_default_gives_way(scan, caplog):
    with caplog.at_level(logging.WARNING):
        assert said(scan(1.0, "unknown", tr=0.8)) == (0.8, "given")
    assert "TR 1 s (its unit is 'unknown'), as where nobody set a TR, but tr is 0.8 s: taken" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert said(scan(1.0, "sec", {"RepetitionTime": 0.8})) == (0.8, "sidecar")
    assert "as where nobody set a TR, its sidecar says 0.8 s: taken" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert said(scan(1.0, "sec", tr=2.2)) == (2.2, "given")
    assert "TR 1 s (its unit is 'sec'), as where nobody set a TR, but tr is 2.2 s: taken; if the" in caplog.text
    assert len(caplog.records) == 1
    caplog.clear()
    with pytest.raises(InputError, match=r"sidecar of sub-3_bold\.nii says TR 1 s.*tr is 2\.2 s"):
        scan(1.0, "sec", {"RepetitionTime": 1.0}, tr=2.2)


@pytest.mark.parametrize(
    ("header", "unit", "meant"),
    [(2000.0, "sec", 2.0), (1490.0, "unknown", 1.49), (2.0, "msec", 2.0), (0.8, "usec", 0.8)],
)
def test_a_header_in_another_unit_is_refused_and_a_given_tr_settles_it(scan, caplog, header, unit, meant):
    with pytest.raises(InputError, match=rf"header of sub-3_bold\.nii says TR .*in another unit.*pass tr={meant:g},"):
        scan(header, unit)
    with caplog.at_level(logging.WARNING):
        assert said(scan(header, unit, tr=meant)) == (meant, "given")
        assert said(scan(header, unit, {"RepetitionTime": meant})) == (meant, "sidecar")
    assert caplog.text.count("its number in another unit: taken") == 2


def test_a_tr_over_a_minute_is_asked_for_in_seconds_whoever_says_it(scan):
    with pytest.raises(InputError, match=r"TR is 1500 s, over 60 s: was it written in milliseconds"):
        scan(1.5, tr=1500)
    with pytest.raises(InputError, match=r"the sidecar of sub-3_bold\.nii: TR is 1500 s, over 60 s"):
        scan(1.5, sidecar={"RepetitionTime": 1500})


@pytest.mark.parametrize("header", [0.7199999, 0.72, 0.7200001])
def test_a_header_a_hair_apart_is_the_same_tr(scan, header):
    assert said(scan(header)) == (0.72, "header")
    assert said(scan(header, tr=0.72)) == (0.72, "given")
    assert said(scan(header, sidecar={"RepetitionTime": 0.72})) == (0.72, "sidecar")


def test_a_contradiction_names_all_values_and_can_be_overruled(scan):
    sidecar = {"RepetitionTime": 1.5}
    with pytest.raises(InputError, match=r"says TR 2 s \(its unit is 'sec'\), its sidecar says 1\.5 s"):
        scan(2.0, sidecar=sidecar)
    with pytest.raises(
        InputError, match=r"sidecar .* says TR 1\.5 s, its header TR 2 s .*, but tr is 2 s.*overrule_tr"
    ):
        scan(2.0, sidecar=sidecar, tr=2.0)
    assert said(scan(2.0, sidecar=sidecar, tr=1.8, overrule_tr=True)) == (1.8, "given")
    with pytest.raises(InputError, match="overrule_tr is on and tr is not given"):
        scan(2.0, overrule_tr=True)


@pytest.mark.parametrize("unit", [32 + 2, 40 + 2, 48 + 2])  # Hz, ppm, rad/s
def test_a_header_whose_unit_is_no_time_says_no_tr(scan, unit):
    with pytest.raises(InputError, match=r"no TR in its header \(its unit is '(hz|ppm|rads)'\)"):
        scan(2.0, unit)
    assert said(scan(2.0, unit, tr=1.5)) == (1.5, "given")


def test_a_unit_that_nifti_does_not_know_is_unknown(scan):
    assert said(scan(2.0, 0xFF)) == (2.0, "header")


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz", ".csv"])
def test_a_table_gets_its_tr_from_its_sidecar_or_asks(scan, suffix, tmp_path):
    name = f"sub-3_bold{suffix}"
    if suffix == ".csv":
        (tmp_path / name).write_text("a,b\n1,2\n2,1\n3,3\n")
        load = FMRIProcessor().load
        (tmp_path / "sub-3_bold.json").write_text('{"RepetitionTime": 2.2}')
        assert said(load(tmp_path / name)) == (2.2, "sidecar")
        return
    with pytest.raises(InputError, match=r"pass tr in seconds, or put RepetitionTime into a sidecar sub-3_bold\.json"):
        scan(None, name=name)
    assert said(scan(None, sidecar={"RepetitionTime": 2.2}, name=name)) == (2.2, "sidecar")
    assert said(scan(None, sidecar={"SamplingFrequency": 0.4}, name=name)) == (2.5, "sidecar")
    assert said(scan(None, sidecar={"SamplingFrequency": 1 / 1.5}, name=name)) == (1.5, "sidecar")
    assert said(scan(None, sidecar={"SamplingFrequency": 0.6667}, name=name, tr=1.5)) == (1.5, "given")
    with pytest.raises(InputError, match=r"says TR 2\.2 s, but tr is 3 s"):
        scan(None, sidecar={"RepetitionTime": 2.2}, name=name, tr=3.0)


def test_words_of_a_sidecar_in_place_of_numbers_say_nothing(scan):
    """fMRIPrep's and XCP-D's time series say SamplingFrequency "TR"."""
    name = "sub-3_bold.tsv"
    assert said(scan(None, sidecar={"SamplingFrequency": "TR"}, name=name, tr=2.2)) == (2.2, "given")
    assert said(scan(None, sidecar={"SamplingFrequency": "TR", "RepetitionTime": 2.2}, name=name)) == (2.2, "sidecar")
    assert scan(2.0, sidecar={"StartTime": "n/a", "RepetitionTime": "n/a"}).attrs["slice_time_ref"] == 0
    with pytest.raises(InputError, match="is a table, which carries no TR; pass tr in seconds"):
        scan(None, sidecar={"SamplingFrequency": "TR"}, name=name)
    for odd in ("2.2", [2.2], True):  # numbers that are none, and may be meant
        with pytest.raises(InputError, match=r"RepetitionTime .*; expected a number"):
            scan(None, sidecar={"RepetitionTime": odd}, name=name)


@pytest.mark.parametrize("name", ["sub-3_bold.nii", "sub-3_bold.nii.gz", "sub-3_bold.tsv"])
def test_the_moment_of_slice_timing_comes_from_the_sidecar(scan, name):
    header = None if name.endswith("tsv") else 2.5
    sidecar = {"RepetitionTime": 2.5, "SliceTimingCorrected": True, "StartTime": 1.225}
    assert scan(header, sidecar=sidecar, name=name).attrs["slice_time_ref"] == pytest.approx(0.49)
    assert scan(header, sidecar=sidecar, name=name, slice_time_ref=0.25).attrs["slice_time_ref"] == 0.25
    bare = {"RepetitionTime": 2.5, "SliceTimingCorrected": False}
    assert scan(header, sidecar=bare, name=name).attrs["slice_time_ref"] == 0.0
    assert scan(header, name=name, tr=2.5).attrs["slice_time_ref"] == 0.0


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        ({"RepetitionTime": 2.0, "StartTime": 2.2}, r"StartTime 2\.2 s, the TR is 2 s"),
        ({"RepetitionTime": 2.0, "StartTime": -1}, r"StartTime -1 s"),
        ({"RepetitionTime": 2.0, "StartTime": "1"}, r"StartTime '1'; expected a number"),
        ({"RepetitionTime": "2.0"}, r"RepetitionTime '2\.0'; expected a number"),
        ({"RepetitionTime": True}, r"RepetitionTime True; expected a number"),
        ({"RepetitionTime": 0}, r"TR is 0 s: it must be positive"),
        ({"VolumeTiming": [0, 3, 9]}, r"VolumeTiming and no RepetitionTime"),
        ("{not json", r"cannot read .*sub-3_bold\.json .*expected a sidecar in JSON"),
        ("[1, 2]", r"holds list; expected a JSON object"),
    ],
)
def test_a_sidecar_that_cannot_be_meant_is_one_line(scan, sidecar, message):
    with pytest.raises(InputError, match=message) as caught:
        scan(2.0, sidecar=sidecar)
    assert "\n" not in str(caught.value)


def test_a_start_time_rounded_to_the_millisecond_may_end_the_tr(scan):
    assert scan(0.7214, sidecar={"StartTime": 0.722}).attrs["slice_time_ref"] == 1.0


@pytest.mark.parametrize("option", [-0.1, 1.1, float("nan")])
def test_a_reference_is_a_fraction_of_the_tr(option):
    with pytest.raises(InputError, match="slice_time_ref is"):
        FMRIProcessor(slice_time_ref=option)


def test_runs_must_agree_in_tr_and_reference(tmp_path):
    for run, (tr, start) in enumerate([(2.0, 0.96), (2.0, 1.0), (3.0, 1.44)], start=1):
        (tmp_path / f"run-{run}_bold.tsv").write_text("a\tb\n1\t2\n2\t1\n3\t3\n")
        (tmp_path / f"run-{run}_bold.json").write_text(json.dumps({"RepetitionTime": tr, "StartTime": start}))
    paths = [tmp_path / f"run-{run}_bold.tsv" for run in (1, 2, 3)]
    with pytest.raises(InputError, match=r"run-1_bold\.tsv are brought to 0\.48 of the TR.*run-2_bold\.tsv to 0\.5"):
        FMRIProcessor().load(paths[:2])
    assert FMRIProcessor(slice_time_ref=0.5).load(paths[:2]).attrs["slice_time_ref"] == 0.5
    with pytest.raises(InputError, match=r"different TRs, 2, 3 s"):
        FMRIProcessor().load([paths[0], paths[2]])


def test_the_timing_survives_the_file_of_the_bold(scan, tmp_path):
    from giblet.data.bold.scan import load_bold
    from giblet.features import save_features

    bold = scan(2.5, sidecar={"RepetitionTime": 2.5, "StartTime": 1.0})
    back = load_bold(save_features(bold, tmp_path / "saved_bold.nc"))
    assert back.attrs["slice_time_ref"] == 0.4 and back.attrs["tr_source"] == "sidecar"


def test_header_bytes_are_where_the_tests_put_them():
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 2), np.float32), np.eye(4))
    image.header.set_xyzt_units("mm", "msec")
    assert struct.unpack("B", image.to_bytes()[123:124]) == (2 + 16,)
