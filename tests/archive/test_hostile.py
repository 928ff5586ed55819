"""Files with right checksums and wrong contents, as a hostile writer or another program could make them."""

import numpy as np
import pytest

from helpers.damaged_files import (
    WARNINGS_ARE_ERRORS,
    flip,
    read_all,
    rebuild,
    replace,
    sections,
    unchanged,
    with_prelude,
)
from helpers.made_up_archives import layer, random_network, random_tokens, write
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.decoders.blank import black_network
from smalti.decoders.layers.integer_network import Clip, IntegerNetwork, PixelTable
from smalti.decoders.layers.network_packing import pack_network
from smalti.errors import DamagedArchiveError, LimitExceededError, SmaltiError, UnsupportedArchiveError


@pytest.fixture
def reopen(tmp_path):
    path = tmp_path / "changed.smalti"

    def write_and_open(content):
        path.write_bytes(content)
        return open_archive(path)

    return write_and_open


@pytest.fixture
def data(small):
    return small.path.read_bytes()


def test_another_version_is_refused_by_name(reopen, data):
    with pytest.raises(UnsupportedArchiveError, match="version 7"):
        reopen(with_prelude(data, version=7))


def test_a_required_feature_is_refused_by_name_and_an_optional_one_is_not(small, reopen, data):
    with pytest.raises(UnsupportedArchiveError, match="feature bit 5, 31"):
        reopen(with_prelude(data, required=1 << 5 | 1 << 31))
    with reopen(with_prelude(data, optional=0xFFFFFFFF)) as archive:
        assert (archive[3] == small.pixels[3]).all()


def test_rebuilding_changes_nothing_by_itself(small, data):
    assert rebuild(small.path, unchanged) == data


HEADERS = [
    (b'"images":50', b'"images":51'),
    (b'"images":50', b'"images":5e1'),
    (b'"images":50', b'"images": 50'),
    (b'"images":50', b'"images":50,"images":50'),
    (b'"images":50', b'"images":' + b"9" * 5000),
    (b'"images":50', b'"images":true'),
    (b'"images":50', b'"images":9000000000000000000'),
    (b'"block_images":20', b'"block_images":0'),
    (b'"block_images":20', b'"block_images":25'),
    (b'"codes_used":6', b'"codes_used":9'),
    (b'"codes_used":6', b'"codes_used":5'),
    (b'"codebook_size":8', b'"codebook_size":6'),
    (b'"image_shape":[7,11,1]', b'"image_shape":[9,11,1]'),
    (b'"padded_shape":[8,12]', b'"padded_shape":[9,12]'),
    (b'"padded_shape":[8,12]', b'"padded_shape":[6,12]'),
    (b'"padded_shape":[8,12]', b'"padded_shape":[99999999,99999999]'),
    (b'"image_shape":[7,11,1]', b'"image_shape":[7,11,2]'),
    (b'"image_shape":[7,11,1]', b'"image_shape":[7,11]'),
    (b'"token_grid":[2,3]', b'"token_grid":[2,4]'),
    (b'"token_grid":[2,3]', b'"token_grid":[65536,1]'),
    (b'"token_grid":[2,3]', b'"token_grid":[65535,65535]'),
    (b'"token_grid":[2,3]', b'"token_grid":[[[[[['),
    (b'"columns":["labels","class_names","names"]', b'"columns":["labels","names"]'),
    (b'"columns":["labels","class_names","names"]', b'"columns":["labels","class_names","names","names"]'),
    (b'"columns":["labels","class_names","names"]', b'"columns":["class_names","labels","names"]'),
    (b'"columns":["labels","class_names","names"]', b'"columns":["labels","labels","names"]'),
    (b'"columns":["labels","class_names","names"]', b'"columns":["labels",7,"names"]'),
    (b'"promise":null', b'"promise":{}'),
    (b'"promise":null', b'"promise":{"corrected":1,"max_mse":0.01,"stored":0}'),
    (b'"promise":null', b'"promise":{"corrected":0,"max_mse":-0.01,"stored":0}'),
    (b'"promise":null', b'"promise":{"corrected":50,"max_mse":0.01,"stored":1}'),
    (b'"promise":null', b'"promise":{"corrected":0,"max_mse":1e999,"stored":0}'),
    (b'"format_version":1', b'"format_version":true'),
    (b'"required_features":0', b'"required_features":-1'),
    (b'"perplexity":', b'"perplexity":NaN,"x":'),
    (b'"profile":"test"', b'"profile":"\xff"'),
    (b'"profile":"test"', b'"profilo":"test"'),
    (b'"provenance":{', b'"provenance":{"a":1,'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), HEADERS)
def test_headers_that_contradict_the_file(small, reopen, old, new):
    content = rebuild(small.path, replace(old, new))
    with pytest.raises((DamagedArchiveError, LimitExceededError)), reopen(content) as archive:
        read_all(archive)


def test_a_promise_that_needed_nothing(small, reopen):
    promise = replace(b'"promise":null', b'"promise":{"corrected":0,"max_mse":0.01,"stored":0}')
    with reopen(rebuild(small.path, promise)) as archive:
        assert (archive[:] == small.pixels).all() and archive.info().promise.max_mse == 0.01


def test_the_header_tells_the_version_if_the_prelude_is_lost(small, reopen):
    for old, new, words in (
        (b'"format_version":1', b'"format_version":2', "version 2"),
        (b'"required_features":0', b'"required_features":32', "feature bit 5"),
    ):
        with pytest.raises(UnsupportedArchiveError, match=words):
            reopen(flip(rebuild(small.path, replace(old, new)), 9))


def test_a_header_that_differs_from_its_copy_is_reported(small, reopen):
    def other(section, ordinal, payload):
        return payload.replace(b'"test"', b'"rest"') if (section, ordinal) == (1, 1) else payload

    with reopen(rebuild(small.path, other)) as archive:
        assert archive.verify().damaged_sections == ("copy of the header: it differs from the other one",)


def test_an_unknown_decoder_is_refused_by_name(small, reopen):
    with pytest.raises(UnsupportedArchiveError, match="neural99"):
        reopen(rebuild(small.path, replace(b'"decoder":"integer"', b'"decoder":"neural99"')))


def test_a_wrong_statistic_is_reported(small, reopen):
    with reopen(rebuild(small.path, replace(b'"perplexity":5.', b'"perplexity":4.'))) as archive:
        report = archive.verify()
    assert not report.ok and "perplexity" in report.damaged_sections[0] and report.damaged_images == 0


def test_blocks_in_each_others_places(small, reopen):
    payloads = [payload for entry, payload in sections(small.path) if entry.section == 4]

    def swap(section, ordinal, payload):
        return payloads[1 - ordinal] if section == 4 and ordinal < 2 else payload

    with reopen(rebuild(small.path, swap)) as archive:
        with pytest.raises(DamagedArchiveError, match="not those of this block"):
            archive[0]
        assert (archive[45] == small.pixels[45]).all()
        assert archive.verify().damaged_images == 40


def test_other_tokens_under_a_right_checksum(small, reopen):
    """A block whose words decode to other tokens, as if the entropy coder had changed."""

    def other(section, ordinal, payload):
        return flip(payload, 12) if (section, ordinal) == (4, 0) else payload

    with reopen(rebuild(small.path, other)) as archive, pytest.raises(DamagedArchiveError, match="after decoding"):
        archive[0]


@pytest.mark.parametrize("section", [1, 2, 3, 4])
def test_missing_sections(small, reopen, section):
    def drop(kind, ordinal, payload):
        return None if kind == section and ordinal == 0 else payload

    with pytest.raises(DamagedArchiveError):
        reopen(rebuild(small.path, drop))


def test_unknown_sections(small, reopen):
    with pytest.raises(UnsupportedArchiveError, match="type 77"):
        reopen(rebuild(small.path, unchanged, extra=[(77, 0, b"?")]))
    with reopen(rebuild(small.path, unchanged, extra=[(177, 0, b"?")])) as archive:
        assert (archive[:] == small.pixels).all() and archive.verify().ok


def test_streams_that_end_after_their_block(small, reopen):
    def longer(section, ordinal, payload):
        return payload[:20] + b"\xff\xff\xff\xff" + payload[24:] if (section, ordinal) == (4, 0) else payload

    with reopen(rebuild(small.path, longer)) as archive, pytest.raises(DamagedArchiveError, match="end after its data"):
        archive[0]


def model(ids, network):
    def payload_of(section, _ordinal, payload):
        return np.array(ids, "<u2").tobytes() + pack_network(network) if section == 2 else payload

    return payload_of


MODELS = {
    "ids": ([1, 2, 4, 3, 5, 6], random_network(6), "not ascending"),
    "equal ids": ([1, 2, 3, 3, 5, 6], random_network(6), "not ascending"),
    "id beyond": ([1, 2, 3, 4, 5, 8], random_network(6), "within the codebook"),
    "fewer codes": ([1, 2, 3, 4, 5, 6], random_network(5), "5 codes, not the 6"),
    "channels": ([1, 2, 3, 4, 5, 6], random_network(6, channels=2), "2 channels, not 1"),
    "size": ([1, 2, 3, 4, 5, 6], random_network(6, scale=3), r"not \[8, 12\]"),
    "short": ([1, 2], random_network(6), ""),
    "nothing left": ([1, 2, 3, 4, 5, 6], black_network(1), "1 codes"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_be(small, reopen, name):
    ids, network, words = MODELS[name]
    with reopen(rebuild(small.path, model(ids, network))) as archive:
        with pytest.raises(SmaltiError, match=f"changed.smalti: model: .*{words}"):
            archive[0]
        assert archive.names == small.names


def test_a_network_that_would_take_for_ever(tmp_path):
    """Large layers in few bytes: a reader must refuse the cost before it computes."""
    rng, bits, black = np.random.default_rng(0), Clip(0, 1), PixelTable(0, np.zeros(1, np.uint8))
    network = IntegerNetwork(
        (
            layer(rng, "tokens", 3, (16, 16), 8, (16, 16), (0, 0), bits),
            layer(rng, "up", 8, (16, 16), 8, (16, 16), (0, 0), bits),
            layer(rng, "conv", 8, (3, 3), 1, (1, 1), (0, 0), black),
        )
    )
    path = write(tmp_path / "slow.smalti", random_tokens(1, (2, 2), 3), network)
    limited = open_archive(path, Limits(network_operations=1 << 24))
    with limited, pytest.raises(LimitExceededError, match="network_operations"):
        limited[0]
    with open_archive(path) as archive:
        assert archive[0].shape == (510, 510)


@WARNINGS_ARE_ERRORS
def test_any_byte_changed_under_right_checksums_is_an_error_of_ours_or_readable(tiny, reopen):
    """Random payloads under right checksums: the parsers must hold without the help of checksums."""
    for entry, payload in sections(tiny.path):
        for place in range(0, len(payload), 2):

            def change(section, ordinal, payload, at=(entry, place)):
                same = section == at[0].section and (section in (1, 3) or ordinal == at[0].ordinal)
                return flip(payload, at[1], 1 << at[1] % 8) if same else payload

            try:
                with reopen(rebuild(tiny.path, change)) as archive:
                    archive.verify("pixels")
                    read_all(archive)
            except SmaltiError as error:
                assert "\n" not in str(error) and "changed.smalti" in str(error)
