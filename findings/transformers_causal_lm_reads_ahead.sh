#!/usr/bin/env bash
# transformers 5.23.0: AutoModelForCausalLM loads BERT, RoBERTa and their kin as models that read the words ahead.
#
# Asked for a causal language model, it takes the folder of a masked one (config.json has no is_decoder) and says so in one
# line of its log, at a level that many scripts turn down. Hidden states and "surprisal" of a word then depend on the words
# after it: an encoding model of a brain that hears them one by one knows the future.
#
# Seen with transformers 5.23.0, torch 2.13.0:
#   a later token changes BERT's states of the earlier ones by 0.0037, GPT-2's by 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 torch==2.13.0
"$folder/venv/bin/python" <<'PY'
import torch
import transformers

transformers.logging.set_verbosity_error()
ids = torch.arange(8)[None]
other = ids.clone()
other[0, -1] = 150
change = {}
for family, options in {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
}.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, vocab_size=300, **options)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.inference_mode():
        states, changed = (model(one, output_hidden_states=True).hidden_states[-1] for one in (ids, other))
    change[family] = float((states - changed)[:, :-1].abs().max())
print(f"a later token changes BERT's states of the earlier ones by {change['bert']:.4f}, GPT-2's by {change['gpt2']}")
assert change["bert"] > 1e-3, "transformers has changed"
assert change["gpt2"] == 0.0, "this is no fault of BERT alone"
PY
