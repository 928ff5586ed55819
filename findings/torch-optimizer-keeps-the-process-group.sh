#!/usr/bin/env bash
# After the first optimizer, destroy_process_group() destroys nothing: the group and its threads stay to the end.
#
# Versions: torch 2.13.0 (CPU); Python 3.11.7 on Linux x86-64.
#
# The functions of torch.distributed.nn.functional have `group=group.WORLD` as a default argument. Python evaluates it
# when the module is imported. Without a group it is None, which later means the group of that time. But if the module is
# first imported while a group exists, ten functions hold that group for ever. Nobody need import it by hand: the step of
# any optimizer imports torch._dynamo, which imports it. So the usual order of a training script (init_process_group,
# optimizer, destroy_process_group) leaves the threads of gloo running, and the order of imports decides.
#
# It matters at the end of a process: a thread of gloo may still release the last tensor that was sent, for which it needs
# the interpreter. When the interpreter is ending at that moment, the process is aborted (SIGABRT), after all its work was
# done. To import torch.distributed.nn.functional before init_process_group mends it: then the destruction waits for the
# threads.
#
# Output seen:
#
#   a group alone: 0 threads of gloo after destroy_process_group
#   an optimizer's step within the group: 3 threads of gloo after destroy_process_group
#   the functions imported before the group: 0 threads of gloo after destroy_process_group

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
cd "$folder"
cat > threads.py <<'END'
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

case = sys.argv[1]
if case == "the functions imported before the group":
    import torch.distributed.nn.functional
dist.init_process_group("gloo", init_method=f"file://{Path('store').resolve()}", rank=0, world_size=1)
if case != "a group alone":
    weight = torch.nn.Parameter(torch.ones(3))
    weight.sum().backward()
    torch.optim.Adam([weight]).step()
dist.destroy_process_group()
left = sum("gloo" in name.read_text() for name in Path("/proc/self/task").glob("*/comm"))
print(f"{case}: {left} threads of gloo after destroy_process_group", flush=True)
os._exit(0 if (left > 0) == case.startswith("an optimizer") else 1)  # without the end of the interpreter
END
for case in "a group alone" "an optimizer's step within the group" "the functions imported before the group"; do
    rm -f store
    "$folder/venv/bin/python" -W ignore threads.py "$case"
done
