"""The tokens of a collection: the encoder's choice, the search, and the model's learning from the tokens found.

The price of a bit is adapted until the collection just meets its goal. If the archive is for these images alone,
decoder and priors learn from the final tokens (no rounding of latents is approximated any more), and the search runs
again. Each step lowers squared error + price * bits of this collection.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.errors import ModelError
from smalti.images.quality import ssim
from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.common.goal import Goal
from smalti.training.common.tensors import with_prefix, without_prefix
from smalti.training.common.training_images import TrainingImages, to_unit_range
from smalti.training.observer import Progress
from smalti.training.pyramid.chosen_tokens import TokenChoice, TokenRows
from smalti.training.pyramid.learner import WHOLE_RATE, gradients, mean_part
from smalti.training.pyramid.packing_state import read_packing_state, read_packing_tokens, write_packing_state
from smalti.training.pyramid.token_search import SearchState, improve, measure
from smalti.training.pyramid.trade_off import LEAST_MEASURE, learning_rate

if TYPE_CHECKING:
    from smalti.training.pyramid.pyramid_model import PyramidModel

__all__ = ["Encoding"]

STATE_FORMAT = "smalti-packing"
BATCH_IMAGES = 256
SAMPLE_IMAGES = 1_024
REFIT_EPOCHS = 3
REFIT_BATCH = 128
REFIT_SHARE = 0.2
"""Learning rate of a refit, as a share of the fit's."""

MARGIN = 0.998
"""The aim, as a share of a bound of bytes: an archive is a little larger than the estimate."""

SLOPE = 2.0
"""Near the goal, the price of a bit is about proportional to this power of the error."""

BYTES_SLOPE = 4.0
"""Near the goal, the price of a bit is about proportional to the inverse of this power of the bits."""

TRIES = 5
CLOSE = 0.002
"""The accepted relative distance of an error below its bound."""

BEYOND = 1.6
"""The move of the price, as a multiple of the move that should meet the goal, to get tokens on its other side. It
doubles at each further try, since a search that starts from existing tokens follows the price only in part."""

LEAST_MOVE = 0.2
"""The least move of the logarithm of the price: each try takes minutes, and a blend works well for two choices that are
farther apart than necessary."""

MOVING_ROUNDS = 2


class Encoding:
    """The encoding of a collection with a model.

    goal : the quality or size of the collection; None for the model's own price of a bit
    rounds : rounds of the search; 0 skips it
    state : file for tokens and model between two stages; the caller removes it
    resume : whether to continue from that file
    other_bits : returns the size of the archive without tokens, for a goal in bytes
    group : the ranks that share the work of `refine`, each with the same model and images; all end with the same result
    beside : the output; many tokens go into a file in its folder
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
        beside: Path | None = None,
    ) -> None:
        self._group, self._beside = group, beside
        self._state, self._resume, self._fingerprint = state, resume, model.fingerprint()
        self.model, self.images, self.goal, self.rounds, self._progress = model, images, goal, rounds, progress
        self.price = model.price
        self._other_bits = other_bits
        self._pixels = math.prod(images.image_shape)

    def run(self, refits: int) -> TokenChoice:
        """Return tokens that meet the goal. refits : how often the model learns from the tokens, in place"""
        return self._meet(self.refine(refits))

    def refine(self, refits: int) -> TokenChoice:
        """Let the model learn from the tokens of these images, `refits` times; return the final tokens."""
        refitted, encoded = self._start()
        for number in range(refitted, refits):
            self._refit(encoded, number)
            encoded = self._choose()
            self._save(number + 1, encoded)
        return encoded

    def _start(self) -> tuple[int, TokenChoice]:
        """Return the number of finished refits, and the tokens: from the state file, or else the first choice."""
        state = self._state
        if state is not None and self._resume:
            stored = self._group.from_main(lambda: read_packing_state(state) if state.exists() else None)
            if stored is not None:
                return self._restored(state, *stored)
        encoded = self._choose()
        self._save(0, encoded)
        return 0, encoded

    def _choose(self) -> TokenChoice:
        """Choose tokens at a price that about meets the goal: the encoder's, improved by the search."""
        self._find_price()
        encoded = self._first()
        return self._searched(encoded, self.rounds) if self.rounds else encoded

    def _save(self, refitted: int, encoded: TokenChoice) -> None:
        """Write tokens and model to the state file, so that the work can resume here."""
        if self._state is None or not self._group.is_main:
            return
        tensors = {"sse": encoded.sse, "bits": encoded.bits}
        tensors |= with_prefix("pyramid.", self.model.pyramid.state_dict())
        numbers = {"format": STATE_FORMAT, "refitted": refitted, "price": self.price, **self._identity()}
        write_packing_state(self._state, encoded.rows, tensors, numbers)

    def _restored(self, path: Path, tensors: dict[str, Tensor], found: dict[str, Any]) -> tuple[int, TokenChoice]:
        """Return the number of finished refits and the tokens of a state. Only rank 0 has its file."""
        encoded = self._empty(len(self.images))
        with self._group.agreed():
            if found.get("format") != STATE_FORMAT or any(
                found.get(key) != value for key, value in self._identity().items()
            ):
                raise ModelError(f"{path} is of other images, another model or another target; remove it to start anew")
            if self._group.is_main:
                read_packing_tokens(path, encoded.rows)
        self._add_up(encoded.rows)
        encoded.sse, encoded.bits = tensors["sse"], tensors["bits"]
        self.model.pyramid.load_state_dict(without_prefix("pyramid.", tensors))
        self.price = float(found["price"])
        return int(found["refitted"]), encoded

    def _identity(self) -> dict[str, Any]:
        """Return what must be equal to resume: the images, the goal, the search rounds, and the model before refits."""
        goal = None if self.goal is None else asdict(self.goal)
        return {"images": self.images.fingerprint, "goal": goal, "rounds": self.rounds, "model": self._fingerprint}

    def _parts(self, images: int) -> Iterator[tuple[slice, int]]:
        """Yield this rank's parts of `images` images, and the number of images that all ranks have then done.

        Every rank gets the same number of parts, so that all report their progress together; the last may be empty.
        """
        step = BATCH_IMAGES * self._group.size
        for first in range(0, images, step):
            start = min(images, first + BATCH_IMAGES * self._group.rank)
            yield slice(start, min(images, start + BATCH_IMAGES)), min(images, first + step)

    def _batches(self) -> Iterator[tuple[slice, Tensor, int]]:
        """Yield this rank's parts of the collection, with their images and the number of images done."""
        for part, done in self._parts(len(self.images)):
            yield part, self.images.batch(np.arange(part.start, part.stop)), done

    def _joined(self, encoded: TokenChoice) -> TokenChoice:
        """Merge the results of all ranks, each for its own parts."""
        if self._group.size > 1:
            own = torch.zeros(len(encoded), dtype=torch.bool)
            for part, _ in self._parts(len(own)):
                own[part] = True
            self._add_up(encoded.rows, own)
            for values in (encoded.sse, encoded.bits, encoded.depths):
                values.mul_(own)
            self._group.add_up([encoded.sse, encoded.bits, encoded.depths])
        return encoded

    def _add_up(self, rows: TokenRows, own: Tensor | None = None) -> None:
        """Add up the tokens of all ranks, in place. own : bool [N], for which images those of this rank count"""
        if self._group.size == 1:
            return
        for part in rows.parts():
            tokens = [level * own[part, None] if own is not None else level for level in rows.of(part)]
            self._group.add_up(tokens)
            rows.put(part.start, tokens)

    def _first(self) -> TokenChoice:
        encoded = self._empty(len(self.images))
        for part, batch, done in self._batches():
            tokens = self.model.tokens(batch, self.price)
            encoded.put(part.start, measure(self.model.pyramid, batch, tokens))
            self._progress("encode", done, len(self.images))
        return self._joined(encoded)

    def _empty(self, images: int) -> TokenChoice:
        pyramid = self.model.pyramid
        positions = tuple(pyramid.shape.positions[form.scale] for form in pyramid.forms)
        return TokenChoice.empty(TokenRows(images, positions, self._beside))

    def _searched(self, encoded: TokenChoice, rounds: int) -> TokenChoice:
        """Search for better tokens of all images, from the given ones."""
        for part, batch, done in self._batches():
            state = measure(self.model.pyramid, batch, encoded.tokens.of(part))
            encoded.put(part.start, self._improved(batch, state, rounds, part.start))
            self._progress("search", done, len(self.images))
        return self._joined(encoded)

    def _improved(self, batch: Tensor, state: SearchState, rounds: int, seed: int) -> SearchState:
        generator = torch.Generator().manual_seed(seed)
        return improve(self.model.pyramid, batch, state, self.model.weights, self.price, rounds, generator)

    def _find_price(self) -> None:
        """Adapt the price to the goal, on a sample."""
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
        """Move the price towards the goal; return whether the goal was missed by more than `CLOSE`.

        share : the move, as a multiple of the one that should meet the goal
        least : the least move of the logarithm of the price
        """
        slack = self._slack(encoded, images)
        if slack is None or self.goal is None:
            return False
        power = SLOPE if self.goal.archive_bytes is None else -BYTES_SLOPE
        move = share * power * slack
        self.price *= math.exp(math.copysign(max(least, min(1.5, abs(move))), move))
        return abs(slack) > CLOSE

    def _slack(self, encoded: TokenChoice, images: Tensor | None) -> float | None:
        """Return the logarithm of the allowed error or bits, divided by the actual ones; below 0 if there is too much.

        images : float [n, C, H, W] of the choice; None for the whole collection
        """
        goal = self.goal
        if goal is None:
            return None
        mse = goal.unit_mse(self.model.scale)
        if mse is not None:
            return math.log(mse / max(float(encoded.sse.double().mean()) / self._pixels, LEAST_MEASURE))
        if goal.archive_bytes is not None:
            left = max(8 * goal.archive_bytes - self._other_bits(), 8.0)  # the model alone may exceed the goal
            return math.log(MARGIN * left / max(1.0, float(encoded.bits.double().mean()) * len(self.images)))
        assert goal.ssim is not None
        return math.log((1 - goal.ssim) / max(1e-6, 1 - self._ssim(encoded, images)))

    @torch.no_grad()
    def _ssim(self, encoded: TokenChoice, images: Tensor | None) -> float:
        """Return the mean structural similarity of about a thousand images."""
        step = max(1, len(encoded) // SAMPLE_IMAGES)
        rows = torch.arange(0, len(encoded), step)[:SAMPLE_IMAGES]
        originals = self.images.batch(rows.numpy()) if images is None else images[rows]
        decoded = self.model.pyramid.decode(self.model.pyramid.latents_of(encoded.tokens.of(rows)))
        to_pixels = self.model.scale.to_pixels
        return float(ssim(to_pixels(originals), to_pixels(decoded)).mean())

    def _refit(self, encoded: TokenChoice, number: int) -> None:
        """Let codes, decoder and priors learn from fixed tokens."""
        pyramid = self.model.pyramid
        groups = [
            {"params": [p], "highest": REFIT_SHARE * WHOLE_RATE * float(p.detach().abs().mean().clamp_min(0.5))}
            for p in pyramid.parameters()
        ]
        optimizer = torch.optim.Adam(groups, 1e-3, betas=(0.9, 0.99), fused=True)
        per_epoch = -(-len(self.images) // REFIT_BATCH)
        steps = REFIT_EPOCHS * per_epoch
        for done in range(steps):
            epoch, step = divmod(done, per_epoch)
            if step == 0:
                order = np.random.default_rng((number, epoch)).permutation(len(self.images))
            rows = np.sort(order[step * REFIT_BATCH : (step + 1) * REFIT_BATCH])
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(group["highest"], done, steps)
            self._refit_step(optimizer, rows, encoded)
            if done % 32 == 31 or done + 1 == steps:
                self._progress("refit", done + 1, steps)

    def _refit_step(self, optimizer: torch.optim.Adam, rows: NDArray[np.int64], encoded: TokenChoice) -> None:
        pyramid = self.model.pyramid
        own = self._group.part(rows)
        tokens = encoded.tokens.of(torch.from_numpy(own))
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
        """Drop the last levels of each image for which they cost more than they save."""
        pyramid = self.model.pyramid
        starts = np.cumsum([0, *encoded.rows.positions])
        depths = torch.full_like(encoded.depths, len(pyramid.forms))
        stopped = TokenChoice(encoded.tokens, encoded.sse.clone(), encoded.bits.clone(), depths)
        for part, batch, done in self._batches():
            tokens = stopped.tokens.of(part)
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
        """Return one line on the goal that is out of reach, or None if it is met."""
        slack, goal = self._slack(encoded, None), self.goal
        if slack is None or goal is None or slack >= (math.log(MARGIN) if goal.archive_bytes else 0):
            return None
        if goal.mse is not None:
            mse, scale = float(encoded.sse.mean()) / self._pixels, self.model.scale
            target = scale.true_mse(goal.mse) if goal.of_range else goal.mse
            found = goal.missed_words(scale.true_mse(mse), target)
        elif goal.ssim is not None:
            found = f"the mean SSIM is below {goal.ssim:g}"
        else:
            found = f"the archive takes more than {goal.archive_bytes:,} bytes"
        return f"{found}: the target is out of reach of this model; a fit with more --effort may reach it"

    def _meet(self, encoded: TokenChoice) -> TokenChoice:
        """Change the tokens until the goal lies between two choices; then take each image from one of the two."""
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
        """Blend two choices on either side of the goal: the richer one for the images where it saves most for a bit."""
        rich, lean = (one, other) if one.sse.mean() < other.sse.mean() else (other, one)
        spared, spent = lean.sse - rich.sse, rich.bits - lean.bits
        worth = torch.where(spent > 0, spared / spent.clamp_min(1e-6), torch.where(spared >= 0, 1e9, -1e9))
        order = torch.argsort(worth, descending=True, stable=True)

        def with_rich(count: int) -> tuple[TokenChoice, bool]:
            first = torch.zeros(len(order), dtype=torch.bool)
            first[order[:count]] = True
            chosen = rich.blended(lean, first)
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
