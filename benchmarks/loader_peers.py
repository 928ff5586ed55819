"""Forms of a training set, written and read as their own pages advise. All but `smalti` need no smalti.

    python benchmarks/loader_peers.py make FORM IMAGES.npy FOLDER
    python benchmarks/loader_peers.py read FORM FOLDER WORKERS EPOCHS

Both print one JSON object. `benchmarks.loaders` runs this file with a Python that has the packages of the forms. Images
are uint8 [N, H, W] or [N, H, W, C]. PNG files are Pillow's with its own settings. Each reader gives shuffled batches of
uint8 tensors [256, ...], each by the shuffle that its form offers.
"""

import json
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import ModuleSpec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

BATCH_IMAGES = 256
SHARD_IMAGES = 4096


def png(image: Any) -> bytes:
    """The PNG file of an image."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(data: bytes) -> torch.Tensor:
    """The pixels of a PNG file."""
    return torch.from_numpy(np.array(Image.open(BytesIO(data))))


def write_webdataset(images: Any, folder: Path) -> None:
    """Tar files of PNG files."""
    import webdataset  # noqa: PLC0415

    with webdataset.ShardWriter(f"file:{folder}/%05d.tar", maxcount=SHARD_IMAGES, verbose=0) as writer:
        for number, image in enumerate(images):
            writer.write({"__key__": f"{number:08}", "png": png(image)})


def read_webdataset(folder: Path, workers: int) -> Iterable[Any]:
    """Shards are shuffled, and images within a buffer of a shard; batches are made in the workers."""
    import webdataset  # noqa: PLC0415

    urls = sorted(str(path) for path in folder.glob("*.tar"))
    stream = webdataset.WebDataset(urls, shardshuffle=len(urls), empty_check=False).shuffle(SHARD_IMAGES)
    batches = stream.map(lambda sample: pixels(sample["png"])).batched(BATCH_IMAGES, collation_fn=torch.stack)
    return DataLoader(batches, batch_size=None, num_workers=workers)


def write_mds(images: Any, folder: Path) -> None:
    """Shards of PNG files."""
    with _mosaic().MDSWriter(out=str(folder), columns={"image": "bytes"}) as writer:
        for image in images:
            writer.write({"image": png(image)})


def read_mds(folder: Path, workers: int) -> Iterable[Any]:
    """Its own shuffle of shards and samples."""
    mosaic = _mosaic()

    class Images(mosaic.StreamingDataset):  # type: ignore[misc,name-defined]
        def __getitem__(self, at: int) -> torch.Tensor:
            return pixels(super().__getitem__(at)["image"])

    dataset = Images(local=str(folder), shuffle=True, batch_size=BATCH_IMAGES)
    return DataLoader(dataset, batch_size=BATCH_IMAGES, num_workers=workers)


def _mosaic() -> Any:
    """The package `streaming`. It imports torchvision for sets of its own, which no CPU build of torch need have."""
    try:
        import torchvision  # noqa: F401, PLC0415
    except (ImportError, RuntimeError):
        named: dict[str, dict[str, Any]] = {
            "torchvision": {},
            "torchvision.datasets": {"VisionDataset": object},
            "torchvision.transforms": {},
            "torchvision.transforms.functional": {"to_tensor": None},
        }
        for name, contents in named.items():
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__spec__ = ModuleSpec(name, None)
            vars(sys.modules[name]).update(contents)
    import streaming  # noqa: PLC0415

    return streaming


def write_litdata(images: Any, folder: Path, encode: Callable[[Any], Any]) -> None:
    """Chunks of 64 MB."""
    from litdata.streaming.cache import Cache  # noqa: PLC0415

    cache = Cache(str(folder), chunk_bytes="64MB")
    for number, image in enumerate(images):
        cache[number] = encode(image)
    cache.done()
    cache.merge()


def read_litdata(folder: Path, workers: int, decode: Callable[[Any], torch.Tensor]) -> Iterable[Any]:
    """Its own shuffle of chunks and samples, and its own loader."""
    from litdata import StreamingDataLoader, StreamingDataset  # noqa: PLC0415

    dataset = StreamingDataset(str(folder), shuffle=True, transform=decode)
    return StreamingDataLoader(dataset, batch_size=BATCH_IMAGES, num_workers=workers)  # type: ignore[no-any-return]


def write_parquet(images: Any, folder: Path) -> None:
    """One Parquet file of PNG files, as `datasets` writes images."""
    import datasets  # noqa: PLC0415

    def rows() -> Iterator[dict[str, Any]]:
        for image in images:
            yield {"image": {"bytes": png(image), "path": None}}

    features = datasets.Features({"image": datasets.Image()})
    rows_of = datasets.Dataset.from_generator(rows, features=features, cache_dir=str(folder / "cache"))
    rows_of.to_parquet(folder / "images.parquet")


def read_parquet(folder: Path, workers: int) -> Iterable[Any]:
    """`datasets` with its own format of tensors; DataLoader shuffles."""
    import datasets  # noqa: PLC0415

    rows = datasets.load_dataset(
        "parquet", data_files=str(folder / "images.parquet"), split="train", cache_dir=str(folder / "cache")
    ).with_format("torch")

    class Images(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(rows)

        def __getitems__(self, numbers: list[int]) -> list[torch.Tensor]:
            return list(rows[numbers]["image"])

    return DataLoader(Images(), batch_size=BATCH_IMAGES, shuffle=True, num_workers=workers)


def read_smalti(archive: Path, workers: int) -> Callable[[int], Iterable[Any]]:
    """The loader of an epoch of an archive, as docs/pytorch.md has it."""
    from smalti.interop.torch import ArchiveDataset, BlockShuffleSampler  # noqa: PLC0415

    dataset = ArchiveDataset(archive, labels=False)
    sampler = BlockShuffleSampler(dataset)

    def loader_of(epoch: int) -> Iterable[Any]:
        sampler.set_epoch(epoch)
        return DataLoader(dataset, batch_size=BATCH_IMAGES, sampler=sampler, num_workers=workers)

    return loader_of


FORMS: dict[str, tuple[Callable[[Any, Path], None], Callable[[Path, int], Iterable[Any]], str]] = {
    "WebDataset, PNG": (write_webdataset, read_webdataset, "*.tar"),
    "MDS, PNG": (write_mds, read_mds, "*"),
    "LitData, PNG": (
        lambda images, folder: write_litdata(images, folder, png),
        lambda folder, workers: read_litdata(folder, workers, pixels),
        "*",
    ),
    "LitData, raw": (
        lambda images, folder: write_litdata(images, folder, np.ascontiguousarray),
        lambda folder, workers: read_litdata(folder, workers, torch.from_numpy),
        "*",
    ),
    "Parquet, PNG": (write_parquet, read_parquet, "*.parquet"),
}
"""By name: how it is written, how it is read, and its files."""


def read_epochs(loader_of: Callable[[int], Iterable[Any]], epochs: int) -> list[dict[str, float]]:
    """Read whole epochs. loader_of : the loader of an epoch

    seconds : of the whole epoch, with the start of workers    first_seconds : of them, to the first batch
    """
    found = []
    for epoch in range(epochs):
        begun, first, images, first_images = time.perf_counter(), 0.0, 0, 0
        for batch in loader_of(epoch):
            images += len(batch)
            if not first:
                first, first_images = time.perf_counter() - begun, len(batch)
        seconds = time.perf_counter() - begun
        found.append({"seconds": seconds, "first_seconds": first, "images": images, "first_images": first_images})
    return found


def main(words: list[str]) -> None:
    """Do what the command line says."""
    if words[1] == "smalti":
        print(json.dumps(read_epochs(read_smalti(Path(words[2]), int(words[3])), int(words[4]))))
        return
    write, read, files = FORMS[words[1]]
    if words[0] == "make":
        folder = Path(words[3])
        write(np.load(words[2], mmap_mode="r"), folder)
        print(json.dumps({"bytes": sum(path.stat().st_size for path in folder.glob(files) if path.is_file())}))
        return
    loader = read(Path(words[2]), int(words[3]))
    print(json.dumps(read_epochs(lambda _: loader, int(words[4]))))


if __name__ == "__main__":
    main(sys.argv[1:])
