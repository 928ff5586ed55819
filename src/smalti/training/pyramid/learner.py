"""The fit of a pyramid: encoder, codebooks, priors and decoder learn together, with the rate in the loop.

warm-up     encoder and decoder alone, latents as they are
floats      tokens by distortion + price * bits; codes follow the latents they serve (van den Oord et al. 2017, A.1)
            and are added and removed as they pay; the price of a bit rises until the goal is met
integers    the same in the file's integers, codes by gradient; weights shrink while that saves bytes
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.pyramid.assign import assign, curvatures
from smalti.training.pyramid.codebooks import UseTotals, distinct, few_different, kmeans, resized
from smalti.training.pyramid.encoder import PyramidEncoder
from smalti.training.pyramid.learned_pyramid import Pyramid
from smalti.training.pyramid.trade_off import TradeOff, learning_rate

__all__ = ["FitPlan", "Learner", "StepMeasure", "gradients", "mean_part"]

LEARNING_RATE = 1.5e-3
PRIOR_RATE = 2e-2
WHOLE_RATE = 1.5e-2
"""Steps of priors, and of whole weights, relative to the mean size of their arrays."""

COMMITMENT = 1.0
LARGE_CHANGES = 1.5
"""What a change from what is wanted to a code adds to the error, to one of what a small change lets expect: 1.4 to 1.5
in fits of digits, since pixels that were cut off at black and white come into play."""

LEAST_WEIGHT = 1e-12
"""Distortion of a squared unit of a channel that changes nothing, as where images are cut off at black or white."""

CODE_DECAY = 0.99
PROBE_EVERY = 20
COUNT_EVERY = 4
"""Steps between two that count how codes serve."""

LARGEST_GRADIENT = 50.0
LEAST_WARM_UP = 150
LEAST_BETWEEN_CHANGES = 80
SHARPEST = 20.0
"""Activations are smooth at first, which learns faster, and all but ReLUs when integers begin."""

FIRST_CODES = 64


@dataclass(frozen=True)
class FitPlan:
    """Steps of a fit.

    steps : all of them
    warm_up : those before there are codes
    whole : the first in integers
    resize_every : between changes of the codebooks
    grow_until : after which none grows any more
    """

    steps: int
    warm_up: int
    whole: int
    resize_every: int
    grow_until: int

    def resizes(self, step: int) -> bool:
        """Whether codebooks change before a step: not in the last tenth, where priors settle."""
        since = step - self.warm_up
        return since > 0 and since % self.resize_every == 0 and step < 0.9 * self.steps

    @classmethod
    def of(cls, steps: int, steps_per_epoch: int) -> "FitPlan":
        """A plan of so many steps."""
        warm_up = min(steps // 12, max(LEAST_WARM_UP, steps_per_epoch))
        resize_every = max(LEAST_BETWEEN_CHANGES, steps // 25)
        return cls(steps, warm_up, steps * 65 // 100, resize_every, steps // 2)


@dataclass(frozen=True)
class StepMeasure:
    """Squared error and bits of an image, means over a batch."""

    sse: float
    bits: float


class Learner:
    """What learns, and how far it is.

    images : of the collection, over which the model's own bits are shared out
    likely_price : squared error of an image that a bit is about worth
    goal_sse : squared error of an image to be met (pixels scaled to 0..1), or None with
    goal_bits : the bits of an image to be met
    most_codes : of a level, if codebooks size themselves
    codes : K of every level if codebooks are not to size themselves
    rate_aware, shrink_weights : as in PyramidSettings
    group : the ranks that learn the same together, each from its part of every batch

    Copies of a few images (`copies`, known from the first codes on) keep a code each at the first price of a bit: codes
    that are alike spare each other, so that all would be removed together, and there is no rate to trade for error.
    """

    def __init__(
        self,
        encoder: PyramidEncoder,
        pyramid: Pyramid,
        plan: FitPlan,
        images: int,
        likely_price: float,
        goal_sse: float | None,
        goal_bits: float | None,
        most_codes: int = 512,
        codes: int | None = None,
        rate_aware: bool = True,
        shrink_weights: bool = True,
        group: ProcessGroup = ALONE,
    ) -> None:
        self.group = group
        encoder.share(group)
        group.broadcast([*encoder.state_dict().values(), *pyramid.state_dict().values()])
        self.encoder, self.pyramid, self.plan, self.images = encoder, pyramid, plan, images
        self.goal_sse, self.goal_bits, self.fixed_codes = goal_sse, goal_bits, codes
        self.most_codes = most_codes
        self.rate_aware, self.shrink_weights = rate_aware, shrink_weights
        self.trade_off = TradeOff(likely_price, plan.steps, rises=goal_bits is None)
        self.weights = [torch.ones(latents) for latents in pyramid.shape.latents]
        self.done = 0
        self.copies = False
        self.counts = [torch.ones(len(codes)) for codes in pyramid.codes]
        self.sums = [codes.detach().clone() for codes in pyramid.codes]
        self._begin_counting()
        self.optimizer = self._new_optimizer()

    def step(self, batch: Tensor, images: int) -> StepMeasure:
        """Learn from images float [n, C, H, W]: of the `images` of a batch, this rank's part."""
        self._turn(batch)
        self.pyramid.sharpness = SHARPEST ** min(1.0, self.done / max(1, self.plan.whole))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(group["highest"], self.done, self.plan.steps)
        batch = batch.contiguous(memory_format=torch.channels_last)
        wanted = self.encoder(batch)
        if self.pyramid.whole:
            wanted = [self.pyramid.unit_value * scale for scale in wanted]
        if self.done < self.plan.warm_up:
            passed, bits, extra = wanted, torch.zeros(()), torch.zeros(())
        else:
            passed, bits, extra = self._quantised(wanted, images)
        sse = mean_part((self.pyramid.decode(passed) - batch).square().sum((1, 2, 3)), images)
        loss = sse + self.trade_off.price * bits + extra
        if self.shrink_weights:
            loss = loss + self.trade_off.price / self.images / self.group.size * self.pyramid.weight_bits()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        measures = torch.stack([sse, bits]).detach()
        self.group.add_up([*gradients(self.optimizer), measures])
        nn.utils.clip_grad_norm_(self.encoder.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        if self.done % PROBE_EVERY == 0:
            self._probe(passed, images)
        self.done += 1
        measured = StepMeasure(float(measures[0]), float(measures[1]))
        self._observe(measured)
        return measured

    def _quantised(self, wanted: list[Tensor], images: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """Latents that are decoded, bits of an image, and what keeps the encoder near its codes."""
        price = self.trade_off.price if self.rate_aware else 0.0
        counted = self.done % COUNT_EVERY == 0
        found = assign(self.pyramid, [scale.detach() for scale in wanted], self.weights, price, counted)
        if counted or not self.pyramid.whole:
            self.group.add_up([values for use in found.uses for values in vars(use).values()])
        for total, use in zip(self.totals, found.uses, strict=True):
            if counted:
                total.add(use, images)
        if not self.pyramid.whole:
            self._follow(found.uses)
        latents = self.pyramid.latents_of(found.tokens) if self.pyramid.whole else found.latents
        passed = [want - want.detach() + scale for want, scale in zip(wanted, latents, strict=True)]
        bits = mean_part(self.pyramid.bits_of(found.tokens).sum(1), images)
        commitment = [
            mean_part(((want - scale.detach()).square() * weight[:, None, None]).sum((1, 2, 3)), images)
            for want, scale, weight in zip(wanted, latents, self.weights, strict=True)
        ]
        return passed, bits, COMMITMENT * torch.stack(commitment).sum()

    @torch.no_grad()
    def _follow(self, uses: list[Any]) -> None:
        """Move codes to the running means of what they serve."""
        for level, use in enumerate(uses):
            self.counts[level].lerp_(use.count, 1 - CODE_DECAY)
            self.sums[level].lerp_(use.sums, 1 - CODE_DECAY)
            used = self.counts[level] > 1e-3
            self.pyramid.codes[level].data[used] = (self.sums[level] / self.counts[level].clamp_min(1e-3)[:, None])[
                used
            ]

    def _turn(self, batch: Tensor) -> None:
        """What is due before a step: codebooks, integers, changes of the codebooks."""
        if self.done == self.plan.warm_up:
            self._start_codes(batch)
        elif self.done == self.plan.whole:
            self._become_whole(batch)
        elif self.fixed_codes is None and not self.copies and self.plan.resizes(self.done):
            self._resize(grow=self.done < self.plan.grow_until)

    @torch.no_grad()
    def _start_codes(self, batch: Tensor) -> None:
        """Begin with the centres of a sample's latents."""
        generator = torch.Generator().manual_seed(self.done)
        left = [self.group.gather(scale).clone() for scale in self.encoder(batch)]
        self.copies = self.fixed_codes is None and few_different(left)
        for level, form in enumerate(self.pyramid.forms):
            own = left[form.scale][:, form.slice]
            points = own.permute(0, 2, 3, 1).reshape(-1, form.channels)
            codes = kmeans(points, self.fixed_codes or FIRST_CODES, generator)
            if self.copies:
                codes = distinct(codes)
            nearest = torch.cdist(points, codes).argmin(1)
            own -= codes[nearest].view(len(own), *own.shape[2:], -1).permute(0, 3, 1, 2)
            self._set_codes(level, codes, torch.zeros(len(codes), dtype=torch.int64), torch.zeros(len(codes)))
            share = torch.bincount(nearest, minlength=len(codes)) / len(points) * own.shape[2] * own.shape[3] * len(own)
            self.counts[level], self.sums[level] = share + 1e-2, codes * (share + 1e-2)[:, None]
        self.group.broadcast([*self.pyramid.codes, *self.counts, *self.sums])
        self.pyramid.set_unit(self.pyramid.fitting_unit())
        self.renew_optimizer()

    @torch.no_grad()
    def _become_whole(self, batch: Tensor) -> None:
        wanted = self.encoder(batch)
        found = assign(self.pyramid, wanted, self.weights, self.trade_off.price)
        unit = self.pyramid.make_whole([self.group.gather(scale) for scale in found.latents])
        shared = torch.tensor([unit], dtype=torch.float64)
        self.group.broadcast([shared, *self.pyramid.state_dict().values()])
        self.weights = [weight / float(shared) ** 2 for weight in self.weights]
        self.renew_optimizer(keep_moments=False)

    @torch.no_grad()
    def _resize(self, grow: bool) -> None:
        """Add and remove codes as they pay."""
        for level, form in enumerate(self.pyramid.forms):
            codes, prior = self.pyramid.codes[level].detach(), self.pyramid.prior(level)
            hidden = prior.bias1.shape[1] if prior.features else prior.bias2.shape[0]
            weight = self.weights[form.scale][form.slice]
            price = self.trade_off.price
            room = max(0, self.most_codes - len(codes)) if grow else 0
            changes = resized(codes, self.totals[level], weight, price, self.images, hidden, room)
            halves = 0.5**changes.penalties
            counts = self.counts[level][changes.sources] * halves
            new = codes[changes.sources] + changes.offsets
            self._set_codes(level, new, changes.sources, changes.penalties)
            self.counts[level], self.sums[level] = counts, new * counts[:, None]
        self.renew_optimizer()

    def _set_codes(self, level: int, codes: Tensor, sources: Tensor, penalties: Tensor) -> None:
        self.pyramid.codes[level] = nn.Parameter(codes.clone())
        self.pyramid.prior(level).select(sources, penalties)

    def renew_optimizer(self, keep_moments: bool = True) -> None:
        """Begin the optimiser anew with the arrays as they are now, and count uses from 0.

        keep_moments : whether arrays that are the same go on as they were; not where their units have changed
        """
        old = self.optimizer
        self.optimizer = self._new_optimizer()
        if keep_moments:
            kept = {id(weight) for group in self.optimizer.param_groups for weight in group["params"]}
            for parameter, state in old.state.items():
                if id(parameter) in kept:
                    self.optimizer.state[parameter] = state
        self._begin_counting()

    def _begin_counting(self) -> None:
        self.totals = [UseTotals(len(codes)) for codes in self.pyramid.codes]

    def _new_optimizer(self) -> torch.optim.Adam:
        """Return an optimiser of all that is learned now, its steps relative to the size of what they change."""
        whole = self.pyramid.whole
        groups: list[dict[str, Any]] = [{"params": list(self.encoder.parameters()), "highest": LEARNING_RATE}]
        for parameter in [*self.pyramid.weights, *self.pyramid.biases]:
            size = float(parameter.detach().abs().mean().clamp_min(0.5)) if whole else 1.0
            groups.append({"params": [parameter], "highest": (WHOLE_RATE if whole else LEARNING_RATE) * size})
        for parameter in self.pyramid.priors.parameters():
            size = float(parameter.detach().abs().mean().clamp_min(1.0))
            groups.append({"params": [parameter], "highest": PRIOR_RATE * size})
        if whole:
            for parameter in self.pyramid.codes:
                size = float(parameter.detach().abs().mean().clamp_min(1.0))
                groups.append({"params": [parameter], "highest": WHOLE_RATE * size})
        highest = torch.tensor([group["highest"] for group in groups], dtype=torch.float64)
        self.group.broadcast([highest])
        for learned, rate in zip(groups, highest.tolist(), strict=True):
            learned["highest"] = rate
        return torch.optim.Adam(groups, LEARNING_RATE, betas=(0.9, 0.99), fused=True)

    def _probe(self, latents: list[Tensor], images: int) -> None:
        generator = torch.Generator().manual_seed(self.done)
        found = curvatures(self.pyramid, [scale.detach() for scale in latents], generator, images, self.group)
        share = 0.1 if self.done else 1.0
        self.weights = [
            ((1 - share) * old + share * LARGE_CHANGES * new).clamp_min(LEAST_WEIGHT)
            for old, new in zip(self.weights, found, strict=True)
        ]

    def _observe(self, measured: StepMeasure) -> None:
        if self.done <= self.plan.warm_up or self.copies:
            return
        if self.goal_sse is not None:
            self.trade_off.observe(measured.sse, self.goal_sse)
        elif self.goal_bits is not None:
            self.trade_off.observe(measured.bits, self.goal_bits)


def gradients(optimizer: torch.optim.Adam) -> list[Tensor]:
    """Return the gradients that an optimiser is about to follow."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return [weight.grad for weight in weights if weight.grad is not None]


def mean_part(values: Tensor, images: int) -> Tensor:
    """A rank's share of the mean over a batch: of values [n] for some of its `images`."""
    return values.mean() * (len(values) / images) if len(values) else values.sum()
