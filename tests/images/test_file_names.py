"""Names of files for images: suffixes, and the images of a stack."""

import pytest

from smalti.images.file_names import file_name_of, without_number


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.jpg", "a.png"),
        ("a.PNG", "a.PNG"),
        ("b/a.tif#0", "b/a#0.png"),
        ("a.ome.tif#12", "a.ome#12.png"),
        ("issue#1", "issue#1.png"),
        ("v1.2/a#3", "v1.2/a#3.png"),
        ("a#1.png", "a#1.png"),
    ],
)
def test_the_name_of_a_png_file(name: str, file: str) -> None:
    assert file_name_of(name, ".png") == file


def test_the_number_of_an_image_of_a_stack() -> None:
    assert without_number("a.tif#7") == ("a.tif", "#7")
    assert without_number("a.tif#seven") == ("a.tif#seven", "")
    assert without_number("a#7") == ("a#7", "")
