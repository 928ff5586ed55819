import pytest
import torch

from smalti.errors import ModelError
from smalti.training.pyramid import chosen_tokens
from smalti.training.pyramid.chosen_tokens import TokenRows
from smalti.training.pyramid.packing_state import read_packing_state, read_packing_tokens, write_packing_state

POSITIONS = (1, 4)


@pytest.fixture(params=[0, 1 << 20], ids=["in a file", "in memory"])
def rows(request, monkeypatch):
    monkeypatch.setattr(chosen_tokens, "IN_MEMORY_BYTES", request.param)
    monkeypatch.setattr(chosen_tokens, "CHUNK_IMAGES", 4)
    rows = TokenRows(10, POSITIONS)
    rows.put(0, [torch.arange(10)[:, None], torch.arange(40).view(10, 4) * 500])
    return rows


def same(one, other):
    found = [rows.of(slice(None)) for rows in (one, other)]
    return all(a.equal(b) for a, b in zip(*found, strict=True))


def test_a_state_comes_back(rows, tmp_path):
    path = tmp_path / "state"
    write_packing_state(path, rows, {"sse": torch.arange(3.0)}, {"price": 0.5})
    tensors, description = read_packing_state(path)
    assert tensors["sse"].tolist() == [0, 1, 2] and description == {"price": 0.5}
    again = TokenRows(10, POSITIONS)
    read_packing_tokens(path, again)
    assert same(rows, again)


@pytest.mark.parametrize("images", [9, 11])
def test_tokens_of_another_number_of_images_are_refused(images, rows, tmp_path):
    path = tmp_path / "state"
    write_packing_state(path, rows, {}, {})
    with pytest.raises(ModelError, match="or it is damaged"):
        read_packing_tokens(path, TokenRows(images, POSITIONS))


def test_damage_is_found(rows, tmp_path):
    path, again = tmp_path / "state", TokenRows(10, POSITIONS)
    write_packing_state(path, rows, {"sse": torch.arange(3.0)}, {"price": 0.5})
    whole, found = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            tensors, description = read_packing_state(path)
            read_packing_tokens(path, again)
        except ModelError as error:
            assert str(path) in str(error)
            found += 1
        else:  # a date of the ZIP file
            assert tensors["sse"].tolist() == [0, 1, 2] and description == {"price": 0.5} and same(rows, again)
    assert found > 0.7 * len(whole)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError):
            read_packing_state(path)


def test_rows_are_read_in_any_order(rows):
    assert [level.tolist() for level in rows.of(torch.tensor([7, 0]))] == [
        [[7], [0]],
        [[14_000, 14_500, 15_000, 15_500], [0, 500, 1000, 1500]],
    ]
    copy = rows.copy()
    copy.put(9, [torch.zeros(1, 1), torch.zeros(1, 4)])
    assert not same(rows, copy) and copy.of(slice(8, 10))[0].tolist() == [[8], [0]]
