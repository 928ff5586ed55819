"""The mixture prior in Python's whole numbers, pixel by pixel, as docs/format.md says it."""

from itertools import pairwise
from types import SimpleNamespace

B = (65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393, 46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219)


def inverse_of(e):
    """2**30 * 2**(-e / 16)."""
    return B[e % 16] * 2**14 // 2 ** (e // 16)


def logistic_table():
    """L of the page, 513 numbers."""
    rising = [2**54 // (2**30 + inverse_of(e)) for e in range(257)]
    return [2**24 - rising[256 - n] if n < 256 else rising[n - 256] for n in range(513)]


LOGISTIC = logistic_table()


def curve(place):
    """The logistic function of the page."""
    moved = min(max(place, -(2**20)), 2**20 - 1) + 2**20
    step, part = moved // 4096, moved % 4096
    return LOGISTIC[step] + (LOGISTIC[step + 1] - LOGISTIC[step]) * part // 4096


def squash(difference):
    """What is seen of a difference."""
    m = abs(difference) + 1
    octave = max(o for o in range(18) if 2**o <= m)
    found = min(16 * octave + 16 * (m - 2**octave) // 2**octave, 255)
    return found if difference >= 0 else -found


def mixture_of(outputs, anchors, count):
    """The shares of a sample, the last one of all levels alike; its curves; and the function `up_to` of the page."""
    components = (len(outputs) - 1) // 3
    scores, shifts, widths = outputs[: components + 1], outputs[components + 1 : -components], outputs[-components:]
    far = [min(max(scores) - score, 255) for score in scores]
    weights = [B[e % 16] // 2 ** (e // 16) for e in far]
    shares = [weight * 2**14 // sum(weights) for weight in weights]
    shares[scores.index(max(scores))] += 2**14 - sum(shares)
    inverses = [inverse_of(min(max(width, 0), 383)) for width in widths]
    moves = [min(max(shift, -4096), 4096) for shift in shifts]

    def up_to(level):
        if level < 0 or level >= count - 1:
            return 0 if level < 0 else 2**38
        curves = sum(
            share * curve((2 * (level - anchor) + 1) * inverse // 512 - 4096 * move)
            for share, anchor, inverse, move in zip(shares, anchors, inverses, moves, strict=False)
        )
        return curves + shares[-1] * (2**24 // count) * (level + 1)

    return SimpleNamespace(shares=shares, inverses=inverses, moves=moves, up_to=up_to)


def units_of(up_to, count, level):
    """The units of the symbols of a sample of this level: lists of one or two symbols, none for one level."""
    if count == 1:
        return []
    if count <= 256:
        return [steps([up_to(k) * (2**24 - count) // 2**38 for k in range(-1, count)])]
    first, symbols = level // 256, -(-count // 256)
    large = steps([up_to(256 * s - 1) * (2**24 - symbols) // 2**38 for s in range(symbols + 1)])
    least = up_to(256 * first - 1)
    whole = up_to(256 * first + 255) - least + 2**14
    small = [(up_to(256 * first + r) - least + 64 * (r + 1)) * (2**24 - 256) // whole for r in range(-1, 256)]
    return [large, steps(small)]


def steps(sums):
    """Units of symbols from what those up to each have."""
    return [1 + after - before for before, after in pairwise(sums)]


def slow_samples(prior, tokens, grid):
    """All samples of one picture, {(pixel, channel): what is found on the way}; without those that alpha hides."""
    network, model, (rows, columns) = prior.network, prior.model, grid
    r, channels = network.radius, model.channels
    order = [channels - 1, *range(channels - 1)] if channels in (2, 4) else list(range(channels))
    counts = [len(model.levels[channel]) for channel in order]
    levels = tokens.reshape(rows, columns, channels)[:, :, order].tolist()  # in coding order
    around = 2 * r * (r + 1) * channels
    near = [(0, -1), (-1, 0), (-1, -1), (-1, 1)] + ([(0, -2), (-2, 0)] if r > 1 else [])
    missed = {}

    def dot(inputs, weights):
        return sum(value * weight for value, weight in zip(inputs, weights.tolist(), strict=True))

    def edge(table, distance, h):
        return int(table[min(distance, len(table) - 1), h])

    found = {}
    for y in range(rows):
        for x in range(columns):
            here = levels[y][x]
            left = levels[y][x - 1] if x else levels[y - 1][x] if y else [0] * channels
            above = levels[y - 1][x] if y else left
            base = [(one + other) // 2 for one, other in zip(left, above, strict=True)]
            places = [(y - up, x + beside) for up in range(r, 0, -1) for beside in range(-r, r + 1)]
            places += [(y, x - back) for back in range(r, 0, -1)]
            differences = [
                levels[v][w][d] - base[d] if v >= 0 and 0 <= w < columns else 0
                for v, w in places
                for d in range(channels)
            ]
            forecasts, own = [], []
            for number, channel in enumerate(order):
                if number and model.hides and model.levels[-1][here[0]] == 0:
                    continue
                net, count = network.networks[number], counts[number]
                moved = (dot(differences, net.weights) + 2**net.places // 2) // 2**net.places
                forecast = min(max(base[number] + moved, 0), count - 1)
                forecasts.append(forecast)
                seen = [squash(each) for each in differences[:around]]
                seen += [255 * base[d] // max(counts[d] - 1, 1) for d in range(channels)]
                beside = [(y + down, x + right, d) for down, right in near for d in range(channels)]
                seen += [squash(missed.get(place, 0)) for place in beside]
                known = [squash(forecast - base[number]), *own]
                first = [
                    int(net.bias[h])
                    + dot(seen, network.context[:, h])
                    + dot(known, net.own[:, h])
                    + edge(network.tops, y, h)
                    + edge(network.lefts, x, h)
                    + edge(network.rights, columns - 1 - x, h)
                    for h in range(network.width)
                ]
                hidden = [[min(max(value // 2 ** net.shifts[0], 0), 255) for value in first]]
                for weight, bias, shift in zip(net.middle, net.middle_bias.tolist(), net.shifts[1:-1], strict=True):
                    added = [(bias[h] + dot(hidden[-1], weight[:, h])) // 2**shift for h in range(network.width)]
                    hidden.append([min(old + max(new, 0), 255) for old, new in zip(hidden[-1], added, strict=True)])
                outputs = [
                    (int(net.outputs_bias[q]) + dot(hidden[-1], net.outputs[:, q])) // 2 ** net.shifts[-1]
                    for q in range(3 * network.components + 1)
                ]
                anchors = [forecast, forecast, left[number], above[number]]
                mixture = mixture_of(outputs, anchors, count)
                found[y * columns + x, channel] = SimpleNamespace(
                    left=left[number],
                    above=above[number],
                    base=base[number],
                    forecast=forecast,
                    features=known,
                    first=first,
                    hidden=hidden,
                    outputs=outputs,
                    mixture=mixture,
                    units=units_of(mixture.up_to, count, here[number]),
                )
                missed[y, x, number] = here[number] - forecast
                error = squash(here[number] - forecast)
                own = [*own, squash(here[number] - base[number]), error, abs(error)]
                differences = [*differences, here[number] - base[number]]
    return found
