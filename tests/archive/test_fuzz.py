"""Random changes to sections under right checksums cause SmaltiErrors of one line alone, and take no more memory.

`fuzz/search.py` looks for longer, guided by coverage.
"""

import tracemalloc
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.damaged_files import rebuild
from smalti.archive.format.limits import Limits
from smalti.archive.open import open_images
from smalti.errors import SmaltiError

GOLDEN = Path(__file__).parents[2] / "conformance" / "golden"
FILES = ["format-1-plain.smalti", "format-1-named.smalti", "format-1-corrected.smalti", "format-1-recoverable.smalti"]
FILES += ["format-1-uint16.smalti", "collection-1.smalti"]
FILES += ["format-1-transform.smalti", "format-1-transform-alpha.smalti", "format-1-transform-uint16.smalti"]
FILES += ["format-1-pixels.smalti", "format-1-pixels-alpha.smalti", "format-1-pixels-uint16.smalti"]
FILES += ["format-1-mixtures-alpha.smalti", "format-1-mixtures-uint16.smalti"]
MEMORY = 1 << 26
CAPPED = ("model", "prior", "corrections", "column", "block", "corrected", "image", "request")
SMALL = Limits(network_operations=1 << 24, **{f"{name}_bytes": 1 << 22 for name in CAPPED})


@st.composite
def changes(draw):
    """Draw a change of a payload: some bytes set, then perhaps a cut, or a repeated part."""
    places = draw(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4))
    cut, repeated = draw(st.tuples(st.integers(0, 1 << 16), st.integers(0, 1 << 16)))
    kind = draw(st.sampled_from(["set", "set", "cut", "repeat", "insert"]))
    inserted = draw(st.binary(max_size=20))

    def change(payload):
        changed = bytearray(payload)
        for place, value in places if changed else ():
            changed[place % len(changed)] = value
        if kind == "cut":
            del changed[cut % (len(changed) + 1) :]
        elif kind == "repeat":
            changed += changed[cut % (len(changed) + 1) :][: repeated % 2000]
        elif kind == "insert":
            changed[cut % (len(changed) + 1) : 0] = inserted
        return bytes(changed)

    return change


def attempt(step):
    """Call it. An error must be a SmaltiError of one line."""
    try:
        step()
    except SmaltiError as error:
        assert "\n" not in str(error)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(FILES),
    section=st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13]),
    change=changes(),
    both=st.booleans(),
)
def test_any_change_of_a_section_is_refused_or_read(tmp_path, name, section, change, both):
    def payload_of(kind, ordinal, payload):
        return change(payload) if kind == section and (both or ordinal == 0) else payload

    path = tmp_path / name
    path.write_bytes(rebuild(GOLDEN / name, payload_of))
    tracemalloc.start()
    with suppress(SmaltiError), open_images(path, SMALL) as archive:
        attempt(lambda: archive.images(slice(None)))
        attempt(lambda: archive[len(archive) // 2])
        attempt(lambda: (archive.names, archive.labels, archive.class_names))
        attempt(archive.info)
        attempt(lambda: archive.verify("pixels"))
        attempt(lambda: list(archive.batches(16, on_error="skip")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY
