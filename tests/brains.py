"""One small brain, written in every format that scans, maps and labels come in, by nibabel and by hand."""

import json
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel import cifti2, gifti

LEFT, RIGHT = 14, 10
N = LEFT + RIGHT
SHAPE, AFFINE = (2, 4, 3), np.diag([2.0, 2.0, 2.0, 1.0])
SLOPE, INTER = 0.5, 900.0
SURFACES = cifti2.BrainModelAxis.from_surface(np.arange(LEFT), LEFT, "CortexLeft") + (
    cifti2.BrainModelAxis.from_surface(np.arange(RIGHT), RIGHT, "CortexRight")
)


def bold(n_trs: int, seed: int = 0, n: int = N) -> np.ndarray:
    """Values that int16 with SLOPE and INTER holds exactly, float32 (n_trs, n)."""
    steps = np.random.default_rng(seed).integers(-300, 300, (n_trs, n))
    return (steps * SLOPE + INTER).astype(np.float32)


def on_steps(values: np.ndarray) -> np.ndarray:
    """The same values, up to a half of SLOPE, such that int16 holds them exactly."""
    return (np.round((values - INTER) / SLOPE) * SLOPE + INTER).astype(np.float32)


def as_int16(values: np.ndarray) -> np.ndarray:
    return np.round((values - INTER) / SLOPE).astype(np.int16)


def rewritten(content: bytes, *, scaled: bool, big: bool) -> bytes:
    """A NIfTI file with SLOPE and INTER in its header, and with the other byte order."""
    header_class = nib.Nifti2Header if struct.unpack("<i", content[:4])[0] == 540 else nib.Nifti1Header
    size = header_class.sizeof_hdr
    header = header_class(content[:size], endianness="<", check=False)
    if scaled:
        header["scl_slope"], header["scl_inter"] = SLOPE, INTER
    start, dtype = int(header["vox_offset"]), header.get_data_dtype()
    if not big:
        return header.binaryblock + content[size:]
    between = bytearray(content[size:start])
    at = 4  # after the four bytes that say whether there are extensions
    while between[0] and at + 8 <= len(between):
        length, code = struct.unpack("<ii", between[at : at + 8])
        between[at : at + 8] = struct.pack(">ii", length, code)
        at += length
    data = np.frombuffer(content[start:], dtype).astype(dtype.newbyteorder(">")).tobytes()
    return header.as_byteswapped(">").binaryblock + bytes(between) + data


def write_nifti(path: Path, values: np.ndarray, tr: float, unit="sec", *, int16=False, big=False) -> Path:
    """Values in C order of the voxels of SHAPE; the mask beside it is whole."""
    per = {"sec": 1, "msec": 1000, "usec": 10**6}[unit]
    data = as_int16(values) if int16 else values
    image = nib.Nifti1Image(data.T.reshape(*SHAPE, len(values)), AFFINE, dtype=data.dtype)
    image.header.set_zooms((2, 2, 2, tr * per))
    image.header.set_xyzt_units("mm", unit)
    path.write_bytes(rewritten(image.to_bytes(), scaled=int16, big=big))
    nib.Nifti1Image(np.ones(SHAPE, np.uint8), AFFINE).to_filename(path.with_name("mask.nii"))
    return path


def write_cifti(path: Path, values: np.ndarray, tr: float, axis=SURFACES, *, int16=False, big=False) -> Path:
    series = cifti2.SeriesAxis(0, tr, len(values))
    data = as_int16(values) if int16 else values
    image = cifti2.Cifti2Image(data, (series, axis), dtype=data.dtype)
    image.update_headers()
    path.write_bytes(rewritten(image.to_bytes(), scaled=int16, big=big))
    return path


def write_gifti(path: Path, values: np.ndarray, tr: float | None, *, frames=True, big=False, left=LEFT) -> Path:
    """Both hemispheres, one array per frame or one of (vertices, frames); `path` has "hemi-L" in its name."""
    for side, own in (("L", values[:, :left]), ("R", values[:, left:])):
        image = gifti.GiftiImage()
        meta = gifti.GiftiMetaData({} if tr is None else {"TimeStep": f"{tr * 1000:.6f}"})
        for data in own if frames else [own.T]:
            image.add_gifti_data_array(
                gifti.GiftiDataArray(
                    np.ascontiguousarray(data, np.float32), intent="NIFTI_INTENT_TIME_SERIES" if frames else 0,
                    meta=meta, endian="big" if big else "little",
                )
            )  # fmt: skip
        path.with_name(path.name.replace("hemi-L", f"hemi-{side}")).write_bytes(image.to_bytes())
    return path


def write_table(path: Path, values: np.ndarray, tr: float) -> Path:
    pd.DataFrame(values, columns=[f"r{k}" for k in range(values.shape[1])]).to_csv(path, sep="\t", index=False)
    path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": tr}))
    return path


def write_all(folder: Path, values: np.ndarray, tr: float) -> dict[str, dict[str, str]]:
    """By format, how a subject's run is given: ``bold``, and ``mask`` where one is needed."""
    made = {}
    for name, unit, how in (
        ("NIfTI, s", "sec", {}), ("NIfTI, ms", "msec", {"int16": True}), ("NIfTI, big-endian", "sec", {"big": True}),
    ):  # fmt: skip
        own = folder / f"nifti{len(made)}"
        own.mkdir()
        path = write_nifti(own / "sub-1_bold.nii", values, tr, unit, **how)
        made[name] = {"bold": str(path), "mask": str(own / "mask.nii")}
    for name, how in (("CIFTI", {}), ("CIFTI, int16, big-endian", {"int16": True, "big": True})):
        path = write_cifti(folder / f"sub-1_desc-{len(made)}_bold.dtseries.nii", values, tr, **how)
        made[name] = {"bold": str(path)}
    for name, how in (("GIFTI, frames", {}), ("GIFTI, one array", {"frames": False, "big": True})):
        path = write_gifti(folder / f"sub-1_hemi-L_desc-{len(made)}_bold.func.gii", values, tr, **how)
        made[name] = {"bold": str(path)}
    made["TSV"] = {"bold": str(write_table(folder / "sub-1_bold.tsv", values, tr))}
    return made


def write_labels(path: Path, labels: np.ndarray, names: dict[int, str], axis=SURFACES, *, left=LEFT) -> Path:
    """Labels as .dlabel.nii or a pair of .label.gii, after the ending of `path`."""
    if path.name.endswith(".dlabel.nii"):
        table = {key: (name, (1.0, 0.0, 0.0, 1.0)) for key, name in {0: "???", **names}.items()}
        image = cifti2.Cifti2Image(labels[None].astype(np.float32), (cifti2.LabelAxis(["atlas"], [table]), axis))
        image.update_headers()
        image.to_filename(path)
        return path
    for side, own in (("L", labels[:left]), ("R", labels[left:])):
        image = gifti.GiftiImage()
        for key, name in {0: "???", **names}.items():
            label = gifti.GiftiLabel(key, 1.0, 0.0, 0.0, 1.0)
            label.label = name
            image.labeltable.labels.append(label)
        image.add_gifti_data_array(gifti.GiftiDataArray(own.astype(np.int32), intent="NIFTI_INTENT_LABEL"))
        image.to_filename(path.with_name(path.name.replace("hemi-L", f"hemi-{side}")))
    return path
