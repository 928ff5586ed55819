"""Cases of folders of image files."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from inputs.case import Case, Made, Pixels, group
from inputs.making import noise, png, tiff, wide, write

_ROWS = {"file_name": ["b.png", "a.png", "c.png"], "age": [41, 7, 19], "site": ["Rome", None, "Oslo"]}
_FIELDS = {"age": [41, 7, 19], "site": ["Rome", None, "Oslo"]}


def cases() -> list[Case]:
    return [
        Case("a folder", "Pillow", _flat),
        Case("class folders", "Pillow", _classes),
        Case("splits of class folders", "Pillow", _splits),
        Case("one folder in a folder", "Pillow", _one_below),
        Case("an image beside class folders", "Pillow", _outside),
        Case("images of several sizes, channels and depths", "Pillow, tifffile", _mixed),
        Case("`metadata.csv`", "pandas", lambda root: _described(root, _csv)),
        Case("`metadata.jsonl`", "pandas", lambda root: _described(root, _jsonl)),
        Case("`metadata.parquet`", "pandas", lambda root: _described(root, _parquet)),
        Case("`metadata.csv` in each split (image folder of `datasets`)", "pandas", _described_splits),
        Case("`metadata.jsonl` with a column `label`, and rows that lead nowhere", "json", _labelled),
        Case("metadata of numbers with leading zeros, gaps and truth values", "csv", _kinds_of_cells),
        Case("`metadata.jsonl` that is no JSON", "bytes by hand", _broken),
        Case("links, a pipe, a hidden file, a name that is no UTF-8", "the system", _odd),
        Case("PNG and TIFF of 16 bits", "scikit-image", _of_scikit_image),
        Case("an empty folder", "mkdir", lambda root: Made(root, error="holds no files")),
        Case("a folder of a text file alone", "bytes by hand", _nothing),
        Case("a single image file", "Pillow", _single),
        Case("image files without a suffix, and a README", "Pillow", _without_suffix),
        Case("a single image file without a suffix", "Pillow", _file_without_suffix),
        Case("a path where nothing is", "", lambda root: Made(root / "none", error="no such file or folder")),
    ]


def _save(root: Path, names: Mapping[str, Pixels]) -> None:
    for name, pixels in names.items():
        write(root / name, png(pixels))


def _pictures(*names: str) -> dict[str, Pixels]:
    return {name: noise(4, 5, seed=seed) for seed, name in enumerate(names)}


def _flat(root: Path) -> Made:
    made = _pictures("B.png", "a/1.png", "a 2.png", "é.png")
    _save(root, made)
    return Made(root, [group(list(made.values()), names=list(made))])


def _classes(root: Path) -> Made:
    made = _pictures("cat/10.png", "cat/9.png", "dog/1.png", "dog/deep/1.png")
    _save(root, made)
    return Made(root, [group(list(made.values()), names=list(made), labels=[0, 0, 1, 1], class_names=["cat", "dog"])])


def _splits(root: Path) -> Made:
    made = _pictures("test/dog/1.png", "train/cat/1.png", "train/dog/1.png", "val/eel/1.png")
    _save(root, made)
    known = {"labels": [1, 0, 1, 2], "class_names": ["cat", "dog", "eel"]}
    splits = {"split": ["test", "train", "train", "val"]}
    return Made(root, [group(list(made.values()), names=list(made), fields=splits, **known)])


def _one_below(root: Path) -> Made:
    made = _pictures("photos/1.png", "photos/2.png")
    _save(root, made)
    return Made(root, [group(list(made.values()), names=list(made))])


def _outside(root: Path) -> Made:
    made = _pictures("0.png", "cat/1.png", "dog/1.png")
    _save(root, made)
    return Made(root, [group(list(made.values()), names=list(made))])


def _mixed(root: Path) -> Made:
    grey, colour, deep = noise(4, 5), noise(6, 4, 3), wide(4, 5)
    _save(root, {"a/0.png": grey, "a/1.png": colour, "b/3.png": grey[::-1]})
    write(root / "b/2.tif", tiff(deep))
    classes = {"class_names": ["a", "b"]}
    return Made(
        root,
        [
            group([grey, grey[::-1]], names=["a/0.png", "b/3.png"], labels=[0, 1], **classes),
            group([colour], names=["a/1.png"], labels=[0], **classes),
            group([deep], names=["b/2.tif"], labels=[1], **classes),
        ],
    )


def _of_scikit_image(root: Path) -> Made:
    from skimage import io  # noqa: PLC0415 (slow to import)

    io.imsave(root / "a.png", wide(6, 7), check_contrast=False)
    io.imsave(root / "b.tif", wide(6, 7, seed=1), check_contrast=False)
    return Made(root, [group([wide(6, 7), wide(6, 7, seed=1)], names=["a.png", "b.tif"])])


def _csv(table: pd.DataFrame, folder: Path) -> None:
    table.to_csv(folder / "metadata.csv", index=False)


def _jsonl(table: pd.DataFrame, folder: Path) -> None:
    table.to_json(folder / "metadata.jsonl", orient="records", lines=True)


def _parquet(table: pd.DataFrame, folder: Path) -> None:
    table.to_parquet(folder / "metadata.parquet")


def _described(root: Path, write_rows) -> Made:  # type: ignore[no-untyped-def]
    made = _pictures(*_ROWS["file_name"])
    _save(root, made)
    write_rows(pd.DataFrame(_ROWS), root)
    return Made(root, [group(list(made.values()), names=_ROWS["file_name"], fields=_FIELDS)])


def _described_splits(root: Path) -> Made:
    made = _pictures("test/0.png", "train/0.png", "train/1.png")
    _save(root, made)
    for split, rows in {"test": [("0.png", "a text")], "train": [("1.png", "one"), ("0.png", "two")]}.items():
        _csv(pd.DataFrame(rows, columns=["file_name", "text"]), root / split)
    images = [made[name] for name in ("test/0.png", "train/1.png", "train/0.png")]
    fields = {"text": ["a text", "one", "two"], "split": ["test", "train", "train"]}
    return Made(root, [group(images, names=["test/0.png", "train/1.png", "train/0.png"], fields=fields)])


def _labelled(root: Path) -> Made:
    made = _pictures("c.png", "a.png")
    _save(root, made)
    rows = [("c.png", "zebra"), ("a.png", "ant"), ("none.png", "ant"), ("../a.png", "ant")]
    write(
        root / "metadata.jsonl",
        "".join(json.dumps({"file_name": file, "label": label, "box": [1, 2]}) + "\n" for file, label in rows).encode(),
    )
    groups = [group(list(made.values()), names=["c.png", "a.png"], labels=[1, 0], class_names=["ant", "zebra"])]
    return Made(root, groups, {"none.png": "no such image", "../a.png": "no such image"})


def _kinds_of_cells(root: Path) -> Made:
    made = _pictures("a.png", "b.png")
    _save(root, made)
    write(
        root / "metadata.csv",
        b"file_name,code,n,x,seen,big\na.png,007,5,1.5,true,99999999999999999999\nb.png,012,,2,false,1\n",
    )
    fields = {
        "code": ["007", "012"],
        "n": [5, None],
        "x": [1.5, 2.0],
        "seen": [True, False],
        "big": ["99999999999999999999", "1"],
    }
    return Made(root, [group(list(made.values()), names=list(made), fields=fields)])


def _broken(root: Path) -> Made:
    _save(root, _pictures("a.png"))
    write(root / "metadata.jsonl", b'{"file_name": "a.png"}\n{"file_name": \n')
    return Made(root, error="line 2")


def _odd(root: Path) -> Made:
    photos = root / "photos"
    _save(root, {"outside.png": noise(4, 5, seed=1), "photos/a.png": noise(4, 5), "photos/.hidden.png": noise(4, 5)})
    (photos / "b.png").symlink_to("../outside.png")
    (photos / "lost.png").symlink_to("nowhere.png")
    os.mkfifo(photos / "pipe.png")
    Path(os.fsdecode(os.fsencode(photos) + b"/\xff.png")).write_bytes(png(noise(4, 5)))
    skipped = {"lost.png": "link", "pipe.png": "not a regular file", "\\udcff.png": "UTF-8"}
    return Made(photos, [group([noise(4, 5), noise(4, 5, seed=1)], names=["a.png", "b.png"])], skipped)


def _nothing(root: Path) -> Made:
    write(root / "notes.txt", b"These are notes.\n")
    return Made(root, error="no readable image: notes.txt: no image by its suffix")


def _single(root: Path) -> Made:
    return Made(write(root / "a.png", png(noise(4, 5))), [group([noise(4, 5)], names=["a.png"])])


def _without_suffix(root: Path) -> Made:
    made = {"1.2.840": noise(4, 5), "IM0001": noise(4, 5, seed=1)}
    for name, pixels in made.items():
        write(root / name, png(pixels))
    write(root / "README", b"These are notes.\n")
    return Made(root, [group(list(made.values()), names=list(made))], {"README": "no image by its first bytes"})


def _file_without_suffix(root: Path) -> Made:
    return Made(write(root / "scan", png(noise(4, 5))), [group([noise(4, 5)], names=["scan"])])
