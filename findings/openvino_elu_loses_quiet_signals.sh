#!/usr/bin/env bash
# OpenVINO 2026.4.1, CPU: the exponential linear unit is wrong by 19 % at -1e-7, by 1.3 % at -1e-6, by 0.1 % at -1e-5.
#
# One would expect the function to float32's accuracy, some 1e-7 of its value, as asked for by INFERENCE_PRECISION_HINT
# f32 and as PyTorch computes it (by expm1). OpenVINO computes exp(x) - 1 in float32, where all but the first digits of a
# small x are lost. Audio codecs of the EnCodec kind have this unit after each convolution: in quiet passages and
# pauses what it gives differs from PyTorch's by far more than rounding, where little decides which code is nearest.
#
# Seen with openvino 2026.4.1, numpy 2.4.6:
#   elu(-1e-07) = -1.192e-07, should be -1.000e-07: off by 1.9e-01
#   elu(-1e-06) = -1.013e-06, should be -1.000e-06: off by 1.3e-02
#   elu(-1e-05) = -1.001e-05, should be -1.000e-05: off by 1.4e-03
#   elu(-1e-01) = -9.516e-02, should be -9.516e-02: off by 4.9e-07
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import openvino as ov
import openvino.opset13 as op

x = np.array([-1e-7, -1e-6, -1e-5, -1e-1], np.float32)
given = op.parameter([len(x)], np.float32)
model = ov.Model([op.elu(given, 1.0)], [given])
request = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
request.infer([x])
found, exact = request.get_output_tensor().data, np.expm1(x.astype(np.float64))
off = np.abs(found / exact - 1)
for one, own, true, by in zip(x, found, exact, off):
    print(f"elu({one:.0e}) = {own:.3e}, should be {true:.3e}: off by {by:.1e}")
assert off[3] < 1e-6, "larger values are wrong, too"
assert off[0] > 0.01 and off[1] > 1e-3, "OpenVINO has mended it"
PY
