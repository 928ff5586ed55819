#!/usr/bin/env bash
# A limit on the threads of OpenBLAS that a second Python thread sets by threadpoolctl does nothing, and says
# nothing, while the thread that set one first is alive, even if that thread has lifted its own limit since.
#
# Versions: threadpoolctl 3.8.0, NumPy 2.4.6 (OpenBLAS 0.3.31, threads of its own); Python 3.11.7 on Linux x86-64.
#
# OpenBLAS has one number of threads for the whole process, so threadpoolctl obeys one thread only: the first one that
# sets it through a controller (`lib_controllers[i].set_num_threads`). Only the context `threadpool_limits` gives that
# right back; a pair of calls, to set and to restore, keeps it for as long as the thread lives. From then on
# `with threadpool_limits(1)` in any other thread leaves all cores to OpenBLAS.
#
# It matters to programs that limit a BLAS around work in threads: a background thread beside a main thread that has
# once done the same ran ten times slower, as two processes fought for two cores. `clear_controlling_thread(force=True)`
# of the controller gives the right to whoever asks next.
#
# Output seen:
#
#   main thread sets 1, sets 3 again: 3
#   another thread, within threadpool_limits(1): 3
#   the same once the controller has forgotten the main thread: 1

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 threadpoolctl==3.8.0
cd "$folder"
OPENBLAS_NUM_THREADS=3 "$folder/venv/bin/python" - <<'END'
import threading

import numpy  # noqa: F401 (brings an OpenBLAS)
from threadpoolctl import ThreadpoolController, threadpool_limits

blas = ThreadpoolController().select(user_api="blas").lib_controllers[0]
found = []


def limited():
    with threadpool_limits(1, user_api="blas"):
        found.append(blas.get_num_threads())


def in_another_thread():
    thread = threading.Thread(target=limited)
    thread.start()
    thread.join()
    return found[-1]


blas.set_num_threads(1)
blas.set_num_threads(3)
seen = [blas.get_num_threads(), in_another_thread()]
blas.clear_controlling_thread(force=True)
seen.append(in_another_thread())
print("main thread sets 1, sets 3 again:", seen[0])
print("another thread, within threadpool_limits(1):", seen[1])
print("the same once the controller has forgotten the main thread:", seen[2])
assert seen == [3, 3, 1], seen
END
