"""From a model and images to the tokens of an archive: first choice, search, and learning from what was found.

The price of a bit is led to where the collection just meets its goal. If the model goes into the archive with these
images alone, decoder and priors then learn from the tokens as they are (no rounding of latents is left to pretend), and
the tokens are searched again: each step lowers squared error + price * bits of this very collection.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.errors import ModelError
from smalti.images.quality import ssim
from smalti.training.common.distributed import ALONE, ProcessGroup, State
from smalti.training.common.tensors import read_tensors, write_tensors
from smalti.training.common.training_images import TrainingImages, to_unit_range
from smalti.training.observer import Progress
from smalti.training.pyramid.learner import WHOLE_RATE, gradients, mean_part
from smalti.training.pyramid.token_search import SearchState, improve, measure
from smalti.training.pyramid.trade_off import LEAST_MEASURE, Goal, learning_rate

if TYPE_CHECKING:
    from smalti.training.pyramid.pyramid_model import PyramidModel

__all__ = ["Encoding", "TokenChoice"]

STATE_FORMAT = "smalti-packing"
BATCH_IMAGES = 256
SAMPLE_IMAGES = 1_024
REFIT_EPOCHS = 3
REFIT_BATCH = 128
REFIT_SHARE = 0.2
"""Learning rate of a refit, as a share of that of the fit."""

MARGIN = 0.998
"""Aim a little below a bound of bytes, since what is written is a little more than what is counted."""

SLOPE = 2.0
"""The price of a bit goes about with this power of the error, near the goal."""

BYTES_SLOPE = 4.0
"""... and with this power of the bits, downwards."""

TRIES = 5
CLOSE = 0.002
"""How far below its bound an error may stay, relatively."""

BEYOND = 1.6
"""How far the price is moved past where the goal should be met, as a share, for tokens on its other side; twice as far
at each further try, for a search from the tokens as they are follows the price only in part."""

LEAST_MOVE = 0.2
"""... and at least this far: each try takes minutes, and two choices that lie further apart than need be blend well."""

MOVING_ROUNDS = 2


@dataclass
class TokenChoice:
    """Tokens of a collection.

    tokens : int16 [N, positions] for each level
    sse, bits : [N]
    depths : int64 [N], levels of each image that are worth their bits; all of them until `Encoding.run` ends
    """

    tokens: list[Tensor]
    sse: Tensor
    bits: Tensor
    depths: Tensor

    def part(self, start: int, stop: int) -> SearchState:
        """Some images' state, tokens as int64."""
        return SearchState(
            [level[start:stop].long() for level in self.tokens], self.sse[start:stop], self.bits[start:stop]
        )

    def copy(self) -> "TokenChoice":
        """Return the same, to be changed by itself."""
        return self.replaced(torch.arange(0), self)

    def replaced(self, rows: Tensor, other: "TokenChoice") -> "TokenChoice":
        """Return a copy with some images from another choice."""
        tokens = [level.clone() for level in self.tokens]
        result = TokenChoice(tokens, self.sse.clone(), self.bits.clone(), self.depths.clone())
        for level, others in zip(result.tokens, other.tokens, strict=True):
            level[rows] = others[rows]
        result.sse[rows], result.bits[rows], result.depths[rows] = other.sse[rows], other.bits[rows], other.depths[rows]
        return result

    def put(self, start: int, state: SearchState) -> None:
        """Store images from `start` on."""
        stop = start + len(state.sse)
        for level, tokens in zip(self.tokens, state.tokens, strict=True):
            level[start:stop] = tokens.to(torch.int16)
        self.sse[start:stop], self.bits[start:stop] = state.sse, state.bits


class Encoding:
    """Encodes a collection with a model.

    goal : what the collection is to come to; None for the model's own price of a bit
    rounds : of the search; 0 leaves it out
    state : where to keep tokens and model between two stages; whoever asked for it removes it
    resume : whether to go on from there
    other_bits : what the archive takes besides tokens, for a goal in bytes
    group : the ranks that share the work of `refine`, each with the same model and images; all end with the same
    """

    def __init__(
        self,
        model: "PyramidModel",
        images: TrainingImages,
        goal: Goal | None,
        rounds: int,
        progress: Progress,
        state: Path | None = None,
        resume: bool = False,
        other_bits: Callable[[], float] = lambda: 0.0,
        group: ProcessGroup = ALONE,
    ) -> None:
        self._group = group
        self._state, self._resume, self._fingerprint = state, resume, model.fingerprint()
        self.model, self.images, self.goal, self.rounds, self._progress = model, images, goal, rounds, progress
        self.price = model.price
        self._other_bits = other_bits
        self._pixels = math.prod(images.image_shape)

    def run(self, refits: int) -> TokenChoice:
        """Return tokens that meet the goal. refits : how often the model learns from the tokens; it is changed."""
        return self._meet(self.refine(refits))

    def refine(self, refits: int) -> TokenChoice:
        """Let the model learn from the tokens of these images, `refits` times; return the tokens after that."""
        refitted, encoded = self._begun()
        for number in range(refitted, refits):
            self._refit(encoded, number)
            encoded = self._chosen()
            self._keep(number + 1, encoded)
        return encoded

    def _begun(self) -> tuple[int, TokenChoice]:
        """How many refits are done, and the tokens so far: those that were kept, or else the first ones."""
        state = self._state
        if state is not None and self._resume:
            stored = self._group.from_main(lambda: _read_state(state) if state.exists() else None)
            if stored is not None:
                with self._group.agreed():
                    return self._restored(state, *stored)
        encoded = self._chosen()
        self._keep(0, encoded)
        return 0, encoded

    def _chosen(self) -> TokenChoice:
        """Tokens at the price that about meets the goal, from the encoder's on."""
        self._find_price()
        encoded = self._first()
        return self._searched(encoded, self.rounds) if self.rounds else encoded

    def _keep(self, refitted: int, encoded: TokenChoice) -> None:
        """Keep tokens and model, so that packing can go on from here."""
        if self._state is None or not self._group.is_main:
            return
        tensors = {f"tokens.{level}": tokens for level, tokens in enumerate(encoded.tokens)}
        tensors |= {"sse": encoded.sse, "bits": encoded.bits}
        tensors |= {f"pyramid.{name}": value for name, value in self.model.pyramid.state_dict().items()}
        numbers = {"format": STATE_FORMAT, "refitted": refitted, "price": self.price, **self._identity()}
        write_tensors(self._state, tensors, numbers)

    def _restored(self, path: Path, tensors: dict[str, Tensor], found: dict[str, Any]) -> tuple[int, TokenChoice]:
        if found.get("format") != STATE_FORMAT or any(
            found.get(key) != value for key, value in self._identity().items()
        ):
            raise ModelError(f"{path} is of other images, another model or another target; remove it to start anew")
        encoded = self._empty(len(self.images))
        encoded.tokens = [tensors[f"tokens.{level}"] for level in range(len(encoded.tokens))]
        encoded.sse, encoded.bits = tensors["sse"], tensors["bits"]
        prefix = "pyramid."
        self.model.pyramid.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        self.price = float(found["price"])
        return int(found["refitted"]), encoded

    def _identity(self) -> dict[str, Any]:
        """What must be the same for packing to go on: images, how they are packed, and the model before it learned."""
        goal = None if self.goal is None else asdict(self.goal)
        return {"images": self.images.fingerprint, "goal": goal, "rounds": self.rounds, "model": self._fingerprint}

    def _parts(self, images: int) -> Iterator[tuple[slice, int]]:
        """Yield this rank's parts of so many images, and how many all ranks have done by then.

        Every rank gets as many parts, so that all can speak of their progress; the last may be empty.
        """
        step = BATCH_IMAGES * self._group.size
        for first in range(0, images, step):
            start = min(images, first + BATCH_IMAGES * self._group.rank)
            yield slice(start, min(images, start + BATCH_IMAGES)), min(images, first + step)

    def _batches(self) -> Iterator[tuple[slice, Tensor, int]]:
        """Yield this rank's parts of the collection, with their images."""
        for part, done in self._parts(len(self.images)):
            yield part, self.images.batch(np.arange(part.start, part.stop)), done

    def _joined(self, encoded: TokenChoice) -> TokenChoice:
        """Take from each rank what it found for its parts."""
        if self._group.size > 1:
            own = torch.zeros(len(encoded.sse), dtype=torch.bool)
            for part, _ in self._parts(len(own)):
                own[part] = True
            tokens = [level.int() * own[:, None] for level in encoded.tokens]
            encoded = TokenChoice(tokens, encoded.sse * own, encoded.bits * own, encoded.depths * own)
            self._group.add_up([*tokens, encoded.sse, encoded.bits, encoded.depths])
            encoded.tokens = [level.to(torch.int16) for level in tokens]
        return encoded

    def _first(self) -> TokenChoice:
        encoded = self._empty(len(self.images))
        for part, batch, done in self._batches():
            tokens = self.model.tokens(batch, self.price)
            encoded.put(part.start, measure(self.model.pyramid, batch, tokens))
            self._progress("encode", done, len(self.images))
        return self._joined(encoded)

    def _empty(self, images: int) -> TokenChoice:
        pyramid = self.model.pyramid
        tokens = [torch.zeros(images, pyramid.shape.positions[form.scale], dtype=torch.int16) for form in pyramid.forms]
        depths = torch.full((images,), len(pyramid.forms), dtype=torch.int64)
        return TokenChoice(tokens, torch.zeros(images), torch.zeros(images), depths)

    def _searched(self, encoded: TokenChoice, rounds: int) -> TokenChoice:
        """Search all images' tokens, from those they have."""
        for part, batch, done in self._batches():
            state = measure(self.model.pyramid, batch, encoded.part(part.start, part.stop).tokens)
            encoded.put(part.start, self._improved(batch, state, rounds, part.start))
            self._progress("search", done, len(self.images))
        return self._joined(encoded)

    def _improved(self, batch: Tensor, state: SearchState, rounds: int, seed: int) -> SearchState:
        generator = torch.Generator().manual_seed(seed)
        return improve(self.model.pyramid, batch, state, self.model.weights, self.price, rounds, generator)

    def _find_price(self) -> None:
        """Lead the price to the goal on a sample."""
        if self.goal is None:
            return
        sample = to_unit_range(self.images.sample(SAMPLE_IMAGES, 1), self.model.scale)
        for _ in range(TRIES):
            found = self._empty(len(sample))
            for part, _ in self._parts(len(sample)):
                batch, start = sample[part], part.start
                state = measure(self.model.pyramid, batch, self.model.tokens(batch, self.price))
                found.put(start, self._improved(batch, state, self.rounds, start) if self.rounds else state)
            if not self._correct_price(self._joined(found), sample):
                return

    def _correct_price(
        self, encoded: TokenChoice, images: Tensor | None = None, share: float = 1.0, least: float = 0.0
    ) -> bool:
        """Move the price towards the goal; return whether the goal was missed by more than a little.

        share : of the way that should lead to the goal    least : that its logarithm moves
        """
        slack = self._slack(encoded, images)
        if slack is None or self.goal is None:
            return False
        power = SLOPE if self.goal.archive_bytes is None else -BYTES_SLOPE
        move = share * power * slack
        self.price *= math.exp(math.copysign(max(least, min(1.5, abs(move))), move))
        return abs(slack) > CLOSE

    def _slack(self, encoded: TokenChoice, images: Tensor | None) -> float | None:
        """The logarithm of how much more error, or how many more bits, there may be; below 0 if there is too much."""
        goal = self.goal
        if goal is None:
            return None
        mse = goal.unit_mse(self.model.scale)
        if mse is not None:
            return math.log(mse / max(float(encoded.sse.double().mean()) / self._pixels, LEAST_MEASURE))
        if goal.archive_bytes is not None:
            left = max(8 * goal.archive_bytes - self._other_bits(), 8.0)  # a model alone may be too large
            return math.log(MARGIN * left / max(1.0, float(encoded.bits.double().mean()) * len(self.images)))
        assert goal.ssim is not None
        return math.log((1 - goal.ssim) / max(1e-6, 1 - self._ssim(encoded, images)))

    @torch.no_grad()
    def _ssim(self, encoded: TokenChoice, images: Tensor | None) -> float:
        """Mean structural similarity of a thousand images."""
        step = max(1, len(encoded.sse) // SAMPLE_IMAGES)
        rows = torch.arange(0, len(encoded.sse), step)[:SAMPLE_IMAGES]
        originals = self.images.batch(rows.numpy()) if images is None else images[rows]
        decoded = self.model.pyramid.decode(
            self.model.pyramid.latents_of([level[rows].long() for level in encoded.tokens])
        )
        to_pixels = self.model.scale.to_pixels
        return float(ssim(to_pixels(originals), to_pixels(decoded)).mean())

    def _refit(self, encoded: TokenChoice, number: int) -> None:
        """Let codes, decoder and priors learn from tokens as they are."""
        pyramid = self.model.pyramid
        groups = [
            {"params": [p], "highest": REFIT_SHARE * WHOLE_RATE * float(p.detach().abs().mean().clamp_min(0.5))}
            for p in pyramid.parameters()
        ]
        optimizer = torch.optim.Adam(groups, 1e-3, betas=(0.9, 0.99), fused=True)
        per_epoch = -(-len(self.images) // REFIT_BATCH)
        steps = REFIT_EPOCHS * per_epoch
        for done in range(steps):
            epoch, place = divmod(done, per_epoch)
            if place == 0:
                order = np.random.default_rng((number, epoch)).permutation(len(self.images))
            rows = np.sort(order[place * REFIT_BATCH : (place + 1) * REFIT_BATCH])
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(group["highest"], done, steps)
            self._refit_step(optimizer, rows, encoded)
            if done % 32 == 31 or done + 1 == steps:
                self._progress("refit", done + 1, steps)

    def _refit_step(self, optimizer: torch.optim.Adam, rows: NDArray[np.int64], encoded: TokenChoice) -> None:
        pyramid = self.model.pyramid
        own = self._group.part(rows)
        tokens = [level[torch.from_numpy(own)].long() for level in encoded.tokens]
        decoded = pyramid.decode(pyramid.latents_of(tokens))
        sse = mean_part((decoded - self.images.batch(own)).square().sum((1, 2, 3)), len(rows))
        weight_bits = pyramid.weight_bits() / len(self.images) / self._group.size
        bits = mean_part(pyramid.bits_of(tokens).sum(1), len(rows)) + weight_bits
        optimizer.zero_grad(set_to_none=True)
        loss = sse + self.price * bits
        loss.backward()  # type: ignore[no-untyped-call]
        self._group.add_up(gradients(optimizer))
        optimizer.step()

    @torch.no_grad()
    def _stopped(self, encoded: TokenChoice) -> TokenChoice:
        """Leave out the last levels of images that are good enough without: where they cost more than they bring."""
        pyramid = self.model.pyramid
        starts = np.cumsum([0, *(level.shape[1] for level in encoded.tokens)])
        depths = torch.full_like(encoded.depths, len(pyramid.forms))
        stopped = TokenChoice(encoded.tokens, encoded.sse.clone(), encoded.bits.clone(), depths)
        for part, batch, done in self._batches():
            tokens = stopped.part(part.start, part.stop).tokens
            bits = pyramid.bits_of(tokens)
            for depth in range(len(pyramid.forms) - 1, 0, -1):
                decoded = pyramid.decode(pyramid.latents_of(tokens, depth))
                sse, spent = (decoded - batch).square().sum((1, 2, 3)), bits[:, : starts[depth]].sum(1)
                better = sse + self.price * spent < stopped.sse[part] + self.price * stopped.bits[part]
                stopped.sse[part][better], stopped.bits[part][better] = sse[better], spent[better]
                depths[part][better] = depth
            self._progress("stop", done, len(self.images))
        return self._joined(stopped)

    def missed(self, encoded: TokenChoice) -> str | None:
        """Return what of the goal was out of reach, in words, or None if it was met."""
        slack, goal = self._slack(encoded, None), self.goal
        if slack is None or goal is None or slack >= (math.log(MARGIN) if goal.archive_bytes else 0):
            return None
        if goal.mse is not None:
            mse, scale = float(encoded.sse.mean()) / self._pixels, self.model.scale
            wanted = scale.true_mse(goal.mse) if goal.of_range else goal.mse
            found = f"the mean squared error is {scale.true_mse(mse):.4g}, not {wanted:g}"
        elif goal.ssim is not None:
            found = f"the mean SSIM is below {goal.ssim:g}"
        else:
            found = f"the archive takes more than {goal.archive_bytes:,} bytes"
        return f"{found}: the target is out of reach of this model; a fit with more --effort may reach it"

    def _meet(self, encoded: TokenChoice) -> TokenChoice:
        """Move tokens until the goal lies between two choices of them; then take each image from one of these."""
        stopped = self._stopped(encoded)
        slack = self._slack(stopped, None)
        for attempt in range(TRIES):
            if slack is None or 0 <= slack <= CLOSE:
                break
            self._correct_price(stopped, share=BEYOND * 2**attempt, least=LEAST_MOVE * 2**attempt)
            encoded = self._searched(encoded.copy(), MOVING_ROUNDS) if self.rounds else self._first()
            before, missed = stopped, slack < 0
            stopped = self._stopped(encoded)
            slack = self._slack(stopped, None)
            if slack is not None and (slack < 0) != missed:
                return self._blended(before, stopped)
        return stopped

    def _blended(self, one: TokenChoice, other: TokenChoice) -> TokenChoice:
        """Of two choices of tokens, one to either side of the goal, take the richer where it brings most for a bit."""
        rich, lean = (one, other) if one.sse.mean() < other.sse.mean() else (other, one)
        spared, spent = lean.sse - rich.sse, rich.bits - lean.bits
        worth = torch.where(spent > 0, spared / spent.clamp_min(1e-6), torch.where(spared >= 0, 1e9, -1e9))
        order = torch.argsort(worth, descending=True, stable=True)

        def with_rich(count: int) -> tuple[TokenChoice, bool]:
            chosen = lean.replaced(order[:count], rich)
            slack = self._slack(chosen, None)
            return chosen, slack is not None and slack >= 0

        everywhere, meets = with_rich(len(order))
        found = everywhere if meets else lean
        good, bad = (len(order), 0) if meets else (0, len(order))
        while abs(good - bad) > 1:
            middle = (good + bad) // 2
            chosen, meets = with_rich(middle)
            if meets:
                good, found = middle, chosen
            else:
                bad = middle
        return found


def _read_state(path: Path) -> State:
    return read_tensors(path, "state of packing", "remove it to start anew")
