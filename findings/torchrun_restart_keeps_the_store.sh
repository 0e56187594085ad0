#!/usr/bin/env bash
# torch 2.13.0: torchrun gives restarted processes the key-value store of those that are gone, entries and all.
#
# One would expect a fresh store for each attempt: processes find each other by what they write into it, and the comment
# where they connect says that a new one is made for every retry (torch/distributed/rendezvous.py). But both the static
# and the c10d rendezvous keep the first one, on the same port, as long as torchrun lives, and nothing tells the entries
# of one attempt from those of another. A new process that looks for the address of another one reads that of a process
# that has gone. With --max-restarts and gloo, restarted processes were seen to wait within init_process_group until they
# were killed. With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 and c10d each attempt has a store of its own.
#
# Seen with torch 2.13.0 (CPU), one process, which ends with 1 at its first attempt:
#   static: attempt 0 finds nothing, attempt 1 the entry of attempt 0
#   c10d: attempt 0 finds nothing, attempt 1 the entry of attempt 0
#   c10d, store not shared: attempt 0 finds nothing, attempt 1 finds nothing
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/worker.py" <<'PY'
import os
import sys
from datetime import timedelta

from torch.distributed import TCPStore

attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
shared = os.environ["TORCHELASTIC_USE_AGENT_STORE"] == "True"
store = TCPStore(
    os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=not shared, timeout=timedelta(seconds=30)
)
there = store.check(["entry"])
print(f"attempt {attempt} finds {store.get('entry').decode() if there else 'nothing'}", flush=True)
store.set("entry", f"the entry of attempt {attempt}")
sys.exit(1 if attempt == "0" else 0)
PY
cat > "$folder/main.py" <<'PY'
import os
import subprocess
import sys

cases = {
    "static": (["--master-addr", "127.0.0.1", "--master-port", "29475"], "0"),
    "c10d": (["--standalone"], "0"),
    "c10d, store not shared": (["--standalone"], "1"),
}
found = {}
for name, (options, own) in cases.items():
    argv = [sys.executable, "-m", "torch.distributed.run", *options, "--nproc-per-node", "1", "--max-restarts", "1"]
    done = subprocess.run(
        [*argv, sys.argv[1]], env={**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": own}, capture_output=True,
        text=True, timeout=300,
    )
    found[name] = done.stdout.splitlines()
    print(f"{name}: {', '.join(found[name])}; exit status {done.returncode}")
kept = ["attempt 0 finds nothing", "attempt 1 finds the entry of attempt 0"]
fresh = ["attempt 0 finds nothing", "attempt 1 finds nothing"]
assert found == {"static": kept, "c10d": kept, "c10d, store not shared": fresh}, "torchrun has changed"
PY
"$folder/venv/bin/python" "$folder/main.py" "$folder/worker.py"
