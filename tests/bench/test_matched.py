import pytest

from helpers.made_up_bench import archive, result
from smalti.bench.page import bench_page
from smalti.bench.results import BenchResult, best_need, needs, reference


def test_codecs_are_matched_by_mse_the_cheapest_first():
    found = needs(result(), 0.004 * 2**0.5)
    assert [need.name for need in found] == ["AVIF 4:2:0", "JPEG XL", "JPEG"]
    assert [need.bytes_per_image for need in found] == pytest.approx([each * 2**0.5 for each in (16, 24, 40)])
    assert not any(need.coarsest for need in found)


def test_nothing_is_extrapolated():
    assert needs(result(), 0.001) == () and best_need(result(), 0.001) is None
    best = best_need(result(), 0.02)
    assert (best.name, best.bytes_per_image, best.coarsest) == ("AVIF 4:2:0", 16, True)


def test_the_reference_is_jpeg_xl_at_distance_10():
    found = reference(result())
    assert (found.distance, found.mse, found.bytes_per_image) == (10, 0.004, 48)
    assert [(need.name, need.bytes_per_image) for need in found.needs] == [
        ("AVIF 4:2:0", pytest.approx(32)),
        ("JPEG", pytest.approx(80)),
    ]
    assert reference(result(curves=())) is None


def test_archives_are_sorted_by_bytes_and_replaced_by_name(tmp_path):
    found = result(archive("b", 20), archive("a", 10), archive("b", 5))
    assert [each.name for each in found.archives] == ["b", "a"]
    assert [each.bytes_per_image for each in found.archives] == [5, 10]
    assert BenchResult.read(tmp_path / "x.json") is None
    found.write(tmp_path / "x.json")
    assert BenchResult.read(tmp_path / "x.json") == found


def test_the_page_has_the_bytes_of_codecs_at_each_archives_mse():
    page = bench_page(result(archive("mine", 10, 0.004), archive("rough", 4, 0.02, ssim=None)), "x.png")
    (mine,) = [line for line in page.splitlines() if line.startswith("| mine")]
    assert mine.split(" | ")[5:7] == ["10.00", "0.00400"]
    assert mine.endswith("| 48.00 | AVIF 4:2:0 32.00 | 3.20 |")
    (rough,) = [line for line in page.splitlines() if line.startswith("| rough")]
    assert rough.endswith("| 24.00* | AVIF 4:2:0 16.00* | 4.00 |") and "–" in rough
    assert "JPEG XL at distance 10: MSE 0.004000 (23.98 dB) at 48.00 bytes an image." in page
    assert "![Bytes and MSE of archives and codecs](x.png)" in page
    assert "one mosaic" in page and "100 images of 28x28 pixels and 3 channels" in page


def test_the_page_of_codecs_alone_has_no_table_of_archives():
    page = bench_page(result(), "x.png")
    assert "**Archives**" not in page and "**Codecs**" in page
    assert "at distance" not in bench_page(result(curves=()), "x.png")
