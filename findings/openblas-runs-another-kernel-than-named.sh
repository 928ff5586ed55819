#!/usr/bin/env bash
# The OpenBLAS in NumPy's wheels takes any name in OPENBLAS_CORETYPE, and runs another kernel than the one that
# was named.
#
# Versions: NumPy 2.4.6 (OpenBLAS 0.3.31), threadpoolctl 3.8.0; Python 3.11.7 on Linux x86-64 with AVX2.
#
# The variable is meant to choose the kernels of one kind of processor, for instance to see whether a result
# depends on them. `Nehalem` and `Sandybridge` do as they are told. `Zen` runs Haswell's kernels, `Prescott` and
# `Core2` run those of Katmai, and a name that does not exist runs what would run without the variable. There is
# no message and no error.
#
# It matters to whoever compares results between kernels: ask the library, by threadpoolctl, which one it really
# ran.
#
# Output seen:
#
#   Nehalem: ran Nehalem
#   Sandybridge: ran Sandybridge
#   Zen: ran Haswell
#   Prescott: ran Katmai
#   Core2: ran Katmai
#   NoSuchKernel: ran the same as without the variable: True

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 threadpoolctl==3.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import os, subprocess, sys

ASK = "import numpy, threadpoolctl; print(threadpoolctl.threadpool_info()[0]['architecture'])"
expected = {"Nehalem": "Nehalem", "Sandybridge": "Sandybridge", "Zen": "Haswell", "Prescott": "Katmai", "Core2": "Katmai"}


def run(**variables):
    """The kernel that ran, the exit code and stderr, without OPENBLAS_CORETYPE or with it."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    ran = subprocess.run([sys.executable, "-c", ASK], env={**kept, **variables}, capture_output=True, text=True)
    return ran.stdout.strip(), ran.returncode, ran.stderr


changed = False
for name, kernel in expected.items():
    ran = run(OPENBLAS_CORETYPE=name)
    print(f"{name}: ran {ran[0]}")
    changed |= ran != (kernel, 0, "")
same = run(OPENBLAS_CORETYPE="NoSuchKernel") == run()
print("NoSuchKernel: ran the same as without the variable:", same)
if changed or not same:
    sys.exit("The behaviour changed.")
END
