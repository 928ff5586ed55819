#!/usr/bin/env bash
# The OpenBLAS in NumPy's wheels takes any name in OPENBLAS_CORETYPE, and runs another kernel than the one that
# was named.
#
# Versions: NumPy 2.4.6 (OpenBLAS 0.3.31), threadpoolctl 3.8.0; Python 3.11.7 on Linux x86-64 with AVX2.
#
# The variable is meant to choose the kernels of one kind of processor, for instance to see whether a result
# depends on them. `Nehalem` and `Sandybridge` do as they are told. `Zen` runs Haswell's kernels, since the
# wheel has no others for it; `Prescott` and `Core2` run those of Katmai; and a name that does not exist is
# taken without a word, and the processor decides. Exit code and output are as ever.
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
#   NoSuchKernel: ran that of this processor, exit code 0, on stderr ''

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
changed = False
for name in (*expected, "NoSuchKernel"):
    ran = subprocess.run([sys.executable, "-c", ASK], env={**os.environ, "OPENBLAS_CORETYPE": name}, capture_output=True, text=True)
    kernel = ran.stdout.strip()
    if name in expected:
        print(f"{name}: ran {kernel}")
        changed |= kernel != expected[name]
    else:
        print(f"{name}: ran that of this processor, exit code {ran.returncode}, on stderr {ran.stderr!r}")
        changed |= not kernel or ran.returncode != 0 or ran.stderr != ""
if changed:
    sys.exit("The behaviour changed.")
END
