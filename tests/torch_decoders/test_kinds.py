import pytest

from decoders.raw_kind import RawKind
from decoders.test_kind import noise, write
from smalti.archive.read.reader import open_archive
from smalti.decoders.kind import CELL_KINDS, KINDS
from smalti.errors import UsageError
from smalti.interop.torch.decoder import TokenDecoder
from smalti.torch_decoders.kinds import TORCH_CELL_DECODERS, TORCH_DECODERS


def test_every_kind_has_a_decoder():
    assert set(TORCH_DECODERS) == set(KINDS) and set(TORCH_CELL_DECODERS) == set(CELL_KINDS)


def test_a_kind_without_one_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "raw", RawKind())
    advice = "'raw' in PyTorch; read images, with tokens=False"
    with open_archive(write(tmp_path / "a.smalti", noise())) as archive, pytest.raises(UsageError, match=advice):
        TokenDecoder(archive)
