"""Sources on an S3 server (moto's, a real server) that is reached by the environment alone."""

from collections.abc import Iterator

import fsspec
import numpy as np
import pytest

from helpers.array_containers import chunked_hdf5, deflated_npz, stored_npz, zarr_3
from helpers.image_files import everything, noise
from smalti.errors import SourceError
from smalti.sources.open import open_source
from smalti.storage.location import kind_of, list_files

PIXELS = noise(20, 9, 8)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (slow to import)

    root = tmp_path_factory.mktemp("bucket")
    np.save(root / "tiles.npy", PIXELS)
    np.save(root / "tiles.labels.npy", np.arange(20))
    for write in (stored_npz, deflated_npz, chunked_hdf5, zarr_3):
        write(root, {"images": PIXELS, "label": np.arange(20)})
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "hush-hush",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            patch.setenv(name, value)
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("pictures")
        files.put(f"{root}/", "pictures/set/", recursive=True)
        yield "s3://pictures/set"
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


@pytest.mark.parametrize("name", ["tiles.npy", "stored.npz", "deflated.npz", "chunked.hdf5", "three.zarr"])
def test_images_in_a_bucket(bucket: str, name: str) -> None:
    source = open_source(f"{bucket}/{name}")
    found = everything(source, 7)
    np.testing.assert_array_equal(found.pixels[..., 0], PIXELS)
    assert found.labels is not None
    assert found.labels.tolist() == list(range(20))
    np.testing.assert_array_equal(next(source.batches(3, 11)).pixels[..., 0], PIXELS[11:14])


def test_a_bucket_is_listed_in_order(bucket: str) -> None:
    names = [name for name, _ in list_files(bucket)]
    assert names == sorted(names, key=lambda name: name.split("/"))
    assert {"tiles.npy", "three.zarr/zarr.json"} <= set(names)
    assert (kind_of(f"{bucket}/three.zarr"), kind_of(f"{bucket}/tiles.npy")) == ("folder", "file")


@pytest.mark.parametrize("url", ["s3://pictures/none.npy", "s3://nowhere/a.npy"])
def test_what_is_not_in_a_bucket_is_one_line(bucket: str, url: str) -> None:
    with pytest.raises(SourceError, match="no such file") as raised:
        open_source(url)
    assert "\n" not in str(raised.value)
