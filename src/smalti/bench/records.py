"""Results as files: frozen dataclasses to strict JSON and back, texts, and the machine that was measured.

Every field must be present and of its type, and there must be no other. Results are read long after they were written,
by another release: a missing or renamed field must be an error that names the file and the field, never a default.
Files appear whole or not at all.
"""

import json
import os
import platform
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from smalti.errors import SourceError
from smalti.storage.atomic import atomic_file, writing

__all__ = ["describe_machine", "from_plain", "read_json", "to_plain", "write_bytes", "write_json", "write_text"]

T = TypeVar("T")

CPU_INFO = Path("/proc/cpuinfo")


def to_plain(value: Any) -> Any:
    """Return a dataclass instance as dictionaries, lists and numbers for JSON."""
    return asdict(value)


def from_plain(kind: type[T], stored: Any) -> T:
    """Return the `kind` (a frozen dataclass) that `stored` describes; SourceError names the field that is wrong."""
    result: T = _convert(kind, stored, kind.__name__)
    return result


def _convert(kind: Any, stored: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if stored is None and type(None) in get_args(kind):
            return None
        (kind,) = (choice for choice in get_args(kind) if choice is not type(None))
        return _convert(kind, stored, where)
    if origin is tuple:
        return _convert_list(get_args(kind)[0], stored, where)
    if origin is dict:
        return {
            key: _convert(get_args(kind)[1], value, f"{where}.{key}") for key, value in _mapping(stored, where).items()
        }
    if is_dataclass(kind):
        return _convert_dataclass(kind, stored, where)
    # bool is a subclass of int and is refused; JSON may write 1.0 as 1, which is accepted as float.
    accepted = (int, float) if kind is float else kind
    if not isinstance(stored, accepted) or (isinstance(stored, bool) and kind is not bool):
        raise SourceError(f"{where} is {stored!r}, not of type {kind.__name__}; run the study anew")
    return float(stored) if kind is float else stored


def _convert_list(kind: Any, stored: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(stored, Sequence) or isinstance(stored, str):
        raise SourceError(f"{where} is not a list; run the study anew")
    return tuple(_convert(kind, value, f"{where}[{index}]") for index, value in enumerate(stored))


def _mapping(stored: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(stored, Mapping):
        raise SourceError(f"{where} is not an object; run the study anew")
    return stored


def _convert_dataclass(kind: Any, stored: Any, where: str) -> Any:
    names = [field.name for field in fields(kind)]
    present = _mapping(stored, where)
    missing = [name for name in names if name not in present]
    foreign = [name for name in present if name not in names]
    if missing or foreign:
        raise SourceError(f"{where} lacks {missing} and has the unknown {foreign}; run the study anew")
    hints = get_type_hints(kind)
    return kind(**{name: _convert(hints[name], present[name], f"{where}.{name}") for name in names})


def read_json(kind: type[T], path: Path) -> T:
    """Return the `kind` stored in `path`; SourceError names the file and the field that is wrong."""
    try:
        return from_plain(kind, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; run the study first") from error
    except (json.JSONDecodeError, UnicodeDecodeError, SourceError) as error:
        raise SourceError(f"{path} is not a result of this release: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write a dataclass instance (or a sequence of them) to `path`, whole or not at all. Its folder is created."""
    plain = [to_plain(each) for each in value] if isinstance(value, list | tuple) else to_plain(value)
    write_text(path, json.dumps(plain, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 to `path`, with `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write or replace a file, whole or not at all, and create its folder; OutputError if that fails."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, overwrite=True) as file, writing(path):
        file.write(data)


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
