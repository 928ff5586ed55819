from dataclasses import replace

import numpy as np
import pytest

from helpers.image_files import noise
from smalti.images.quality import image_errors
from smalti.peers.curves import Curve, better_effort
from smalti.peers.peer_codecs import Effort, Peer, peer_versions, peers_for, with_seen_colours


def smooth(height, width, channels, dtype):
    y, x = np.mgrid[:height, :width]
    planes = [(np.sin(x / 7 + k) + np.cos(y / 5 * (k + 1)) + 2) / 4 for k in range(channels)]
    image = (np.stack(planes, axis=-1) * np.iinfo(dtype).max).astype(dtype)
    if channels in (2, 4):
        image[:9, :9, -1] = 0
    return image


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_peer_gives_back_images_of_every_kind_better_with_more_bytes(channels, dtype):
    image = smooth(40, 56, channels, dtype)
    for peer in peers_for(channels, np.dtype(dtype)):
        coarse, fine = (30.0, 95.0) if "AVIF" in peer.name else (10.0, 0.1)
        for effort in peer.efforts[:1]:
            few, many = effort.encode(image, coarse), effort.encode(image, fine)
            decoded = [effort.decode(data) for data in (few, many)]
            assert all((each.shape, each.dtype) == (image.shape, image.dtype) for each in decoded), peer.name
            errors = [float(image_errors(image[None], each[None])[0]) for each in decoded]
            assert len(few) < len(many) and errors[0] > errors[1] and errors[1] < 3e-4, (peer.name, errors)


def test_the_libraries_say_which_they_are():
    assert all(peer_versions().values())


def test_hidden_colours_are_those_of_the_nearest_pixel():
    image = np.zeros((1, 5, 4), np.uint8)
    image[0, 0], image[0, 4] = (10, 20, 30, 255), (50, 60, 70, 9)
    image[0, 1:4, :3] = 99
    filled = with_seen_colours(image)
    assert filled[0, 1].tolist() == [10, 20, 30, 0] and filled[0, 3].tolist() == [50, 60, 70, 0]
    assert not with_seen_colours(image * np.uint8([1, 1, 1, 0])).any()
    assert with_seen_colours(noise(4, 4, 3)).shape == (4, 4, 3)


def rounding(name, cost):
    """A codec that keeps the setting's number of high bits, at `cost` bytes for each bit."""

    def encode(image, bits):
        return bytes([int(bits)]) + bytes(image) + b"\0" * (cost * int(bits) * image.shape[0])

    def decode(data, shape):
        kept = 8 - data[0]
        pixels = np.frombuffer(data, np.uint8, shape[0] * shape[1] * shape[2], 1).reshape(shape)
        return (pixels >> kept << kept).astype(np.uint8)

    return Effort(name, encode, lambda data: decode(data, (6, 6, 1)))


PEER = Peer("bits", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), "bits", (rounding("slow", 9), rounding("fast", 5)))
IMAGES = list(noise(3, 6, 6, 1))


@pytest.mark.parametrize("start", range(8))
@pytest.mark.parametrize("stride", [1, 3])
def test_the_asked_quality_lies_between_the_two_points(start, stride):
    curve = Curve(PEER, PEER.efforts[0], IMAGES, "files")
    mse = curve.at(3).mse * 1.01
    need, index = curve.need(mse, start, stride)
    low, high = need.points
    assert low.mse > mse >= high.mse and low.bytes < need.bytes <= high.bytes and not need.coarsest
    assert curve.at(index) == high
    if stride == 1:
        assert high.setting - low.setting <= 2 ** abs(start - 3)


def test_what_cannot_be_reached_and_what_is_reached_by_the_coarsest():
    peer = replace(PEER, settings=PEER.settings[2:6])
    curve = Curve(peer, peer.efforts[0], IMAGES, "files")
    assert curve.need(0.0, 0)[0].bytes is None
    need, index = curve.need(0.9, 2)
    assert need.coarsest and index == 0 and need.bytes == curve.at(0).bytes


def test_the_better_effort_takes_fewer_bytes():
    found = []
    best, index, needs = better_effort(PEER, IMAGES, 2e-3, "files", found.append)
    assert PEER.efforts[best].name == "fast" and needs[1].bytes < needs[0].bytes
    assert needs[1].points[-1].setting == PEER.settings[index] and found


def test_sheets_and_files_have_the_error_of_the_images():
    codec = peers_for(3, np.dtype(np.uint8))[-1]
    images = [smooth(30, 40, 3, np.uint8), smooth(20, 50, 3, np.uint8), smooth(20, 20, 3, np.uint8)]
    index = 44
    assert 0.9 < codec.settings[index] < 1.2
    sheets, files = (Curve(codec, codec.efforts[0], images, way).at(index) for way in ("sheets", "files"))
    assert 0 < sheets.mse < 1e-3 and 0 < files.mse < 1e-3
    assert sheets.standard_error == 0 < files.standard_error
    one = Curve(codec, codec.efforts[0], images[:1], "files").at(index)
    decoded = codec.efforts[0].decode(codec.efforts[0].encode(images[0], codec.settings[index]))
    assert one.mse == image_errors(images[0][None], decoded[None])[0]
