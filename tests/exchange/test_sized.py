"""Archives of images of any sizes in the layers above: outputs, comparison, sources, datasets, commands."""

import numpy as np
import pytest

import smalti as package
from decoders.cell_kind import CELLS
from helpers.command_line import Smalti
from helpers.damaged_files import flip, sections
from helpers.made_up_archives import random_network, random_tokens, write
from helpers.sized_archives import SIZES, random_images, write_sized
from smalti.archive.edit.edit import merge_archives
from smalti.archive.open import open_images
from smalti.decoders.kind import CELL_KINDS
from smalti.errors import SourceError, UsageError
from smalti.exchange import compare, extract
from smalti.sources.open import open_groups


@pytest.fixture(scope="module", autouse=True)
def known_kind():
    CELL_KINDS["cells"] = CELLS
    yield
    del CELL_KINDS["cells"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    names = [f"{'ab'[number % 2]}/{number}.png" for number in range(10)]
    fields = {"weight": [number / 2 for number in range(10)]}
    path = tmp_path_factory.mktemp("sized") / "a.smalti"
    return write_sized(path, random_images(), np.arange(10) % 2, names, fields, class_names=("a", "b"))


def assert_holds(place, made, numbers=None):
    """A folder or a file of images holds those of an archive, whatever their order."""
    numbers = range(len(made.pixels)) if numbers is None else numbers
    found = {
        name: (pixels, label, batch.fields["weight"][row])
        for source in open_groups(place)
        for batch in source.batches(3)
        for row, (name, pixels, label) in enumerate(zip(batch.names, batch.pixels, batch.labels, strict=True))
    }
    assert len(found) == len(numbers)
    for number in numbers:
        pixels, label, weight = found[made.names[number]]
        assert (pixels == made.pixels[number]).all() and (label, weight) == (number % 2, number / 2)


@pytest.mark.parametrize("way", ["out", "a.tar", "a.parquet"])
def test_images_go_to_folders_and_files(made, tmp_path, way):
    with open_images(made.path) as archive:
        assert extract(archive, tmp_path / way).images == 10
        assert_holds(tmp_path / way, made)
        extract(archive, tmp_path / f"few-{way}", [7, 4, 0])
        assert_holds(tmp_path / f"few-{way}", made, [7, 4, 0])
        with pytest.raises(UsageError, match="one shape, these have several"):
            extract(archive, tmp_path / "a.npy")


def test_originals_are_compared_in_any_order_of_shapes(made, tmp_path):
    with open_images(made.path) as archive:
        extract(archive, tmp_path / "out")
    report = package.test(made.path, against=tmp_path / "out")
    # the folder has its images by name, in the order of the archive within each class
    assert report.integrity.ok and report.comparison.quality.images == 10
    with open_images(made.path) as archive:
        own = list(open_groups(made.path))
        found = compare(archive, own[::-1])
        assert found.quality.mse_max == 0 and found.labels_equal and found.names_equal
        with pytest.raises(SourceError, match="the archive of"):
            compare(archive, own[:3])
        short = [*own[:-1], _Short(own[-1])]
        with pytest.raises(SourceError, match="images"):
            compare(archive, short)


class _Short:
    """A source without its last image."""

    def __init__(self, source):
        self._source = source
        self.description, self.image_shape, self.dtype = source.description, source.image_shape, source.dtype

    def batches(self, batch_images, start=0, stop=None):
        return self._source.batches(batch_images, start, len(self._source) - 1)


def test_an_archive_is_a_source_for_each_size(made):
    sources = open_groups(made.path)
    assert [source.image_shape for source in sources] == list(dict.fromkeys((*size, 1) for size in SIZES))
    assert sum(map(len, sources)) == 10
    twice = next(source for source in sources if source.image_shape == (8, 8, 1))
    (batch,) = twice.batches(5)
    assert batch.names == (made.names[5], made.names[6]) and batch.labels.tolist() == [1, 0]
    assert (next(iter(twice.batches_at(np.array([1]), 4))).pixels[0] == made.pixels[6]).all()
    assert (next(iter(twice.batches(4, 1))).pixels[0] == made.pixels[6]).all()


def test_datasets_of_pytorch(made):
    torch = pytest.importorskip("torch")
    from smalti.interop.torch.dataset import ArchiveDataset  # noqa: PLC0415
    from smalti.interop.torch.sampler import BlockShuffleSampler  # noqa: PLC0415

    with ArchiveDataset(made.path) as data:
        assert len(data) == 10
        for number, (image, label) in enumerate(data[number] for number in range(10)):
            assert torch.equal(image, torch.from_numpy(made.pixels[number]).permute(2, 0, 1)) and label == number % 2
        assert sorted(BlockShuffleSampler(data, 3)) == list(range(10))
        with pytest.raises(UsageError, match="several shapes"):
            data[[0, 1]]
        with pytest.raises(UsageError, match="several sizes"):
            data.decoder()


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_of_hugging_face(made, tmp_path, streaming):
    pytest.importorskip("datasets")
    from smalti.interop.huggingface import to_dataset  # noqa: PLC0415

    rows = list(to_dataset(made.path, streaming=streaming, cache_dir=tmp_path))
    assert len(rows) == 10
    for row, pixels in zip(rows, made.pixels, strict=True):
        assert (np.asarray(row["image"]) == pixels[..., 0]).all()


@pytest.fixture
def smalti(capsys, monkeypatch):
    return Smalti(capsys, monkeypatch)


def test_commands(made, smalti, tmp_path):
    told = smalti("info", made.path, "--json").json
    assert (told["shape"], told["shapes"], told["block_images"]) == (None, 9, None)
    assert "10 of 9 shapes" in smalti("info", made.path).out
    assert smalti("test", made.path, "--full").code == 0
    assert smalti("decompress", made.path, "-o", tmp_path / "out").code == 0
    assert_holds(tmp_path / "out", made)
    assert smalti("test", made.path, "--against", tmp_path / "out").code == 0
    assert smalti("get", made.path, 3, 4, "-o", tmp_path / "few").code == 0
    assert_holds(tmp_path / "few", made, [3, 4])
    assert smalti("drop", made.path, 0, "-o", tmp_path / "b.smalti").code == 0
    merge_archives([made.path, tmp_path / "b.smalti"], tmp_path / "c.smalti")
    assert "several shapes" in smalti("info", tmp_path / "c.smalti").out
    assert smalti("test", tmp_path / "c.smalti", "--full").code == 0
    assert smalti("repair", made.path, "-o", tmp_path / "d.smalti").code == 0


def test_a_command_gets_regions(made, smalti, tmp_path):
    assert smalti("get", made.path, 3, 4, "--rows", "5:60", "--columns", ":20", "-o", tmp_path / "a.npy").code == 0
    expected = np.stack([made.pixels[number][5:60, :20, 0] for number in (3, 4)])
    assert (np.load(tmp_path / "a.npy") == expected).all()
    assert smalti("get", made.path, 3, 0, "--columns", "0:30", "-o", tmp_path / "out").code == 0
    for wrong in ("5", "a:b", "1:2:3"):
        assert "--rows" in smalti.fails(2, "get", made.path, 3, "--rows", wrong, "-o", tmp_path / "b.npy")
    assert "no pixel" in smalti.fails(2, "get", made.path, 0, "--rows", "5:9", "-o", tmp_path / "b.npy")


def test_regions_of_images_of_one_shape(tmp_path):
    path = write(tmp_path / "a.smalti", random_tokens(5), random_network())
    with open_images(path) as archive:
        extract(archive, tmp_path / "a.npy", [1, 2], region=(slice(1, 4), slice(2, 7)))
        assert (np.load(tmp_path / "a.npy") == archive[[1, 2]][:, 1:4, 2:7]).all()
        with pytest.raises(UsageError, match="numbers"):
            extract(archive, tmp_path / "b.npy", region=(slice(1, 4), slice(2, 7)))


def test_copies_are_told(smalti, tmp_path):
    images = random_images()
    for count, words in (
        (1, "1 image is an exact copy of another and is stored once"),
        (3, "3 images are exact copies"),
    ):
        made = write_sized(tmp_path / f"{count}.smalti", [*images, *images[3 : 3 + count]])
        assert words in smalti("info", made.path).out
        assert smalti("info", made.path, "--json").json["copies"] == count
    plain = smalti("info", write_sized(tmp_path / "0.smalti", images).path, "--json")
    assert "copies" not in plain.json


def test_damaged_copies_are_named(tmp_path):
    images = random_images([(16, 16), (24, 24), (40, 8)])
    names = [f"{number}.png" for number in range(6)]
    made = write_sized(tmp_path / "a.smalti", [images[n] for n in (0, 1, 0, 2, 1, 0)], names=names, block_cells=16)
    entry = next(entry for entry, _ in sections(made.path) if entry.name == "token block 0")
    made.path.write_bytes(flip(made.path.read_bytes(), entry.end - 2))
    with open_images(made.path) as archive:
        result = extract(archive, tmp_path / "out", skip_damaged=True)
    lost = {number for number in range(6) if not (tmp_path / "out" / names[number]).exists()}
    assert set(result.missing_images) == lost and {0, 2, 5} <= lost < set(range(6))
