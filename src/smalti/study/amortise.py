"""From how many images on does an archive that carries its model beat a codec that carries none?"""

import math

from smalti.study.results import AmortisationPoint

__all__ = ["break_even_images"]


def break_even_images(points: tuple[AmortisationPoint, ...], bytes_per_image: float) -> int | None:
    """Return the least number of images at which the archive takes at most `bytes_per_image` each.

    points : real archives, fewest images first; between them the file's size is interpolated linearly, for the model
    is constant and the tokens grow evenly. None if even the largest archive measured takes more.
    """
    for number, point in enumerate(points):
        if point.archive_bytes > bytes_per_image * point.images:
            continue
        if number == 0:
            return point.images
        before = points[number - 1]
        growth = (point.archive_bytes - before.archive_bytes) / (point.images - before.images)
        fixed = before.archive_bytes - growth * before.images
        return min(point.images, math.ceil(fixed / (bytes_per_image - growth)))
    return None
