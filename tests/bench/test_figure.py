import pytest
from PIL import Image

from helpers.made_up_bench import archive, result
from smalti.bench.page import draw_bench

CASES = {
    "codecs alone": result(),
    "archives": result(archive("a", 10, 0.004), archive("b", 20, 0.002)),
    "many": result(*(archive(f"{n}", 10 + n, 0.004 / (n + 1)) for n in range(12))),
    "lossless": result(archive("exact", 200, 0.0)),
    "no codec": result(archive("a"), curves=()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_figure_is_drawn_and_the_same_each_time(tmp_path, name):
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        draw_bench(CASES[name], path)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 750
