"""The images of a TIFF file: its pages, the planes that one page stands for, and the planes of channels.

A page is an image. Programs for microscopes also write a whole stack after one page, and state it in a text (ImageJ,
tifffile) or a tag (MetaMorph). Smaller copies of a page, and masks, are no images, and are told. What a text states and
the file does not hold is told, too.

tifffile reads the same stacks, and is not used here: its series leave out pages that do not fit, and it takes the word
of a file for sizes. It is the second decoder in the tests.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from smalti.imagefiles.format import UnreadableImageError
from smalti.imagefiles.tiff.tiff_directory import Directory, TiffFile
from smalti.imagefiles.tiff.tiff_ome import ome_planes
from smalti.imagefiles.tiff.tiff_page import COMPRESSION, EXTRA, HEIGHT, PHOTOMETRIC, PLANAR, SAMPLES, WIDTH, Page
from smalti.imagefiles.tiff.tiff_texts import Axes, axes_of_imagej, axes_of_shape

__all__ = ["Stack", "stack_of"]

_KIND, _OLD_KIND, _DESCRIPTION, _DEPTH, _METAMORPH = 254, 255, 270, 32997, 33629
_EXIF, _GPS = 34665, 34853
_REDUCED, _MASK = 1, 4  # bits of the kind of a page
_OLD_REDUCED = 2
_PLURALS = {"mask": "masks", "smaller copy": "smaller copies"}
_SHAPE_TEXT_BYTES = 4096  # of a later page, which may not make reading slow
_MAX_PLANES = 1 << 20


@dataclass(frozen=True)
class Stack:
    """The images of a file, in order, and words for what it holds besides."""

    pages: Sequence[Page]
    unread: Sequence[str]


def stack_of(file: TiffFile) -> Stack:
    """Find the images of a file. UnreadableImageError if its directories are damaged, or it holds a volume."""
    chain = file.pages()
    every = [page for parent in chain for page in (parent, *file.children(parent))]
    with_pixels = [page for page in every if WIDTH in page and HEIGHT in page]
    if not with_pixels:
        raise UnreadableImageError("damaged: a TIFF file without width and height")
    full, unread = _full_pages(with_pixels)
    pages = [page for group in _groups(file, chain, full) for page in _pages_of(file, group, unread)]
    pages = [each for page in pages for each in _samples_of(page)]
    if len(pages) > 1:
        pages = [_numbered(page, number) for number, page in enumerate(pages)]
    unread += [words for words in (_spare_bytes(file, every, pages),) if words is not None]
    return Stack(pages, unread)


def _numbered(page: Page, number: int) -> Page:
    """Add the number of an image whose place on the axes is not known."""
    is_known = page.fields and "plane" not in page.fields
    return page if is_known else replace(page, fields={**page.fields, "plane": number})


def _full_pages(every: Sequence[Directory]) -> tuple[list[Directory], list[str]]:
    """Return the directories of images, in order, and words for the others."""
    kinds = [_kind(page) for page in every]
    full = [page for page, kind in zip(every, kinds, strict=True) if not kind]
    if not full:  # a file of nothing but a small copy is that image
        return list(every), []
    others = Counter(kind for kind in kinds if kind)
    return full, [f"{count} {_PLURALS[kind] if count > 1 else kind}" for kind, count in sorted(others.items())]


def _kind(page: Directory) -> str:
    """Return what a page is, if it is no image of its own: a smaller copy of another, or a mask; else ""."""
    kind = page.number(_KIND, 0)
    if kind & _MASK:
        return "mask"
    return "smaller copy" if kind & _REDUCED or page.number(_OLD_KIND, 1) == _OLD_REDUCED else ""


@dataclass
class _Group:
    """Pages that one text describes; the first has the text."""

    pages: list[Directory]
    axes: Axes | None
    ome: Sequence[dict[str, int | str] | None] = ()
    words: str | None = None


def _groups(file: TiffFile, chain: Sequence[Directory], full: Sequence[Directory]) -> list[_Group]:
    """Split the pages by the texts that describe them."""
    texts = full[0].texts(_DESCRIPTION) or chain[0].texts(_DESCRIPTION)
    numbers = {page.offset: number for number, page in enumerate(chain)}
    ome = next(filter(None, (ome_planes(text, len(chain)) for text in texts)), None)
    if ome is not None:
        here = [ome.places.get(numbers.get(page.offset, -1)) for page in full]
        lost = ome.stated - max(len(full), sum(len(_samples_of(Page(file, page))) for page in full))
        words = [f"{_planes(lost)} of its OME-XML missing"] if lost > 0 else []
        words += [f"{_planes(ome.elsewhere)} of its OME-XML in other files"] if ome.elsewhere else []
        return [_Group(list(full), None, here, "; ".join(words) or None)]
    imagej = next(filter(None, map(axes_of_imagej, texts)), None)
    if imagej is not None:
        return [_Group(list(full), imagej)]
    groups: list[_Group] = []
    for number, page in enumerate(full):
        own = texts if number == 0 else page.texts(_DESCRIPTION, _SHAPE_TEXT_BYTES)
        samples = page.number(HEIGHT, 0) * page.number(WIDTH, 0) * page.number(SAMPLES, 1)
        axes = next(filter(None, (axes_of_shape(text, samples) for text in own)), None)
        if axes is None and page.count(_METAMORPH) > 1:
            axes = Axes("MetaMorph", page.count(_METAMORPH))
        if axes is None and groups and (groups[-1].axes is None or len(groups[-1].pages) < groups[-1].axes.planes):
            groups[-1].pages.append(page)
        else:
            groups.append(_Group([page], axes))
    return groups


def _pages_of(file: TiffFile, group: _Group, unread: list[str]) -> list[Page]:
    """Return the images of a group, with their axes; add words for planes that it states and that are not here."""
    pages = [Page(file, directory) for directory in group.pages]
    if any(page.directory.number(_DEPTH, 1) > 1 for page in pages):
        depth = max(page.directory.number(_DEPTH, 1) for page in pages)
        raise UnreadableImageError(f"{depth} planes in one page (a volume), which are not read; write them as pages")
    if group.words is not None:
        unread.append(group.words)
    if group.ome:
        return [replace(page, fields=place or {}) for page, place in zip(pages, group.ome, strict=True)]
    axes = group.axes
    if axes is None or axes.planes <= 1:
        return pages
    if len(pages) == 1 and axes.planes > 1:
        pages = _planes_of(file, pages[0], axes)
    each = 1 if len(pages) == axes.planes else sum(len(_samples_of(page)) for page in pages) // len(pages)
    if len(pages) * each != axes.planes:
        unread.append(f"{axes.kind} states {_planes(axes.planes)}, and here are {len(pages)}")
        return pages
    if each > 1:  # the planes of channels get their axis below
        return pages
    return [replace(page, fields=axes.place(number)) for number, page in enumerate(pages)]


def _planes(count: int) -> str:
    return f"{count:,} plane{'s' if count != 1 else ''}"


def _planes_of(file: TiffFile, page: Page, axes: Axes) -> list[Page]:
    """Return the planes that lie one after the other behind one page; the page alone if the file does not hold them."""
    if page.number(COMPRESSION, 1) != 1 or len(_samples_of(page)) == axes.planes:
        return [page]
    segments = page.segments()
    own = sum(size for _, size in segments)
    first = segments[0][0]
    ends = [offset + size for offset, size in segments]
    if not own or any(end != following for end, (following, _) in zip(ends, segments[1:], strict=False)):
        return [page]
    held = (file.size - first) // own
    if held < 2:
        return [page]
    if held < axes.planes:
        raise UnreadableImageError(
            f"damaged: {axes.kind} states {axes.planes:,} planes in one page, and the file has room for {held:,}"
        )
    if axes.planes > _MAX_PLANES:
        raise UnreadableImageError(f"more than {_MAX_PLANES:,} planes; write several files")
    return [replace(page, plane=number) for number in range(axes.planes)]


def _samples_of(page: Page) -> list[Page]:
    """Return the planes of the channels of a page if they are stored one after the other and are no colours."""
    samples = page.directory.number(SAMPLES, 1)
    grey = page.directory.number(PHOTOMETRIC, 0) in (0, 1)
    if samples < 2 or not grey or page.directory.number(PLANAR, 1) != 2:
        return [page]
    if samples == 2 and page.directory.number(EXTRA, 0) in (1, 2):  # an alpha channel
        return [page]
    fields = {name: value for name, value in page.fields.items() if name != "plane"}
    first = fields.get("c", 0)
    assert isinstance(first, int)
    return [replace(page, sample=n, fields=fields | {"c": first * samples + n}) for n in range(samples)]


def _spare_bytes(file: TiffFile, every: Sequence[Directory], pages: Sequence[Page]) -> str | None:
    """Describe bytes of an uncompressed file that no tag explains, if they would fill a further image; else None."""
    unknown = any(tag in page for page in every for tag in (_EXIF, _GPS))  # their directories are not counted here
    stored = [Page(file, page) for page in every if WIDTH in page and HEIGHT in page]
    if unknown or any(page.number(COMPRESSION, 1) != 1 for page in stored):
        return None
    planes = Counter(page.directory.offset for page in pages if not page.sample)
    sizes = [page.plain_bytes * max(1, planes[page.directory.offset]) for page in stored]
    spare = file.size - sum(sizes) - 32 - sum(page.stored_bytes for page in every)
    if spare < max(page.plain_bytes for page in pages):
        return None
    return f"{spare:,} bytes beside the {sum(sizes):,} of its pixels, which may be further images"
