"""Files whose header is not canonical, out of range, or contradicts the file."""

from conformance.readers.sections import HEADER
from conformance.refused.files import Case, Cases, build, frames, replaced, sound, with_payload

SECTION = "Header (canonical JSON, an object with exactly these keys)"
IMAGES, GRID, SHAPE, PADDED = b'"images":8', b'"token_grid":[2,3]', b'"image_shape":[3,5,1]', b'"padded_shape":[4,6]'
COLUMNS, PROMISE = b'"columns":["labels","class_names","names"]', b'"promise":null'
CHANGES = {
    "images-9": (IMAGES, b'"images":9', "it states one image more than the token blocks hold"),
    "images-0": (IMAGES, b'"images":0', "it states 0 images"),
    "images-huge": (IMAGES, b'"images":281474976710656', "it states 2^48 images"),
    "images-5000-digits": (IMAGES, b'"images":' + b"9" * 5000, "a number of 5,000 digits"),
    "images-float": (IMAGES, b'"images":8.0', "an integer is written with a point"),
    "images-bool": (IMAGES, b'"images":true', "an integer is a truth value"),
    "space": (IMAGES, b'"images": 8', "a space: the JSON is not canonical"),
    "key-twice": (IMAGES, b'"images":8,"images":8', "a key stands twice"),
    "key-unknown": (b'"profile":"sound"', b'"profilo":"sound"', "a key is missing and another is not known"),
    "not-utf-8": (b'"profile":"sound"', b'"profile":"\xff"', "it is not UTF-8"),
    "nested": (GRID, b'"token_grid":' + b"[" * 3000, "3,000 brackets are opened"),
    "block-images-0": (b'"block_images":3', b'"block_images":0', "0 images per block"),
    "block-images-4": (b'"block_images":3', b'"block_images":4', "other images per block than the blocks have"),
    "codebook-size-1": (b'"codebook_size":8', b'"codebook_size":1', "a codebook of one code"),
    "codebook-size-4": (
        b'"codebook_size":8',
        b'"codebook_size":4',
        "all codes in use, and numbers of codes are stored",
    ),
    "codes-used-9": (b'"codes_used":4', b'"codes_used":9', "more codes in use than there are"),
    "codes-used-3": (b'"codes_used":4', b'"codes_used":3', "fewer codes in use than the model has"),
    "perplexity": (b'"perplexity":3.', b'"perplexity":2.', "the perplexity is not that of the tokens"),
    "perplexity-nan": (b'"perplexity":3.87017', b'"perplexity":NaN', "a number that is none"),
    "decoder": (b'"decoder":"integer"', b'"decoder":"neural99"', "a decoder that nobody knows"),
    "dtype": (b'"dtype":"uint8"', b'"dtype":"float16"', "a dtype that nobody knows"),
    "format-version-bool": (b'"format_version":1', b'"format_version":true', "a version that is a truth value"),
    "features": (b'"required_features":0', b'"required_features":8', "other required features than in the prelude"),
    "shape-beyond": (SHAPE, b'"image_shape":[5,5,1]', "images are higher than what the network makes"),
    "shape-0": (SHAPE, b'"image_shape":[0,5,1]', "images without rows"),
    "shape-channels": (SHAPE, b'"image_shape":[3,5,2]', "other channels than the network makes"),
    "shape-channels-5": (SHAPE, b'"image_shape":[3,5,5]', "five channels"),
    "shape-two": (SHAPE, b'"image_shape":[3,5]', "a shape of two numbers"),
    "padded-larger": (PADDED, b'"padded_shape":[5,6]', "not what the network makes of the grid"),
    "padded-huge": (PADDED, b'"padded_shape":[99999999,99999999]', "images of 10^16 values"),
    "grid-other": (GRID, b'"token_grid":[2,4]', "another grid than the prior and the tokens have"),
    "grid-65536": (GRID, b'"token_grid":[65536,1]', "a grid beyond 65,535"),
    "grid-huge": (GRID, b'"token_grid":[65535,65535]', "4 * 10^9 tokens an image"),
    "columns-fewer": (COLUMNS, b'"columns":["labels","names"]', "it lists fewer columns than there are"),
    "columns-order": (COLUMNS, b'"columns":["class_names","labels","names"]', "it lists columns in another order"),
    "columns-twice": (COLUMNS, b'"columns":["labels","labels","names"]', "it lists a column twice"),
    "columns-number": (COLUMNS, b'"columns":["labels",7,"names"]', "a name of a column that is a number"),
    "promise-empty": (PROMISE, b'"promise":{}', "a promise of nothing"),
    "promise-without-section": (
        PROMISE,
        b'"promise":{"corrected":1,"max_mse":0.01,"stored":0}',
        "corrected images without a corrections section",
    ),
    "promise-negative": (PROMISE, b'"promise":{"corrected":0,"max_mse":-0.01,"stored":0}', "a bound below 0"),
    "promise-beyond": (PROMISE, b'"promise":{"corrected":8,"max_mse":0.01,"stored":1}', "more images than there are"),
    "promise-infinite": (PROMISE, b'"promise":{"corrected":0,"max_mse":1e999,"stored":0}', "an infinite bound"),
    "provenance": (b'"provenance":{', b'"provenance":{"a":1,', "a value that is no string"),
}


def cases() -> Cases:
    """All cases; each changes both copies of the header."""
    payloads = frames(sound("grid"))
    for name, (old, new, reason) in CHANGES.items():
        data = build(with_payload(payloads, HEADER, replaced(old, new)))
        yield Case(f"header-{name}", "grid", data, reason, SECTION)
