from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest

from helpers.made_up_archives import one_layer_network, random_tokens, write
from helpers.web_server import Served, serve
from smalti.archive.read.reader import open_archive
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import IntegerNetwork


@dataclass(frozen=True, eq=False)
class LargeArchive:
    """An archive that is longer than the tail that opening fetches, and the pixels that it must give back."""

    path: Path
    tokens: np.ndarray
    network: IntegerNetwork

    @cached_property
    def data(self):
        return self.path.read_bytes()

    def pixels(self, numbers):
        return IntegerDecoder(self.network).decode(self.tokens[numbers])[..., 0]

    def frames(self, section):
        """Begin and end of each frame of a section."""
        with open_archive(self.path) as archive:
            return [(entry.offset, entry.end) for entry in archive._file.entries if entry.section == section]


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """An archive of 2 MB: 80 blocks of 25 KB, so that about ten blocks are the largest gap that a request spans."""
    network, tokens = one_layer_network(codes=16), random_tokens(4000, (32, 32), 16)
    path = tmp_path_factory.mktemp("archives") / "large.smalti"
    write(path, tokens, network, np.arange(4000) % 10, batch=500, block_images=50)
    return LargeArchive(path, tokens, network)


@pytest.fixture
def web(small, large):
    served = Served({"small.smalti": small.path.read_bytes(), "large.smalti": large.data, "empty": b""})
    stop = serve(served)
    yield served
    stop()


@pytest.fixture(scope="session")
def s3(large):
    """A real S3 server with one archive, and the requests that it got."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication  # noqa: PLC0415 (slow to import, for these tests only)
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    asked, serve_one = [], DomainDispatcherApplication.__call__

    def counting(self, environ, start_response):
        asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_RANGE")))
        return serve_one(self, environ, start_response)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DomainDispatcherApplication, "__call__", counting)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        options = {"key": "testing", "secret": "hush-hush", "endpoint_url": f"http://{host}:{port}"}
        files = fsspec.filesystem("s3", **options)
        files.mkdir("tiles")
        files.pipe("tiles/set/large.smalti", large.data)
        files.pipe("tiles/empty", b"")
        asked.clear()
        yield SimpleNamespace(asked=asked, options=options, url="s3://tiles/set/large.smalti")
        server.stop()
