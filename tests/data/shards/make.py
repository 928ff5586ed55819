"""Writes the shards in this folder, each with the program that users have, from noise of fixed seeds.

    pip install torch==2.13.0 mosaicml-streaming==0.13.0 numpy==2.1.3 && python make.py mds
    pip install torch==2.13.0 litdata==0.2.76 tfrecord==1.14.6 zstd && python make.py litdata tfrecord
    pip install mxnet==1.9.1 "numpy<1.24" Pillow && python make.py recordio
    pip install tensorflow-cpu==2.21.0 Pillow && python make.py tensorflow
    pip install ome-zarr==0.18.0 && python make.py ome

The programs exclude each other, so each of these lines needs an environment of its own. The shards are committed,
because these programs are large; `tests/inputs/shards.py` and `tests/sources/shards` read them and compare every sample
with the same noise.
"""

# ruff: noqa: PLC0415 (each program is in an environment of its own)

import io
import shutil
import sys
import tempfile
import types
from decimal import Decimal
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent


def noise(*shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def pictures(count=3):
    return [noise(4, 5, 3, seed=seed) for seed in range(count)]


def encoded(pixels, kind="png"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def mds():
    # streaming imports torchvision for data sets that are not used here; transformers asks whether it is installed.
    import transformers  # noqa: F401

    for name, member in {"": "", ".datasets": "VisionDataset", ".transforms.functional": "to_tensor"}.items():
        module = sys.modules["torchvision" + name] = types.ModuleType("torchvision" + name)
        setattr(module, member or "transforms", object)
    from streaming import MDSWriter

    def write(name, columns, rows, **options):
        out = HERE / "mds" / name
        shutil.rmtree(out, ignore_errors=True)
        with MDSWriter(out=str(out), columns=columns, **options) as writer:
            for row in rows:
                writer.write(row)

    images = [Image.fromarray(pixels) for pixels in pictures()]
    write("pil", {"x": "pil", "y": "int"}, [{"x": image, "y": 2 - n} for n, image in enumerate(images)])
    modes = [Image.fromarray(noise(4, 5, seed=1)), Image.fromarray(noise(4, 5, 2, seed=2), "LA")]
    modes += [Image.fromarray(noise(4, 5, 4, seed=3), "RGBA"), Image.fromarray(noise(4, 5, seed=4, dtype=np.uint16))]
    modes += [Image.fromarray(noise(4, 5, seed=5) > 127), Image.fromarray(noise(4, 5, 4, seed=6), "CMYK")]
    modes += [Image.fromarray(noise(4, 5, seed=7).astype(np.float32))]
    write("modes", {"image": "pil", "mode": "str"}, [{"image": image, "mode": image.mode} for image in modes])
    palette = Image.fromarray(noise(4, 5, seed=8) % 16, "P")
    palette.putpalette(list(range(48)))
    write("palette", {"image": "pil"}, [{"image": palette}])
    columns = {"image": "png", "class": "str", "file_name": "str"}
    rows = [{"image": image, "class": "bab"[n], "file_name": f"/a/{n}.png"} for n, image in enumerate(images)]
    write("png", columns, rows, size_limit=500)
    deep = Image.fromarray(noise(4, 5, seed=9, dtype=np.uint16))
    write("deep_png", {"image": "png"}, [{"image": deep}])
    photo = HERE / "mds" / "photo.jpg"
    photo.write_bytes(encoded(noise(8, 8, 3, seed=10) // 8 + 100, "jpeg"))
    write("jpeg", {"image": "jpeg", "split": "str"}, [{"image": Image.open(photo), "split": "a"}])
    arrays = [noise(4, 5, 3, seed=11), noise(6, 5, seed=12), noise(3, 6, 7, seed=13), noise(4, 5, seed=14) / 255]
    write("arrays", {"image": "ndarray"}, [{"image": array} for array in arrays])
    arrays = [noise(4, 5, seed=seed, dtype=np.uint16) for seed in range(2)]
    write("arrays_16", {"image": "ndarray:uint16"}, [{"image": array} for array in arrays])
    arrays = [noise(4, 5, seed=seed, dtype=np.int16) for seed in range(2)]
    write("arrays_int16", {"image": "ndarray:int16:4,5"}, [{"image": array} for array in arrays])
    kinds = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
    columns = {"image": "ndarray:uint8:4,5", **{kind: kind for kind in kinds}, "bytes": "bytes", "pickled": "pkl"}
    columns |= {"digits": "str_int", "point": "str_float", "price": "str_decimal", "json": "json", "word": "json"}
    row = {"image": noise(4, 5), **{kind: np.dtype(kind).type(5) for kind in kinds}, "bytes": b"\xff", "pickled": set()}
    row |= {"digits": 10**30, "point": 0.1, "price": Decimal("1.20"), "json": {"a": [1]}, "word": "é"}
    write("scalars", columns, [row])
    rows = [{"image": image, "label": n} for n, image in enumerate(images)]
    for kind in ("zstd:7", "gz", "bz2", "br", "snappy"):
        columns = {"image": "png", "label": "uint8"}
        write(f"packed_{kind[:2]}", columns, rows, compression=kind, hashes=["sha1", "xxh64"], size_limit=500)
    for split, part in {"train": rows[:2], "val": rows[2:]}.items():
        write(f"splits/{split}", {"image": "png", "label": "int"}, part, hashes=["sha256"])
    # what `tests/sinks/test_mds_folder.py` writes too, byte for byte
    columns = {"image": "ndarray:int16:4,5", "label": "int64", "file_name": "str", "count": "int64", "dose": "float64"}
    columns |= {"site": "str", "age": "json", "ok": "json", "mixed": "json", "gone": "json"}
    values = {"count": [-(2**63), 0, 7], "dose": [0.1, -0.0, float("inf")], "site": ["", "é", "猫 x"]}
    values |= {"age": [41, None, -3], "ok": [True, False, True], "mixed": [1, "ü", 0.5], "gone": [None] * 3}
    values |= {"label": [2, 0, -1], "file_name": ["a/1.dcm", "b.dcm#0", "ü.dcm"]}
    values["image"] = [noise(4, 5, seed=seed, dtype=np.int16) - 20_000 for seed in range(3)]
    write("one_shape", columns, [{name: values[name][n] for name in columns} for n in range(3)])
    arrays = [
        noise(4, 5, 3, seed=1),
        noise(2, 300, 3, seed=2, dtype=np.uint16),
        noise(6, 5, seed=3, dtype=np.int16) - 9,
    ]
    write("any_shape", {"image": "ndarray"}, [{"image": array} for array in arrays])
    write("no_images", {"text": "str", "label": "int"}, [{"text": "a", "label": 1}])
    write("two_images", {"a": "png", "b": "png"}, [{"a": images[0], "b": images[1]}])


def litdata():
    import torch
    from litdata.streaming.writer import BinaryWriter

    def write(name, items, **options):
        out = HERE / "litdata" / name
        shutil.rmtree(out, ignore_errors=True)
        writer = BinaryWriter(str(out), chunk_size=2, **options)
        for number, item in enumerate(items):
            writer.add_item(number, item)
        writer.done()
        writer.merge(1)

    arrays = pictures()
    images = [Image.fromarray(pixels) for pixels in arrays]
    write("pil", [{"image": image, "class": 2 - n, "path": f"a/{n}"} for n, image in enumerate(images)])
    deep = [Image.fromarray(noise(4, 5, seed=seed, dtype=np.uint16)) for seed in range(2)]
    write("deep_pil", [{"image": image} for image in deep])
    tensors = [torch.from_numpy(pixels.transpose(2, 0, 1).copy()) for pixels in arrays]
    write("tensors", [(tensor, 2 - n) for n, tensor in enumerate(tensors)])
    grey = [torch.from_numpy(noise(4, 5, seed=seed, dtype=np.uint16)) for seed in range(2)]
    write("grey_tensors", [{"image": tensor} for tensor in grey])
    signed = [torch.from_numpy(noise(4, 5, seed=seed, dtype=np.int16)) for seed in range(2)]
    write("signed_tensors", [{"image": tensor} for tensor in signed])
    write("floats", [{"image": tensor / 255} for tensor in tensors])
    nested = [
        {"image": pixels, "about": {"iso": n + 0.5, "ok": n > 1, "boxes": [1, 2]}} for n, pixels in enumerate(arrays)
    ]
    write("nested_frames", nested, compression="zstd", compression_batch_size=1)
    write("packed_samples", [{"image": pixels} for pixels in arrays], compression="zstd", compression_level="sample")
    write("packed_chunks", [{"image": pixels} for pixels in arrays], compression="zstd", compression_level="chunk")
    write("bare", arrays)
    write("bytes", [{"image": encoded(pixels), "label": "bab"[n]} for n, pixels in enumerate(arrays)])
    photo = HERE / "litdata" / "photo.jpg"
    photo.write_bytes(encoded(noise(8, 8, 3, seed=10) // 8 + 100, "jpeg"))
    write("jpeg", [{"image": Image.open(photo)}])
    for split, part in {"train": images[:2], "test": images[2:]}.items():
        write(f"splits/{split}", [{"image": image, "label": n} for n, image in enumerate(part)])


def tfrecord():
    from tfrecord.writer import TFRecordWriter

    def write(name, rows):
        path = HERE / "tfrecord" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = TFRecordWriter(str(path))
        for row in rows:
            writer.write(row)
        writer.close()

    def row(number, pixels):
        return {
            "image/encoded": (encoded(pixels), "byte"),
            "image/class/label": (2 - number, "int"),
            "image/filename": (f"{number}.png".encode(), "byte"),
            "image/height": (4, "int"),
            "weight": (number / 2, "float"),
            "image/object/bbox/xmin": ([0.5] * (number + 1), "float"),
        }

    rows = [row(number, pixels) for number, pixels in enumerate(pictures())]
    write("encoded.tfrecord", rows)
    write("shards/train-00000-of-00002", rows[:2])
    write("shards/train-00001-of-00002", rows[2:])
    write("mnist-tfds/mnist-train.tfrecord-00000-of-00001", [{k: r[k] for k in list(r)[:2]} for r in rows[:2]])
    write("mnist-tfds/mnist-test.tfrecord-00000-of-00001", [{k: r[k] for k in list(r)[:2]} for r in rows[2:]])
    sizes = {"height": (4, "int"), "width": (5, "int"), "depth": (3, "int")}
    raw = [
        {"image_raw": (pixels.tobytes(), "byte"), "label": (n, "int"), **sizes} for n, pixels in enumerate(pictures())
    ]
    write("raw.tfrecords", raw)
    sizes = {"height": (4, "int"), "width": (5, "int")}
    deep = [noise(4, 5, seed=seed, dtype=np.uint16) for seed in range(2)]
    write("raw_16.tfrecord", [{"image": (pixels.tobytes(), "byte"), **sizes} for pixels in deep])
    words = [{"image": (encoded(p), "byte"), "label": (b"bab"[n : n + 1], "byte")} for n, p in enumerate(pictures())]
    write("words.tfrecord", [*words, {"label": (b"a", "byte")}])
    write("no_images.tfrecord", [{"label": (1, "int"), "text": (b"a", "byte")}])


def tensorflow():
    import tensorflow as tf

    def example(**values):
        lists = {
            name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
            if isinstance(value, int)
            else tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
            for name, value in values.items()
        }
        return tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString()

    def write(name, rows, packing=""):
        folder = HERE / "tensorflow"
        folder.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(folder / name), packing) as writer:
            for row in rows:
                writer.write(row)

    tensors = [*pictures(1), *(noise(4, 5, 3, dtype=dtype) for dtype in (np.uint16, np.int16)), noise(4, 5) / 255]
    write("tensors.tfrecord", [example(x=tf.io.serialize_tensor(tensor).numpy(), y=-1) for tensor in tensors])
    images = [example(image=encoded(pixels), label=1 << n * 30) for n, pixels in enumerate(pictures())]
    write("a-0.tfrecord.gz", images[:2], "GZIP")
    write("a-1.tfrecord.gz", images[2:], "GZIP")
    lists = tf.train.FeatureLists(feature_list={"frames": tf.train.FeatureList(feature=[])})
    write("sequences.tfrecord", [tf.train.SequenceExample(feature_lists=lists).SerializeToString()])


def recordio():
    import mxnet as mx

    def write(name, records):
        folder = HERE / "recordio"
        folder.mkdir(exist_ok=True)
        writer = mx.recordio.MXIndexedRecordIO(str(folder / f"{name}.idx"), str(folder / f"{name}.rec"), "w")
        for number, (header, data) in enumerate(records):
            writer.write_idx(number, mx.recordio.pack(header, data))
        writer.close()

    def header(label, number):
        return mx.recordio.IRHeader(0, label, number, 0)

    files = [encoded(pixels) for pixels in pictures()]
    write("labels", [(header(2.0 - n, 10 + n), data) for n, data in enumerate(files)])
    write("several", [(header([n, 0.5], n), data) for n, data in enumerate(files)])
    write("fractions", [(header(n / 2, n), data) for n, data in enumerate(files)])
    faces = [(mx.recordio.IRHeader(2, [3, 5], 0, 0), b""), *((header(0.0, n), data) for n, data in enumerate(files, 1))]
    write("faces", faces)
    magic = 0xCED7230A.to_bytes(4, "little")
    bmp = encoded(np.frombuffer(magic * 16, np.uint8).reshape(8, 8), "bmp")
    # Pixels begin behind 1,078 bytes, a palette among them; two bytes more, and every magic number is aligned.
    bmp = bmp[:10] + (1080).to_bytes(4, "little") + bmp[14:1078] + bytes(2) + bmp[1078:]
    write("split", [(header(1.0, 0), bmp), (header(0.0, 1), files[0])])


def ome():
    import zarr
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image, write_labels

    def write(name, pixels, axes, form=None, labels=None, channels=(), **options):
        form = form or FormatV05()
        with tempfile.TemporaryDirectory() as folder:
            group = zarr.open_group(folder, mode="w", zarr_format=form.zarr_format)
            write_image(pixels, group, axes=axes, fmt=form, scale_factors=[2], **options)
            if labels is not None:
                write_labels(labels, group, name="cells", axes=axes, fmt=form, scale_factors=[2])
            omero = {"omero": {"channels": [{"label": name, "color": "FF0000"} for name in channels]}}
            if channels:
                group.attrs.update({"ome": {**group.attrs["ome"], **omero}} if "ome" in group.attrs else omero)
            (HERE / "ome").mkdir(exist_ok=True)
            shutil.make_archive(str(HERE / "ome" / f"{name}.zarr"), "zip", folder)

    stack = noise(2, 3, 4, 8, 10, dtype=np.uint16)
    known = {"scale": {"z": 2.0, "y": 0.5, "x": 0.5}, "axes_units": {"z": "micrometer", "y": "micrometer"}}
    for version, form in (("04", FormatV04()), ("05", FormatV05())):
        write(f"five_axes_{version}", stack, "tczyx", form, channels=("DAPI", "GFP", "CFP"), **known)
    write("labels", noise(16, 20, seed=1), "yx", labels=noise(16, 20, seed=2, dtype=np.uint16) % 5)
    write("volume", noise(5, 8, 10, seed=3, dtype=np.uint16), "zyx", storage_options={"chunks": (2, 4, 4)})
    write("colour", noise(3, 8, 10, seed=4), "cyx", FormatV04())


if __name__ == "__main__":
    for program in sys.argv[1:]:
        globals()[program]()
