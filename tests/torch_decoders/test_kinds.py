import pytest

from decoders.raw_kind import RawKind
from decoders.test_kind import noise, write
from smalti.archive.read.reader import open_archive
from smalti.decoders.kind import KINDS
from smalti.errors import UsageError
from smalti.interop.torch.decoder import TokenDecoder
from smalti.torch_decoders.kinds import TORCH_DECODERS


def test_every_kind_has_a_decoder():
    assert set(TORCH_DECODERS) == set(KINDS)


def test_a_kind_without_one_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "raw", RawKind())
    advice = "'raw' in PyTorch; read images, with tokens=False"
    with open_archive(write(tmp_path / "a.smalti", noise())) as archive, pytest.raises(UsageError, match=advice):
        TokenDecoder(archive)
