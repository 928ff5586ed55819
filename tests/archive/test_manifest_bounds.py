"""Every number in a directory or a manifest is bounded like those of a header."""

import json

import pytest

from smalti.archive.collection.directory import read_directory, read_manifest
from smalti.archive.open import open_images
from smalti.errors import DamagedArchiveError, LimitExceededError

MEMBER = {"dtype": "uint8", "image_shape": [4, 4, 1], "images": 5}


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def manifest(*members):
    listed = [{"archive_bytes": 100, "path": f"{place}.smalti"} | member for place, member in enumerate(members)]
    return canonical({"format": "smalti-manifest", "members": listed, "version": 1})


def directory(*members, features=1):
    return canonical({"format_version": 1, "members": list(members), "required_features": features})


TOO_MUCH = [
    [{"images": 10**30}],
    [{"images": 1 << 63}],
    [{"images": 1 << 48}],
    [{"images": 0}],
    [{"images": 1 << 62}, {"images": 1 << 62}],
    [{"images": (1 << 48) - 1}, {"images": 1}],
    [{"image_shape": [10**30, 4, 1]}],
    [{"image_shape": [1 << 24, 1 << 24, 1]}],
    [{"image_shape": [4, 4, 1 << 63]}],
]


@pytest.mark.parametrize("changes", TOO_MUCH)
def test_counts_and_shapes_of_members_are_bounded(tmp_path, changes):
    members = [MEMBER | change for change in changes]
    with pytest.raises(DamagedArchiveError, match="cannot"):
        read_directory(directory(*members))
    path = tmp_path / "all.smalti-manifest"
    path.write_bytes(manifest(*members))
    with pytest.raises(DamagedArchiveError, match=r"all\.smalti-manifest: .*cannot"):
        open_images(path)


@pytest.mark.parametrize("sizes", [[10**30], [1 << 63], [0], [-1], [1 << 61, 1 << 61]])
def test_sizes_of_files_are_bounded(sizes):
    with pytest.raises(DamagedArchiveError, match="bytes"):
        read_manifest(manifest(*[MEMBER | {"archive_bytes": size} for size in sizes]))


@pytest.mark.parametrize("features", [10**30, -1, 1 << 32])
def test_features_of_a_directory_are_bounded(features):
    with pytest.raises(DamagedArchiveError, match="required_features"):
        read_directory(directory(MEMBER, features=features))


def test_numbers_of_a_header_are_still_taken():
    large = MEMBER | {"images": (1 << 48) - 1, "archive_bytes": 1 << 61}
    assert read_manifest(manifest(large))[0].facts.images == (1 << 48) - 1


def test_a_request_for_all_images_is_checked_before_they_are_numbered(tmp_path):
    path = tmp_path / "all.smalti-manifest"
    path.write_bytes(manifest(MEMBER | {"images": 1 << 47}))
    with open_images(path) as opened:
        for ask in (opened.__getitem__, opened.images, lambda each: opened.preview(each, 1)):
            with pytest.raises(LimitExceededError, match="request_bytes"):
                ask(slice(None))
        with pytest.raises(LimitExceededError, match="request_bytes"):
            opened.tokens()
