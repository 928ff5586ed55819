"""Sources on an S3 server (moto's) that is reached by storage options alone, without the environment."""

import pickle
import traceback

import fsspec
import numpy as np
import pytest

import smalti
from helpers.array_containers import chunked_hdf5, stored_npz, zarr_3, zipped_zarr
from helpers.image_files import everything, noise, save
from smalti.errors import SmaltiError, SourceError, UsageError
from smalti.images.batch import ImageBatch
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_groups, open_source
from smalti.storage.address import Url, below, beside, options_behind, options_of, redacted, secrets_of, with_options

PIXELS = noise(20, 9, 8)
LABELS = np.arange(20)
SECRET = "hush-hush"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory, small):
    """The URL of a folder with one source of each kind, and the options that reach it."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (slow to import)

    root = tmp_path_factory.mktemp("bucket")
    np.save(root / "tiles.npy", PIXELS)
    np.save(root / "tiles.labels.npy", LABELS)
    for write in (stored_npz, chunked_hdf5, zarr_3, zipped_zarr):
        write(root, {"images": PIXELS, "label": LABELS})
    for name, part in [("a.tar", slice(0, 10)), ("b.tar", slice(10, 20)), ("all.parquet", slice(0, 20))]:
        batch = ImageBatch(PIXELS[part][..., None], LABELS[part], tuple(f"{i:02}.png" for i in range(20))[part])
        with open_image_writer(root / name, (9, 8, 1), len(batch.pixels)) as writer:
            writer.write(batch)
    for number, pixels in enumerate(PIXELS):
        save(root / f"folder/{number:02}.png", pixels)
    (root / "small.smalti").write_bytes(small.path.read_bytes())
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "testing", "secret": SECRET, "endpoint_url": f"http://{host}:{port}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        files = fsspec.filesystem("s3", **options)
        files.mkdir("shut")
        files.put(f"{root}/", "shut/set/", recursive=True)
        yield "s3://shut/set", options
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


@pytest.mark.parametrize(
    "name",
    [
        "tiles.npy",
        "stored.npz",
        "stored.npz::images",
        "chunked.hdf5",
        "three.zarr",
        "zipped.zarr.zip",
        "{a,b}.tar",
        "*.tar",
        "all.parquet",
        "*.parquet",
        "folder",
        "folder/",
    ],
)
def test_images_of_every_kind(bucket, name):
    url, options = bucket
    source = open_source(f"{url}/{name}", storage_options=options)
    found = everything(source, 7)
    np.testing.assert_array_equal(found.pixels[..., 0], PIXELS)
    assert name.startswith("folder") or found.labels.tolist() == LABELS.tolist()
    assert SECRET not in source.description and SECRET not in repr(source)
    (group,) = open_groups(f"{url}/{name}", storage_options=options)
    np.testing.assert_array_equal(next(group.batches(3, 11)).pixels[..., 0], PIXELS[11:14])


def test_an_archive_is_a_source_too(bucket, small):
    url, options = bucket
    source = open_source(f"{url}/small.smalti", storage_options=options)
    assert (everything(source).pixels[..., 0] == small.pixels).all()


def test_compress(bucket, tmp_path):
    url, options = bucket
    out = tmp_path / "x.smalti"
    smalti.compress(f"{url}/tiles.npy", out, epochs=1, codebook_size=4, max_mse=0, storage_options=options)
    with smalti.open(out) as archive:
        assert (archive[:] == PIXELS).all() and archive.labels.tolist() == LABELS.tolist()
    assert SECRET.encode() not in out.read_bytes()


def test_errors_of_unreachable_urls_hold_no_secrets(bucket):
    url, options = bucket
    wrong = {**options, "endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"connect_timeout": 1, "retries": {}}}
    cases = [(f"{url}/none.npy", options), (f"{url}/none.zarr", options), (f"{url}/*.none", options)]
    for spec, given in [*cases, (f"{url}/tiles.npy", wrong)]:
        with pytest.raises(SmaltiError) as error:
            open_source(spec, storage_options=given)
        printed = "".join(traceback.format_exception(error.value))
        assert SECRET not in printed and "\n" not in str(error.value)


@pytest.mark.parametrize("spec", ["a/b.npy", "mnist", PIXELS, None])
def test_options_are_for_urls(spec, tmp_path):
    given = tmp_path if spec is None else spec
    with pytest.raises(UsageError, match="storage options are for URLs"):
        open_source(given, storage_options={"key": SECRET})
    with pytest.raises(UsageError, match="storage options are for URLs"):
        smalti.compress(given, tmp_path / "x.smalti", storage_options={"key": SECRET})


def test_locations_beside_and_below_have_the_same_options():
    options = {"key": SECRET, "client_kwargs": {"region_name": "x"}}
    url = Url("s3://bucket/a/tiles.npy", options)
    for found in (beside(url, "b"), below(url, "b"), pickle.loads(pickle.dumps(url))):
        assert isinstance(found, Url) and options_of(found) == options
    assert url == "s3://bucket/a/tiles.npy" and SECRET not in f"{url} {url!r} {redacted(url)}"
    assert options_of(str(url)) == {} and options_of("s3://bucket/a") == {}
    assert with_options("a/b", None) == "a/b" and with_options("a/b", {}) == "a/b"


def test_values_that_may_be_secret_are_known():
    options = {
        "key": "a-key",
        "secret": "a-secret",
        "endpoint_url": "http://host",
        "client_kwargs": {"aws_session_token": "a-token", "region_name": "a-region"},
        "headers": {"Authorization": "a-header"},
        "storage_credentials": {"user": "a-user"},
        "anon": True,
    }
    known = set(secrets_of(Url("https://me:word@host/a?sig=query#part", options)))
    assert known == {"me:word", "word", "sig=query", "part", "a-key", "a-secret", "a-token", "a-header", "a-user"}


def test_an_error_that_names_a_secret_option_does_not_show_it(monkeypatch):
    from smalti.storage.filesystem import reading_remote  # noqa: PLC0415

    url = Url("s3://bucket/a", {"secret": "a-secret"})
    with pytest.raises(SourceError, match="ValueError: no …") as error, reading_remote(url):
        raise ValueError("no a-secret")
    assert "a-secret" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("s3://b/a.zip", {}, {}),
        ("s3://b/a.zip", {"key": "k", "client_kwargs": {"x": 1}}, {"s3": {"key": "k", "client_kwargs": {"x": 1}}}),
        (
            "simplecache::s3://b/a.zip",
            {"s3": {"key": "k"}, "cache_storage": "c"},
            {"s3": {"key": "k"}, "simplecache": {"cache_storage": "c"}},
        ),
        ("https://h/a.zip", {"https": {"headers": {}}}, {"https": {"headers": {}}}),
    ],
)
def test_options_behind_another_link(url, given, expected):
    assert options_behind(url, given) == expected
