"""Cases of TAR files."""

import io
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from inputs.case import Case, Made, Pixels, group
from inputs.making import noise, png, wide, write

_NAMES = ["cat/0.png", "cat/1.png", "dog/2.png"]
_CLASSES = {"labels": [0, 0, 1], "class_names": ["cat", "dog"]}


def cases() -> list[Case]:
    return [
        Case("a packed folder, `.tar`", "tar", lambda root: _packed(root, ".tar", "--format=gnu")),
        Case("`.tar.gz`", "tar, gzip", lambda root: _packed(root, ".tar.gz", "-z")),
        Case("`.tar.zst`", "tarfile, zstandard", _zstandard),
        Case("`.tzst`", "tarfile, zstandard", lambda root: _zstandard(root, ".tzst")),
        Case("long names, pax", "tarfile", _long_names),
        Case("samples with `.cls`, `.json` and `.txt`", "webdataset", _samples),
        Case("samples with labels of words, JPEG-like keys with dots", "webdataset", _words),
        Case("shards by a pattern, `shards-{000..001}.tar`", "webdataset", lambda root: _shards(root, "{000..001}")),
        Case("shards by `shards-*.tar`", "webdataset", lambda root: _shards(root, "*")),
        Case("a folder of shards", "webdataset", lambda root: _shards(root, None)),
        Case("a folder of img2dataset: TAR files, tables, counts", "tarfile, pyarrow", _img2dataset),
        Case("keys with dots, and labels of them", "tarfile", _dots),
        Case("samples of which one has no label", "tarfile", _one_label),
        Case("samples of `.npy`, 16 bits", "webdataset", _arrays),
        Case("members that lead out, links, devices, pipes, pickles", "tarfile", _hostile),
        Case("a file cut off", "tar", _cut),
        Case("a text called `.tar`", "bytes by hand", _text),
    ]


def _pictures(count: int = 3) -> list[Pixels]:
    return [noise(4, 5, 3, seed=seed) for seed in range(count)]


def _packed(root: Path, suffix: str, *options: str) -> Made:
    for name, pixels in zip(_NAMES, _pictures(), strict=True):
        write(root / "photos" / name, png(pixels))
    out = root / f"a{suffix}"
    subprocess.run(["tar", "--sort=name", *options, "-C", root / "photos", "-cf", out, *["cat", "dog"]], check=True)
    return Made(out, [group(_pictures(), names=_NAMES, **_CLASSES)])


def _tar(path: Path, members: Sequence[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def _img2dataset(root: Path) -> Made:
    for shard, pixels in enumerate(_pictures(2)):
        _tar(root / f"0000{shard}.tar", [(f"0000{shard}0.png", png(pixels)), (f"0000{shard}0.json", b'{"width": 5}')])
        pq.write_table(pa.table({"url": ["http://host/a"], "width": [5]}), root / f"0000{shard}.parquet")
        write(root / f"0000{shard}_stats.json", b"{}")
    return Made(root, [group(_pictures(2), names=["000000.png", "000010.png"], fields={"width": [5, 5]})])


def _dots(root: Path) -> Made:
    path = _tar(root / "a.tar", [("22.05.png", png(_pictures(1)[0])), ("22.05.cls", b"3")])
    return Made(path, [group(_pictures(1), names=["22.05.png"])], {"22.05.cls": "its key ends at its first dot"})


def _one_label(root: Path) -> Made:
    first, second = map(png, _pictures(2))
    path = _tar(root / "a.tar", [("a.png", first), ("a.cls", b"3"), ("b.png", second)])
    return Made(path, [group(_pictures(2), names=["a.png", "b.png"], fields={"label": [3, None]})])


def _zstandard(root: Path, suffix: str = ".tar.zst") -> Made:
    plain = _tar(root / "a.tar", [(name, png(pixels)) for name, pixels in zip(_NAMES, _pictures(), strict=True)])
    out = write(root / f"a{suffix}", zstandard.ZstdCompressor().compress(plain.read_bytes()))
    return Made(out, [group(_pictures(), names=_NAMES, **_CLASSES)])


def _long_names(root: Path) -> Made:
    names = ["x" * 120 + ".png", "é/" * 60 + "2.png", "ö.png"]
    out = _tar(root / "a.tar", [(name, png(pixels)) for name, pixels in zip(names, _pictures(), strict=True)])
    return Made(out, [group(_pictures(), names=names)])


def _samples(root: Path) -> Made:
    from webdataset import TarWriter  # noqa: PLC0415 (slow to import)

    with TarWriter(str(root / "a.tar")) as writer:
        for number, pixels in enumerate(_pictures()):
            about = {"age": number / 2, "box": [1, 2], "place": None if number else "Rome"}
            writer.write(
                {
                    "__key__": f"part/{number:03}",
                    "png": pixels,
                    "cls": number % 2,
                    "json": about,
                    "txt": f"no. {number}",
                }
            )
    fields = {
        "age": [0.0, 0.5, 1.0],
        "place": ["Rome", None, None],
        "txt": ["no. 0", "no. 1", "no. 2"],
    }
    names = [f"part/{number:03}.png" for number in range(3)]
    return Made(root / "a.tar", [group(_pictures(), names=names, labels=[0, 1, 0], fields=fields)])


def _words(root: Path) -> Made:
    from webdataset import TarWriter  # noqa: PLC0415 (slow to import)

    with TarWriter(str(root / "a.tar")) as writer:
        for key, pixels, word in zip("abc", _pictures(), ["dog", "cat", "dog"], strict=True):
            writer.write({"__key__": key, "left.png": png(pixels), "cls": word.encode()})
    names = ["a.left.png", "b.left.png", "c.left.png"]
    return Made(root / "a.tar", [group(_pictures(), names=names, labels=[1, 0, 1], class_names=["cat", "dog"])])


def _shards(root: Path, pattern: str | None) -> Made:
    from webdataset import ShardWriter  # noqa: PLC0415 (slow to import)

    with ShardWriter(str(root / "shards-%03d.tar"), maxcount=2, verbose=0) as writer:
        for number, pixels in enumerate(_pictures()):
            writer.write({"__key__": f"{number:03}", "png": pixels, "cls": number})
    names = [f"{number:03}.png" for number in range(3)]
    spec = root if pattern is None else f"{root}/shards-{pattern}.tar"
    return Made(spec, [group(_pictures(), names=names, labels=[0, 1, 2])])


def _arrays(root: Path) -> Made:
    from webdataset import TarWriter  # noqa: PLC0415 (slow to import)

    with TarWriter(str(root / "a.tar")) as writer:
        for number in range(2):
            writer.write({"__key__": str(number), "npy": wide(4, 5, 3, seed=number)})
        writer.write({"__key__": "float", "npy": noise(4, 5) / 255})
    images = [wide(4, 5, 3, seed=number) for number in range(2)]
    return Made(root / "a.tar", [group(images, names=["0.npy", "1.npy"])], {"float.npy": "float64"})


def _hostile(root: Path) -> Made:
    data = png(noise(4, 5))
    kinds = {
        "link.png": (tarfile.SYMTYPE, "/etc/passwd"),
        "hard.png": (tarfile.LNKTYPE, "a.png"),
        "device.png": (tarfile.CHRTYPE, ""),
        "pipe.png": (tarfile.FIFOTYPE, ""),
    }
    with tarfile.open(root / "a.tar", "w") as file:
        for name in ("a.png", "../out.png", "b/../../out.png", "/absolute.png", "model.pickle"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for name, (kind, target) in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            file.addfile(info)
    skipped = {
        "../out.png": "leads out",
        "b/../../out.png": "leads out",
        "/absolute.png": "leads out",
        "model.pickle": "suffix",
        "link.png": "a link",
        "hard.png": "a link",
        "device.png": "not a regular file",
        "pipe.png": "not a regular file",
    }
    return Made(root / "a.tar", [group([noise(4, 5)], names=["a.png"])], skipped)


def _cut(root: Path) -> Made:
    made = _packed(root, ".tar")
    out = Path(str(made.spec))
    out.write_bytes(out.read_bytes()[:1800])
    return Made(out, error="cut off")


def _text(root: Path) -> Made:
    return Made(write(root / "a.tar", b"This is a text.\n" * 100), error="no TAR file")
