"""Cases of MDS and LitData. Shards that large programs write are in `tests/data/shards`, made by its `make.py`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np

from inputs.case import Case, Group, Made, Pixels, Value, group
from inputs.making import noise, plain_rgb, wide

DATA = Path(__file__).parents[1] / "data" / "shards"
_MDS, _LITDATA = "mosaicml-streaming", "litdata"


def cases() -> list[Case]:
    return [*_mds_cases(), *_litdata_cases()]


def pictures(count: int = 3) -> list[Pixels]:
    return [noise(4, 5, 3, seed=seed) for seed in range(count)]


def copied(root: Path, name: str) -> Path:
    """Copy committed shards, so that messages name no folder of this project."""
    source, copy = DATA / name, root / Path(name).name
    if source.is_dir():
        shutil.copytree(source, copy)
    else:
        shutil.copy(source, copy)
    return copy


def shard_case(what: str, maker: str, name: str, *groups: Group, **outcome: object) -> Case:
    return Case(what, maker, lambda root: Made(copied(root, name), groups, **outcome))  # type: ignore[arg-type]


def damaged_case(what: str, maker: str, name: str, file: str, at: int, words: str) -> Case:
    """Return the case of shards of which one byte is changed, or that end there if `at` is negative."""

    def make(root: Path) -> Made:
        copy = copied(root, name)
        path = copy / file if file else copy
        data = bytearray(path.read_bytes())
        if at < 0:
            del data[at:]
        else:
            data[at] ^= 1
        path.write_bytes(data)
        return Made(copy, error=words)

    return Case(what, maker, make)


def _photo(folder: str) -> Group:
    return group([imagecodecs.jpeg8_decode((DATA / folder / "photo.jpg").read_bytes())])


def _greys(dtype: type[np.generic], count: int = 2) -> Sequence[Pixels]:
    kind = np.iinfo(dtype)  # type: ignore[type-var]
    return [np.random.default_rng(seed).integers(0, kind.max + 1, (4, 5), dtype=dtype) for seed in range(count)]


def _mds_cases() -> list[Case]:
    labelled = group(pictures(), labels=[0, 1, 2])
    return [
        shard_case("MDS: `pil` and `int`, called x and y", _MDS, "mds/pil", group(pictures(), labels=[2, 1, 0])),
        shard_case("MDS: `pil` of seven modes", _MDS, "mds/modes", *_modes(), skipped={"entry 6": "32-bit samples"}),
        shard_case(
            "MDS: `pil` of mode P, whose palette the format does not keep",
            _MDS,
            "mds/palette",
            group([noise(4, 5, seed=8) % 16], fields={"source_mode": ["P;indices"]}),
        ),
        shard_case(
            "MDS: `png`, classes as texts, absolute paths, several shards",
            _MDS,
            "mds/png",
            group(pictures(), labels=[1, 0, 1], class_names=["a", "b"], names=["0.png", "1.png", "2.png"]),
        ),
        shard_case("MDS: `png` of 16 bits", _MDS, "mds/deep_png", group([wide(4, 5, seed=9)])),
        shard_case(
            "MDS: `jpeg`, the bytes of a file",
            _MDS,
            "mds/jpeg",
            Group(_photo("mds").pixels, fields={"split": ["a"]}),
        ),
        shard_case(
            "MDS: `ndarray` of any shape and dtype: [H, W, C], [H, W], [C, H, W], floats",
            _MDS,
            "mds/arrays",
            group([noise(4, 5, 3, seed=11)]),
            group([noise(6, 5, seed=12)]),
            group([noise(3, 6, 7, seed=13).transpose(1, 2, 0)]),
            skipped={"entry 3": "holds float64"},
        ),
        shard_case("MDS: `ndarray:uint16`", _MDS, "mds/arrays_16", group(_greys(np.uint16))),
        shard_case("MDS: `ndarray:int16:4,5`", _MDS, "mds/arrays_int16", group(_greys(np.int16))),
        shard_case("MDS: signed arrays; JSON of numbers, texts, truth values, nulls", _MDS, "mds/one_shape", _gaps()),
        shard_case(
            "MDS: `ndarray` of three dtypes and shapes, one side of 2 bytes",
            _MDS,
            "mds/any_shape",
            group([noise(4, 5, 3, seed=1)]),
            group([wide(2, 300, 3, seed=2)]),
            group([np.random.default_rng(3).integers(0, 1 << 15, (6, 5), dtype=np.int16) - 9]),
        ),
        shard_case("MDS: all kinds of scalars; bytes and a pickle, left out", _MDS, "mds/scalars", _scalars()),
        shard_case("MDS: packed by zstd, with SHA-1 and XXH64", _MDS, "mds/packed_zs", labelled),
        shard_case("MDS: packed by gzip", _MDS, "mds/packed_gz", labelled),
        shard_case("MDS: packed by bzip2", _MDS, "mds/packed_bz", labelled),
        shard_case("MDS: packed by Brotli", _MDS, "mds/packed_br", labelled),
        shard_case("MDS: packed by Snappy", _MDS, "mds/packed_sn", labelled),
        shard_case(
            "MDS: a folder of two splits",
            _MDS,
            "mds/splits",
            group(pictures(), labels=[0, 1, 2], fields={"split": ["train", "train", "val"]}),
        ),
        shard_case("MDS without images", _MDS, "mds/no_images", error="no column holds images"),
        shard_case("MDS with two columns of images", _MDS, "mds/two_images", error="call one of them image"),
        damaged_case("MDS with a changed byte and SHA-256", _MDS, "mds/splits", "train/shard.00000.mds", 400, "sha256"),
        damaged_case("MDS cut off", _MDS, "mds/pil", "shard.00000.mds", -1, "bytes, not"),
    ]


def _gaps() -> Group:
    """Return signed images with a label, a name, and fields of which some have no value or one of another kind."""
    fields: dict[str, list[Value]] = {
        "age": [41, None, -3],
        "count": [-(2**63), 0, 7],
        "dose": [0.1, -0.0, float("inf")],
        "gone": [None] * 3,
        "mixed": [1, "ü", 0.5],
        "ok": [True, False, True],
        "site": ["", "é", "猫 x"],
    }
    names = ["a/1.dcm", "b.dcm#0", "ü.dcm"]
    return group([pixels - 20_000 for pixels in _greys(np.int16, 3)], labels=[2, 0, -1], names=names, fields=fields)


def _modes() -> list[Group]:
    """Return images of all modes of Pillow that MDS keeps exactly, by shape and dtype."""
    grey = np.stack([noise(4, 5, seed=1), np.where(noise(4, 5, seed=5) > 127, 255, 0).astype(np.uint8)])

    def one(pixels: Pixels, mode: str, source_mode: str | None = None) -> Group:
        return group([pixels], fields={"mode": [mode], "source_mode": [source_mode]})

    return [
        group(grey, fields={"mode": ["L", "1"], "source_mode": [None, "1"]}),
        one(noise(4, 5, 2, seed=2), "LA"),
        one(noise(4, 5, 4, seed=3), "RGBA"),
        one(wide(4, 5, seed=4), "I;16"),
        one(plain_rgb(noise(4, 5, 4, seed=6)), "CMYK", "CMYK"),
    ]


def _scalars() -> Group:
    whole = [f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)]
    fields: dict[str, list[object]] = {name: [5] for name in whole}
    fields |= {f"float{bits}": [5.0] for bits in (16, 32, 64)}
    fields |= {"digits": ["1" + 30 * "0"], "point": [0.1], "price": ["1.20"], "json": ['{"a": [1]}'], "word": ["é"]}
    return group([noise(4, 5)], fields=dict(sorted(fields.items())))


def _litdata_cases() -> list[Case]:
    plain = group(pictures())
    about = {"about.iso": [0.5, 1.5, 2.5], "about.ok": [False, False, True]}
    return [
        shard_case(
            "LitData: images of Pillow, integers, texts",
            _LITDATA,
            "litdata/pil",
            group(pictures(), labels=[2, 1, 0], names=["a/0", "a/1", "a/2"]),
        ),
        shard_case("LitData: grey images of Pillow, 16 bits", _LITDATA, "litdata/deep_pil", group(_greys(np.uint16))),
        shard_case(
            "LitData: pairs of a tensor [C, H, W] and an integer",
            _LITDATA,
            "litdata/tensors",
            group(pictures(), labels=[2, 1, 0]),
        ),
        shard_case("LitData: tensors uint16 [H, W]", _LITDATA, "litdata/grey_tensors", group(_greys(np.uint16))),
        shard_case("LitData: tensors int16 [H, W]", _LITDATA, "litdata/signed_tensors", group(_greys(np.int16))),
        shard_case("LitData: tensors of floats", _LITDATA, "litdata/floats", error="holds float32"),
        shard_case(
            "LitData: arrays beside nested values and a list; in frames of zstd",
            _LITDATA,
            "litdata/nested_frames",
            group(pictures(), fields=about),
        ),
        shard_case("LitData: each sample packed by zstd", _LITDATA, "litdata/packed_samples", plain),
        shard_case("LitData: whole chunks packed by zstd", _LITDATA, "litdata/packed_chunks", plain),
        shard_case("LitData: arrays alone", _LITDATA, "litdata/bare", plain),
        shard_case(
            "LitData: bytes of PNG files, classes as texts",
            _LITDATA,
            "litdata/bytes",
            group(pictures(), labels=[1, 0, 1], class_names=["a", "b"]),
        ),
        shard_case("LitData: the bytes of a JPEG file", _LITDATA, "litdata/jpeg", _photo("litdata")),
        shard_case(
            "LitData: a folder of two splits",
            _LITDATA,
            "litdata/splits",
            group(
                [pictures()[2], *pictures(2)],
                labels=[0, 0, 1],
                fields={"split": ["test", "train", "train"]},
            ),
        ),
        damaged_case("LitData: a table that goes back", _LITDATA, "litdata/bare", "chunk-0-0.bin", 6, "goes back"),
    ]
