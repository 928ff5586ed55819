"""Commands on archives behind URLs."""

import numpy as np
import pytest

from helpers.made_up_archives import one_layer_network, random_tokens, write
from helpers.web_server import Served, serve

QUERY = "X-Amz-Signature=5ec2e7"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    tokens = random_tokens(30, (4, 4), 3)
    return write(tmp_path_factory.mktemp("remote") / "a.smalti", tokens, one_layer_network(), block_images=10)


@pytest.fixture
def web(local):
    served = Served({"a.smalti": local.read_bytes()}, query=QUERY)
    stop = serve(served)
    yield served
    stop()


def test_commands_say_the_same_of_a_url(smalti, local, web, tmp_path):
    url, plain = f"{web.url}a.smalti?{QUERY}", f"{web.url}a.smalti"
    for command in (["info"], ["test"], ["test", "--full"]):
        near, far = smalti(*command, local, "--json"), smalti(*command, url, "--json")
        assert far.code == 0 and far.json == near.json | {"archive": plain}
        assert QUERY not in smalti(*command, url).out
    assert smalti("decompress", url, "-o", tmp_path / "far.npy").code == 0
    assert smalti("decompress", local, "-o", tmp_path / "near.npy").code == 0
    assert (np.load(tmp_path / "far.npy") == np.load(tmp_path / "near.npy")).all()
    web.asked.clear()
    assert smalti("get", url, 7, 29, "-o", tmp_path / "some").code == 0
    assert len(list((tmp_path / "some").glob("*.png"))) == 2 and len(web.asked) == 1


def test_damage_and_failures_are_one_line_without_secrets(smalti, web, tmp_path):
    url = f"{web.url}a.smalti?{QUERY}"
    line = smalti.fails(1, "info", f"{url}wrong")
    assert f"{web.url}a.smalti: access was refused" in line and QUERY not in line
    assert "no such file" in smalti.fails(1, "get", f"{web.url}b.smalti?{QUERY}", 0, "-o", tmp_path / "x")
    web.files["a.smalti"] = web.files["a.smalti"][:-3]
    ran = smalti("decompress", url, "-o", tmp_path / "cut.npy")
    assert ran.code == 0 and f"{web.url}a.smalti: its end is missing" in ran.err and QUERY not in ran.err
    web.files["a.smalti"] = web.files["a.smalti"][:-300]
    assert f"{web.url}a.smalti: damaged" in smalti("test", url).err
