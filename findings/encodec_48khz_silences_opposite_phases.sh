#!/usr/bin/env bash
# EnCodec at 48 kHz (transformers 5.23.0): stereo whose channels are each other's negative comes back as silence.
#
# One would expect such a sound to be coded like any other: it is what is left when voices in the middle are removed, or
# when one plug is wired the wrong way round. The 48 kHz model divides each second by its level before coding and
# multiplies by it after decoding. The level is that of the mean of both channels, which is zero here, whatever
# the channels hold: the encoder gets the sound a hundred million times too loud, and the output is multiplied by 1e-8.
# So codes and decoded sound are meaningless, without a warning. Channels that are partly out of phase get a level that
# is too low. None of this depends on the weights: a small model with random ones and the settings of the 48 kHz model
# shows it.
#
# Seen with transformers 5.23.0, torch 2.13.0, numpy 2.4.6:
#   channels equal: level 0.2121, input RMS 0.212, output RMS 0.213
#   channels opposite: level 0.0000, input RMS 0.212, output RMS 0.000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile transformers==5.23.0 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from transformers import EncodecConfig, EncodecModel

torch.manual_seed(0)
config = EncodecConfig(
    sampling_rate=48000, audio_channels=2, normalize=True, chunk_length_s=1.0, overlap=0.01, use_causal_conv=False,
    norm_type="time_group_norm", target_bandwidths=[3.0, 6.0, 12.0, 24.0], num_filters=4, hidden_size=16,
    codebook_dim=16, codebook_size=64,
)  # fmt: skip
model = EncodecModel(config).eval()
sine = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(48000) / 48000)
found = {}
for name, right in (("channels equal", sine), ("channels opposite", -sine)):
    sound = torch.stack([sine, right])[None]
    with torch.no_grad():
        coded = model.encode(sound, bandwidth=6.0)
        decoded = model.decode(coded.audio_codes, coded.audio_scales)[0]
    level = coded.audio_scales[0].item()
    found[name] = (level, decoded.square().mean().sqrt().item())
    heard = f"input RMS {sound.square().mean().sqrt().item():.3f}, output RMS {found[name][1]:.3f}"
    print(f"{name}: level {level:.4f}, {heard}")
assert found["channels equal"][0] > 0.2 and found["channels equal"][1] > 0.1, "sound in phase is not what it was"
assert max(found["channels opposite"]) < 1e-6, "the level of opposite channels is no longer zero"
PY
