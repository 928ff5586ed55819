"""Which machine a result was measured on, in a few words."""

import os
import platform
from pathlib import Path

__all__ = ["describe_machine"]

CPU_INFO = Path("/proc/cpuinfo")


def describe_machine() -> str:
    """Return cores, processor and system, such as "2 cores of AMD EPYC, Linux x86_64"; never the machine's name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{cores} core{'s' if cores > 1 else ''} of {_processor()}, {platform.system()} {platform.machine()}"


def _processor() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
