"""The worked example of the mixture prior in docs/format.md, from its bytes to its words and units."""

import re

import numpy as np

from decoders.pixels.test_mixture_prior import walked
from decoders.test_pyramid_specification import TEXT, shown
from helpers.reference_mixtures import LOGISTIC, curve, slow_samples, squash
from smalti.decoders.pixels.mixture import CDF
from smalti.decoders.pixels.mixture_network import MixtureChannel, MixtureNetwork
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_model import PixelModel

GRIDS = np.array([(2, 2)])
TOKENS = np.array([[290, 1], [0, 0], [37, 1], [201, 1]], np.uint16)
NAMES = ("grey", "alpha")
PAGE = " ".join(TEXT[TEXT.index("### The example of mixtures") : TEXT.index("## Corrections\n")].split())


def column(*numbers):
    return np.array(numbers, np.int64)[:, None]


def example():
    """The prior of the page, which has the model."""
    model = PixelModel((np.arange(300) * 7, np.array([0, 65_535])), "uint16", True)
    alpha = MixtureChannel(
        np.array([0, 0, 1, 0, 0, 0, 3, 0]), 2, column(2), np.array([40]), np.array([[[3]]]), np.array([[-20]]),
        np.array([[1, 0, 0, 0, 0, 2, 0, 0, 1, 0]]), np.array([0, 100, -50, 40, 16, 0, -30, 600, 500, 300]), (4, 2, 2),
    )  # fmt: skip
    grey = MixtureChannel(
        np.array([0, -4, 0, 3, 0, 0, 0, 4, 20]), 2, column(1, 2, 0, -1), np.array([900]), np.array([[[-1]]]),
        np.array([[200]]), np.array([[1, 2, 0, -1, -1, 0, 0, 1, 0, 3]]),
        np.array([-300, -120, 40, 340, 90, -160, 0, 680, 900, 250]), (3, 1, 2),
    )  # fmt: skip
    context = column(0, 1, 2, -1, 0, 3, 1, 2, 3, 1, 0, 2, 1, -1, 0, -2, 1, 0)
    network = MixtureNetwork(1, [2, 300], context, column(64, 0), column(-30), column(7, 21), (alpha, grey))
    return MixturePrior(network, model)


def numbers_in(text):
    """The whole numbers that are listed, commas within them included."""
    return [int(number.replace(",", "")) for number in re.findall(r"-?\d[\d,]*\d|-?\d", text)]


def rows_of_the_page():
    """Of each coded sample: pixel, channel, and lists of the numbers of each column."""
    start = TEXT.index("| pixel | sample |", TEXT.index("### The example of mixtures"))
    rows = re.findall(r"^\| (\d) \| (alpha|grey) \|(.*)\|$", TEXT[start:], re.MULTILINE)
    return [
        (int(pixel), NAMES.index(name), [numbers_in(cell) for cell in rest.split("|")]) for pixel, name, rest in rows
    ]


def listed(before, after):
    """The numbers that the page lists between these words."""
    return numbers_in(re.search(f"{before}(.*?){after}", PAGE)[1])


def test_the_steps_are_as_worked_out():
    prior = example()
    samples = slow_samples(prior, TOKENS, (2, 2))
    units, order = walked(prior, TOKENS, GRIDS)
    rows = rows_of_the_page()
    assert [(pixel, channel) for pixel, channel, _ in rows] == order
    assert units == {place: sample.units for place, sample in samples.items()}
    for pixel, channel, (near, forecast, own, first, before, after, outputs, level) in rows:
        sample = samples[pixel, channel]
        assert near == [sample.left, sample.above, sample.base] and forecast == [sample.forecast]
        assert own == sample.features and first[-1:] == sample.first
        assert before == sample.hidden[0] and after[-1:] == sample.hidden[1] and outputs == sample.outputs
        assert level == [TOKENS[pixel, channel]]


def test_the_sums_of_the_page_are_right():
    start = TEXT.index("| pixel | sample |", TEXT.index("### The example of mixtures"))
    sums = re.findall(r"\| (40|900)((?: [+-] \d+){5}) = (-?\d+) \|", TEXT[start:])
    assert len(sums) == len(rows_of_the_page()) == 7
    for bias, more, total in sums:
        assert int(bias) + sum(int(sign + number) for sign, number in re.findall(r"([+-]) (\d+)", more)) == int(total)


def test_the_mixtures_are_as_worked_out():
    samples = slow_samples(example(), TOKENS, (2, 2))
    table = listed(r"L\[512\] are", r"\. The")
    assert table == [LOGISTIC[0], LOGISTIC[256], LOGISTIC[257], LOGISTIC[512]] and CDF.tolist() == LOGISTIC
    for name, pixel, channel in (("alpha of pixel 0", 0, 1), ("grey of pixel 3", 3, 0)):
        mixture = samples[pixel, channel].mixture
        assert listed(f"The {name} has the shares", ", the inverses") == mixture.shares and sum(mixture.shares) == 2**14
        text = PAGE[PAGE.index(f"The {name} has the shares") :]
        assert numbers_in(re.search(r"the inverses(.*?), and", text)[1]) == mixture.inverses
        assert numbers_in(re.search(r"the moves(.*?)[.;]", text)[1]) == mixture.moves
    alpha, grey = samples[0, 1], samples[3, 0]
    places, curves = listed("are at the places", ", and are"), listed(", and are", "; the last share")
    assert curves == [curve(place) for place in places]
    *shares, alike = alpha.mixture.shares
    added = listed("the last share adds", "; so")
    assert added == [alike, 2**24 // 2, 1, alike * 2**23]
    total = added[-1] + sum(share * value for share, value in zip(shares, curves, strict=True))
    assert listed(r"so up_to\(0\) is", r"\.") == [total] == [alpha.mixture.up_to(0)]
    alike, scores = grey.mixture.shares[-1], grey.outputs[:4]
    added = listed("and all levels alike", r"; up_to\(255\)")
    assert scores[3] > max(scores[:3]) and added == [alike, 2**24 // 300, 256, alike * (2**24 // 300) * 256]
    assert listed("For level 255 the curves add", ", and") == [grey.mixture.up_to(255) - added[-1]]
    assert listed(r"up_to\(255\) is", r"\.") == [grey.mixture.up_to(255)]
    assert listed("The units of its alpha are", r"\.") == alpha.units[0]
    assert listed("The units of its first symbol are", r"\.") == grey.units[0]
    assert listed("as its second symbol are", r"\.") == grey.units[1][200:203]


def test_what_is_seen_is_as_worked_out():
    text = " ".join(TEXT.split())
    listed = re.search(r"So 0, 1, 2, 3, 4 and 7 are seen as ([\d, and]+)\.", text)[1]
    assert numbers_in(listed) == [squash(number) for number in (0, 1, 2, 3, 4, 7)]


def test_the_example_has_the_bytes_that_the_page_shows():
    prior = example()
    assert shown("The bytes of this mixture model") == prior.model.to_bytes()
    assert shown("The bytes of this mixture prior") == prior.to_bytes()
    words = shown("The words of these mixtures")
    assert prior.encode(TOKENS, GRIDS) == words and (prior.decode(words, GRIDS) == TOKENS).all()
    again = prior.model.read_prior(prior.to_bytes())
    assert (again.decode(words, GRIDS) == TOKENS).all()
