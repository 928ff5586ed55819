"""TAR files made by webdataset, tar, gzip, zstandard and by hand: images, their order, and refusals."""

import gzip
import io
import json
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.image_files import assert_same, everything, noise, reasons, save
from smalti.errors import MissingDependencyError, SourceError
from smalti.images.batch import ImageBatch
from smalti.images.source import ImageSource
from smalti.sources.open import open_groups, open_source
from smalti.sources.records.record import survey
from smalti.sources.tar.tar import TarRecords


def png(*shape: int, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(*shape, seed=seed)).save(file, "png")
    return file.getvalue()


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(
    path: Path, *members: tuple[tarfile.TarInfo, bytes] | tuple[str, bytes], form: int = tarfile.PAX_FORMAT
) -> Path:
    with tarfile.open(path, "w", format=form) as file:
        for info, data in members:
            file.addfile(member(info, data)[0] if isinstance(info, str) else info, io.BytesIO(data))
    return path


def packed(path: Path, suffix: str) -> Path:
    """Make a copy, compressed as its suffix says."""
    data = path.read_bytes()
    other = path.with_name(path.name.removesuffix(".tar") + suffix)
    other.write_bytes(
        data if suffix == ".tar" else gzip.compress(data) if suffix.lower().endswith("gz") else zstd(data)
    )
    return other


def zstd(data: bytes) -> bytes:
    """Compress in two frames, as in concatenated files."""
    half = len(data) // 2
    return b"".join(zstandard.ZstdCompressor().compress(part) for part in (data[:half], data[half:]))


def write_samples(path: Path, samples: Sequence[dict[str, object]]) -> None:
    from webdataset import TarWriter  # noqa: PLC0415 (slow to import)

    with TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)


def test_samples_of_webdataset_are_images_with_labels_and_fields(tmp_path: Path) -> None:
    samples = [
        {
            "__key__": f"part/{number:03}",
            "png": noise(4, 5, 3, seed=number),
            "cls": number % 3,
            "json": {"age": number / 2, "ok": number > 1, "box": [1, 2]} | ({"place": "Rome"} if number == 2 else {}),
            "txt": f"caption {number}",
        }
        for number in range(5)
    ]
    write_samples(tmp_path / "a.tar", samples)
    source = open_source(tmp_path / "a.tar")
    found = everything(source, 2)
    np.testing.assert_array_equal(found.pixels, np.stack([noise(4, 5, 3, seed=number) for number in range(5)]))
    assert found.names == tuple(f"part/{number:03}.png" for number in range(5))
    assert found.labels is not None and found.labels.tolist() == [0, 1, 2, 0, 1]
    assert (source.class_names, source.skipped) == (None, ())
    assert found.fields == {
        "age": [0.0, 0.5, 1.0, 1.5, 2.0],
        "ok": [False, False, True, True, True],
        "txt": [f"caption {number}" for number in range(5)],
        "place": [None, None, "Rome", None, None],
    }


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.zst", ".TAR.GZ"])
def test_packed_files_are_read_as_plain_ones(tmp_path: Path, suffix: str) -> None:
    members = [(f"{number:02}.png", png(4, 4, seed=number)) for number in range(9)]
    plain = tar(tmp_path / "a.tar", *members)
    source, expected = open_source(packed(plain, suffix)), open_source(plain)
    assert_same(everything(source, 4), everything(expected, 4))
    for start, stop in ((0, 3), (2, 7), (8, 9), (3, None)):
        found = ImageBatch.joined(list(source.batches(2, start, stop)))
        assert found.names == tuple(f"{number:02}.png" for number in range(9))[start:stop]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_kind_of_tar(tmp_path: Path, form: int) -> None:
    names = [
        "d" * 90 + "/" + "e" * 60 + ".png",
        "ä.png",
        *(["x" * 300 + ".png"] if form != tarfile.USTAR_FORMAT else []),
    ]
    path = tar(tmp_path / "a.tar", *((name, png(4, 4, seed=len(name))) for name in names), form=form)
    source = open_source(path)
    assert everything(source).names == tuple(names)
    assert [name for batch in source.batches(1, 1) for name in batch.names or ()] == names[1:]


def test_packed_folders_are_read_as_folders(tmp_path: Path) -> None:
    for seed, name in enumerate(["train/b/1.v2.png", "train/a/1.png", "train/a/1.v2.png", "test/a/0.png"]):
        save(tmp_path / "root" / name, noise(4, 4, seed=seed))
    (tmp_path / "root" / "train" / "notes.txt").write_text("notes")
    (tmp_path / "root" / ".hidden.png").write_text("?")
    (tmp_path / "root" / "train" / "a" / "link.png").symlink_to("1.png")
    command = ["tar", "--sort=name", "-C", str(tmp_path / "root"), "-czf", str(tmp_path / "a.tgz"), "."]
    subprocess.run(command, check=True)
    source, folder = open_source(tmp_path / "a.tgz"), open_source(tmp_path / "root" / "train" / "..")
    found, expected = everything(source), everything(folder)
    assert reasons(source) == {
        "train/a/link.png": "a link, which is not followed",
        "train/notes.txt": "its sample has no image",
    }
    assert source.class_names == folder.class_names == ("a", "b")
    kept = [index for index, name in enumerate(expected.names or ()) if name != "train/a/link.png"]
    assert found.names == tuple((expected.names or ())[index] for index in kept)
    assert found.fields == {"split": ["test", "train", "train", "train"]}
    np.testing.assert_array_equal(found.pixels, expected.pixels[kept])


def test_several_images_of_a_sample_share_what_is_said_of_it(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar",
        ("0.left.png", png(4, 4, seed=1)),
        ("0.json", b'{"n": 5, "label": 7}'),
        ("0.right.png", png(4, 4, seed=2)),
        ("0.mask.png", png(6, 4, seed=3)),
        ("0.caption.txt", b"two views"),
        ("1.png", png(4, 4, seed=4)),
        ("1.cls", b"8\n"),
    )
    for name in (".tar", ".tar.gz"):
        groups = open_groups(packed(path, name))
        found, mask = (everything(group) for group in groups)
        assert (found.names, mask.names) == (("0.left.png", "0.right.png", "1.png"), ("0.mask.png",))
        assert found.fields == {"n": [5, 5, None], "caption": ["two views", "two views", None]}
        assert found.labels is not None and found.labels.tolist() == [7, 7, 8]
        assert mask.pixels[0, ..., 0].tolist() == noise(6, 4, seed=3).tolist()


def test_volumes_in_gzip_are_images(tmp_path: Path) -> None:
    volume = noise(3, 4, 5).astype(np.int16) - 100
    nibabel.save(nibabel.Nifti1Image(volume.T, np.eye(4)), tmp_path / "scan.nii.gz")
    data = (tmp_path / "scan.nii.gz").read_bytes()
    path = tar(tmp_path / "a.tar", ("s/1.nii.gz", data), ("s/1.cls", b"4"), ("s/2.NII.GZ", data), ("s/2.cls", b"5"))
    found = everything(open_source(path))
    assert found.names == tuple(f"s/{name}#{number}" for name in ("1.nii.gz", "2.NII.GZ") for number in range(3))
    assert found.labels is not None and found.labels.tolist() == [4, 4, 4, 5, 5, 5]
    np.testing.assert_array_equal(found.pixels[..., 0], np.concatenate([volume, volume]))


def test_labels_that_are_texts_are_classes(tmp_path: Path) -> None:
    data = png(4, 4)
    members = [
        ("0.png", data),
        ("0.cls", b"cat"),
        ("1.png", data),
        ("1.cls", b"12"),
        ("2.png", data),
        ("2.cls", b"ant\n"),
    ]
    source = open_source(tar(tmp_path / "a.tar", *members))
    labels = everything(source).labels
    assert source.class_names == ("12", "ant", "cat")
    assert labels is not None and labels.tolist() == [2, 0, 1]


def test_class_names_and_true_names_that_smalti_writes_come_back(tmp_path: Path) -> None:
    data = png(4, 4)
    members = [
        ("__class_names__", b'["no", "yes"]'),
        ("__other__", b"?"),
        ("0.png", data),
        ("0.cls", b"1"),
        ("0.json", b'{"__name__": "holiday/a.b.jpg"}'),
    ]
    source = open_source(tar(tmp_path / "a.tar", *members))
    assert (source.class_names, everything(source).names, source.skipped) == (("no", "yes"), ("holiday/a.b.jpg",), ())
    found = open_source(tar(tmp_path / "a.tar", ("__class_names__", b'["no"]'), *members[2:]))
    assert found.class_names == ("no",)  # a label may have no name
    with pytest.raises(SourceError, match="__class_names__: is no"):
        open_source(tar(tmp_path / "a.tar", ("__class_names__", b"no, yes"), *members[2:]))


def test_labels_that_some_images_lack_are_a_field(tmp_path: Path) -> None:
    data = png(4, 4)
    source = open_source(tar(tmp_path / "a.tar", ("0.png", data), ("0.cls", b"4"), ("1.png", data)))
    found = everything(source)
    assert (found.labels, found.fields) == (None, {"label": [4, None]})


def hostile(root: Path) -> tuple[Path, dict[str, str]]:
    """Make a TAR file with two good images among members that are skipped; return words of each reason."""
    data = png(4, 4)
    bomb = io.BytesIO()
    Image.new("L", (60, 60)).save(bomb, "png")
    python = io.BytesIO()
    np.save(python, np.array([{"a": 1}], object), allow_pickle=True)
    lying = io.BytesIO()
    np.lib.format.write_array_header_1_0(lying, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 4)})
    path = tar(
        root / "hostile.tar",
        ("good.png", data),
        ("../escape.png", data),
        ("a/../../escape2.png", data),
        ("/etc/absolute.png", data),
        ("bad\nname.png", data),
        member("link.png", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard.png", kind=tarfile.LNKTYPE, linkname="good.png"),
        member("device.png", kind=tarfile.CHRTYPE, devmajor=1, devminor=5),
        member("pipe.png", kind=tarfile.FIFOTYPE),
        member("folder.png", kind=tarfile.DIRTYPE),
        ("twice/x.png", data),
        ("twice/x.png", data),
        ("empty.png", b""),
        ("bomb.png", bomb.getvalue()),
        ("text.png", b"no image"),
        ("model.pth", b"\x80\x04cos\nsystem\n."),
        ("sample.pickle", b"\x80\x04cos\nsystem\n."),
        ("objects.npy", python.getvalue()),
        ("lying.npy", lying.getvalue() + b"1234"),
        (
            "pixels.npy",
            b"\x93NUMPY\x01\x00F\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }".ljust(80) + b"\0" * 4,
        ),
        ("json.png", data),
        ("json.json", b"[1]"),
        ("json.cls", b"\xff"),
        ("last/._good.png", b"of a file manager"),
        (b"\xff.png".decode("utf-8", "surrogateescape"), data),
        form=tarfile.GNU_FORMAT,
    )
    return path, {
        "../escape.png": "leads out",
        "a/../../escape2.png": "leads out",
        "/etc/absolute.png": "leads out",
        "bad\nname.png": "control characters",
        "link.png": "a link",
        "hard.png": "a link",
        "device.png": "not a regular file",
        "pipe.png": "not a regular file",
        "twice/x.png": "second member of this name",
        "empty.png": "empty file",
        "bomb.png": "too many pixels",
        "text.png": "not an image",
        "model.pth": "no image by its suffix",
        "sample.pickle": "no image by its suffix",
        "objects.npy": "Python objects",
        "lying.npy": "truncated",
        "pixels.npy": "float32",
        "json.json": "no JSON object",
        "json.cls": "no text in UTF-8",
        "\\udcff.png": "not valid UTF-8",
    }


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_hostile_members_are_passed_over_with_a_reason(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    path, expected = hostile(tmp_path)
    path = packed(path, suffix)
    before = sorted(tmp_path.rglob("*"))
    source = open_source(path)
    assert everything(source).names == ("good.png", "twice/x.png", "json.png")
    found = reasons(source)
    assert found.keys() == expected.keys()
    for name, words in expected.items():
        assert words in found[name], (name, found[name])
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = max(size, 0), kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        block[124:136] = b"\xff" * 4 + size.to_bytes(8, signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


GOOD = header("0.png", len(png(4, 4))) + png(4, 4).ljust(512, b"\0")
END = bytes(10240)

BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "no TAR file, or is cut off"),
    "a text": (lambda: b"this is no TAR file, whatever it is called" * 50, "is no TAR file"),
    "cut in a member": (lambda: GOOD[:700], "is cut off before byte"),
    "cut in a header": (lambda: GOOD + GOOD[:100], "is cut off before byte 1,024"),
    "no end": (lambda: GOOD + GOOD, "is cut off before byte 2,048"),
    "a damaged header": (lambda: GOOD + b"\1" * 512 + END, "damaged at byte 1,024"),
    "two strung together": (lambda: GOOD + END + GOOD + END, "another one follows behind its end at byte 1,024"),
    "a huge member": (lambda: GOOD + header("1.png", 1 << 50), "is cut off before byte"),
    "a huge text": (lambda: GOOD + header("0.json", 1 << 32) + b"{}", "is cut off before byte"),
    "a negative size": (lambda: GOOD + header("1.png", -(1 << 20)) + END, "negative size"),
    "a huge name": (
        lambda: GOOD + header("n", 1 << 40, tarfile.GNUTYPE_LONGNAME) + END,
        "a header of 1,099,511,627,776",
    ),
    "a huge pax header": (lambda: header("n", 1 << 33, tarfile.XHDTYPE) + END, "a header of"),
    "a negative pax header": (lambda: header("n", -512, tarfile.XHDTYPE) + END, "a header of -512 bytes|header"),
    "pax without end": (lambda: GOOD + header("n", 0, tarfile.XHDTYPE) * 5000 + END, "damaged at byte 1,024"),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_broken_files_are_refused_in_bounded_memory(tmp_path: Path, what: str, suffix: str) -> None:
    make, words = BROKEN[what]
    (tmp_path / "a.tar").write_bytes(make())
    path = packed(tmp_path / "a.tar", suffix)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=words) as raised:
            open_source(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert path.name in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_packed_files_that_are_cut_or_damaged_are_refused(tmp_path: Path, suffix: str) -> None:
    path = packed(tar(tmp_path / "a.tar", *((f"{n}.png", png(30, 30, seed=n)) for n in range(50))), suffix)
    whole = path.read_bytes()
    cut = [whole[: len(whole) // 2], b"no such packing"]
    if suffix == ".tar.gz":  # which has a checksum over all
        cut += [whole[:-30], whole[:5000] + b"\xff" * 50 + whole[5050:]]
    for broken in cut:
        path.write_bytes(broken)
        with pytest.raises(SourceError, match=r"cut off|cannot be read|damaged|no TAR file"):
            open_source(path)


def test_zstandard_is_asked_for_by_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tar(tmp_path / "a.tar", ("0.png", png(4, 4))), ".tar.zst")
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r'zstandard.*pip install "smalti\[zstd\]"'):
        open_source(path)


def test_a_file_in_which_nothing_is_an_image_says_why(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no readable image: a\.png: empty file; b\.txt: its sample has no image"):
        open_source(tar(tmp_path / "a.tar", ("a.png", b""), ("b.txt", b"?")))
    with pytest.raises(SourceError, match="holds no files"):
        open_source(tar(tmp_path / "a.tar"))


def shards(root: Path) -> list[str]:
    """Make four shards, one compressed and one empty; return the names of all images in order."""
    names = []
    for number, images in enumerate([3, 0, 4, 2]):
        inside = [f"{number}-{image}.png" for image in range(images)]
        members = [(name, png(4, 4, seed=number * 10 + image)) for image, name in enumerate(inside)]
        labels = [(name.replace("png", "cls"), b"%d" % number) for name in inside]
        tar(root / f"shard-{number:03}.tar", *(one for pair in zip(members, labels, strict=True) for one in pair))
        names += inside
    return names


def test_several_files_are_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shards").mkdir()
    names = shards(tmp_path / "shards")
    monkeypatch.chdir(tmp_path)
    for spec in ("shards/shard-{000..003}.tar", "shards/shard-*.tar", str(tmp_path / "shards/shard-*.tar"), "shards"):
        source = open_source(spec)
        assert source.description == spec
        found = everything(source, 4)
        assert found.names == tuple(names)
        assert found.labels is not None and found.labels.tolist() == [int(name[0]) for name in names]
        assert [name for batch in source.batches(2, 2, 8) for name in batch.names or ()] == names[2:8]
    assert everything(open_source("shards/shard-{003,000}.tar")).names == tuple(names[7:] + names[:3])
    with pytest.raises(SourceError, match=r"shard-004\.tar: cannot be read"):
        open_source("shards/shard-{000..004}.tar")
    with pytest.raises(SourceError, match="no file matches"):
        open_source("shards/none-*.tar")
    with pytest.raises(SourceError, match="files of one kind"):
        open_source("shard*/../*/*") if (tmp_path / "shards" / "x.txt").write_text("?") else None


def test_files_behind_urls(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="reads URLs")
    names = shards(tmp_path)
    fsspec.filesystem("memory").put(str(tmp_path), "/shards-of-test-tar", recursive=True)
    for spec in ("shard-{000..003}.tar", "shard-*.tar", ""):
        assert everything(open_source(f"memory://shards-of-test-tar/{spec}".rstrip("/"))).names == tuple(names)


def test_a_file_that_changes_between_passes_is_an_error(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", *((f"{n}.png", png(4, 4, seed=n)) for n in range(5)))
    source = open_source(path)
    everything(source)
    tar(path, *((f"{n}.png", png(4, 4, seed=n)) for n in range(3)))
    with pytest.raises(SourceError, match=r"cut off|changed"):
        everything(source)


MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c/a", "c/b"]), st.sets(st.sampled_from(["png", "x.png", "cls", "json", "txt"]))
    ),
    max_size=12,
)


@given(MEMBERS, st.sampled_from([".tar", ".tar.gz"]), st.integers(1, 5), st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=60)
def test_the_order_is_that_of_members_whatever_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    samples: list[tuple[str, set[str]]],
    suffix: str,
    batch_images: int,
    start: int,
    stop: int,
) -> None:
    members = []
    for number, (key, extensions) in enumerate(samples):
        for extension in sorted(extensions, reverse=number % 2 == 1):
            data = {"cls": b"%d" % number, "json": json.dumps({"n": number}).encode(), "txt": b"x"}
            members.append((f"{key}{number}.{extension}", data.get(extension) or png(2, 2, seed=number)))
    expected = [name for name, _ in members if name.endswith("png")]
    path = packed(tar(tmp_path_factory.mktemp("order") / "a.tar", *members), suffix)
    if not expected:
        with pytest.raises(SourceError):
            open_source(path)
        return
    source: ImageSource = open_source(path)
    assert [name for batch in source.batches(batch_images) for name in batch.names or ()] == expected
    parts = list(source.batches(batch_images, start, stop))
    assert [name for batch in parts for name in batch.names or ()] == expected[start:stop]
    for batch in parts:
        for name, number in zip(batch.names or (), batch.fields.get("n", ()), strict=False):
            assert number is None or str(number) in name


def test_kept_are_ten_bytes_an_image(tmp_path: Path) -> None:
    data = png(1, 1)
    path = tar(tmp_path / "a.tar", *((f"{n % 100}/frame.{n:06}.png", data) for n in range(1200)))
    records = TarRecords([path], "many")
    assert len(records) == 1200
    tracemalloc.start()
    try:
        records = TarRecords([path], "many")
        kept, _ = tracemalloc.get_traced_memory()
        assert kept < 1200 * 20 + 30_000
        tracemalloc.reset_peak()
        survey(records)
        assert tracemalloc.get_traced_memory()[1] - kept < 1200 * 40 + 100_000
    finally:
        tracemalloc.stop()
