"""Cases of animations: GIF, APNG and WebP, each frame as viewers show it."""

import struct
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import skimage
from PIL import Image

from inputs.case import Case, Group, Made, Pixels
from inputs.making import noise, passed_over, pillow, png, wide, write
from inputs.tiff_stacks import Fields, stack

_TIMES = [40, 50, 60, 70]


def cases() -> list[Case]:
    return [*_gif(), *_apng(), *_webp(), *_damaged()]


def _animated(frames: Sequence[Image.Image], kind: str, **options: object) -> bytes:
    return pillow(frames[0], kind, save_all=True, append_images=list(frames[1:]), **options)


def _timed(count: int = 4, **others: object) -> Fields:
    return {
        **{name: [value] * count for name, value in others.items()},
        "frame": list(range(count)),
        "duration_ms": [float(duration) for duration in _TIMES[:count]],
    }


def _moving(channels: int) -> list[Pixels]:
    """Return frames that differ in a small part, each pixel opaque or empty."""
    found = []
    for number in range(4):
        pixels = np.full((8, 10, channels), 30, np.uint8)
        if channels in (2, 4):
            pixels[:] = 0
        pixels[number : number + 3, number : number + 4] = [*(50 + number, 99, 7)[: channels - 1 + channels % 2], 255][
            :channels
        ]
        found.append(pixels)
    return found


def _gif() -> list[Case]:
    levels = [np.where(frame[..., 0] == 30, 0, number + 1).astype(np.uint8) for number, frame in enumerate(_moving(3))]
    colours = noise(256, 3, seed=1)
    frames = [Image.fromarray(level) for level in levels]
    for frame in frames:
        frame.putpalette(colours.tobytes())
    whole = np.stack([colours[level] for level in levels])
    kept = _animated(frames, "gif", duration=_TIMES, optimize=False)
    cleared = _animated(frames, "gif", duration=_TIMES, optimize=False, disposal=2, transparency=0)
    opaque = [np.where(level == 0, 0, 255).astype(np.uint8) for level in levels]
    clear = np.stack(
        [
            np.dstack([colours[level] * (alpha[..., None] > 0), alpha])
            for level, alpha in zip(levels, opaque, strict=True)
        ]
    )
    restored = _animated(frames, "gif", duration=_TIMES, optimize=False, disposal=[1, 3, 1, 1])
    sticky = _animated(frames, "gif", duration=_TIMES, optimize=False, disposal=[2, 0, 1, 1], transparency=0)
    fields = _timed(source_mode="P")
    shipped = (Path(skimage.__file__).parent / "data" / "no_time_for_that_tiny.gif").read_bytes()
    drawn = imagecodecs.gif_decode(shipped)
    rest = {"source_mode": ["P"] * len(drawn), "frame": list(range(len(drawn))), "duration_ms": [70.0] * len(drawn)}
    return [
        stack("GIF of a film", "shipped with scikit-image", "a.gif", shipped, [(drawn, rest)]),
        stack("GIF, 4 frames", "Pillow", "a.gif", kept, [(whole, fields)]),
        stack("GIF, 4 frames, each cleared", "Pillow", "a.gif", cleared, [(clear, fields)]),
        stack("GIF, 4 frames, one restored", "Pillow", "a.gif", restored, [(imagecodecs.gif_decode(restored), fields)]),
        stack(
            "GIF, 4 frames, only the first cleared",
            "Pillow",
            "a.gif",
            sticky,
            [(_blank(imagecodecs.gif_decode(sticky)), fields)],
        ),
    ]


def _blank(pixels: Pixels) -> Pixels:
    """Return pixels [..., 4] in which colours under alpha 0 are 0."""
    return np.where(pixels[..., 3:] == 0, 0, pixels).astype(np.uint8)


def _apng() -> list[Case]:
    rgba, rgb = np.stack(_moving(4)), np.stack(_moving(3))
    grey = noise(3, 8, 10)
    images = [Image.fromarray(frame) for frame in rgba]
    over = _animated(images, "png", duration=_TIMES, blend=1, disposal=1)
    source = _animated(images, "png", duration=_TIMES)
    colours = _animated([Image.fromarray(frame) for frame in rgb], "png", duration=_TIMES)
    greys = _animated([Image.fromarray(frame) for frame in grey], "png", duration=_TIMES[:3])
    hidden = _animated(images, "png", duration=_TIMES[:3], default_image=True)
    hidden_fields = {"frame": [None, 0, 1, 2], "duration_ms": [None, 40.0, 50.0, 60.0]}
    deep = wide(3, 8, 10, 3)
    by_codec = imagecodecs.apng_encode(deep, delay=100)
    return [
        stack("PNG, animated (APNG), RGB", "Pillow", "a.png", colours, [(rgb, _timed())]),
        stack("PNG, animated (APNG), grey", "Pillow", "a.apng", greys, [(grey, _timed(3))]),
        stack("PNG, animated (APNG), RGBA, parts that cover", "Pillow", "a.png", source, [(rgba, _timed())]),
        stack("PNG, animated (APNG), RGBA, parts laid over, cleared", "Pillow", "a.png", over, [(rgba, _timed())]),
        stack("PNG, animated (APNG), a picture that is no frame", "Pillow", "a.png", hidden, [(rgba, hidden_fields)]),
        stack(
            "PNG, animated (APNG), RGB of 16 bits",
            "imagecodecs",
            "a.png",
            by_codec,
            [(deep, {"frame": [0, 1, 2], "duration_ms": [100.0] * 3})],
        ),
    ]


def _webp() -> list[Case]:
    rgba, rgb, lossy = np.stack(_moving(4)), noise(4, 8, 10, 3), noise(4, 16, 16, 3, seed=1)
    options = {"duration": _TIMES, "lossless": True, "exact": True}
    clear = _animated([Image.fromarray(frame) for frame in rgba], "webp", **options)
    colours = _animated([Image.fromarray(frame) for frame in rgb], "webp", **options)
    about = _animated([Image.fromarray(frame) for frame in lossy], "webp", duration=_TIMES, quality=60)
    decoded = np.stack([imagecodecs.webp_decode(about, index=number) for number in range(4)])
    return [
        stack("WebP, animated, lossless", "Pillow", "a.webp", colours, [(rgb, _timed())]),
        stack("WebP, animated, lossless, RGBA", "Pillow", "a.webp", clear, [(rgba, _timed())]),
        stack("WebP, animated, lossy", "Pillow", "a.webp", about, [(decoded, _timed())]),
    ]


def _damaged() -> list[Case]:
    frames = [Image.fromarray(frame) for frame in noise(4, 20, 30, 3)]
    found = []
    for kind, name in (("gif", "GIF"), ("png", "PNG"), ("webp", "WebP")):
        whole = _animated(frames, kind)
        found.append(
            _refused(f"{name}, animated, cut in half", f"a.{kind}", whole[: len(whole) // 2], "damaged: cut off")
        )
    many = bytearray(_animated(frames, "gif"))
    many[6:10] = struct.pack("<HH", 65535, 65535)
    found.append(_refused("GIF, animated, of 65,535 pixels each way", "a.gif", bytes(many), "too many pixels"))
    return [*found, Case("animations of three kinds and a picture", "Pillow", _mixed)]


def _refused(what: str, name: str, data: bytes, words: str) -> Case:
    return Case(what, "Pillow, changed", lambda root: passed_over(name, data, words, root))


def _mixed(root: Path) -> Made:
    frames = noise(2, 8, 10, 3)
    images = [Image.fromarray(frame) for frame in frames]
    write(root / "a.png", _animated(images, "png", duration=40))
    write(root / "b.webp", _animated(images, "webp", duration=40, lossless=True))
    write(root / "c.png", png(frames[0]))
    names = ["a.png#0", "a.png#1", "b.webp#0", "b.webp#1", "c.png"]
    fields: Fields = {"frame": [0, 1, 0, 1, None], "duration_ms": [40.0] * 4 + [None]}
    return Made(root, [Group(np.concatenate([frames, frames, frames[:1]]), names=names, fields=fields)])
