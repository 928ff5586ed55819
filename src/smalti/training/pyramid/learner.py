"""One step of a pyramid's fit after another: encoder, codebooks, priors and decoder learn together, rate included.

warm-up     encoder and decoder alone, without codes
floats      tokens by distortion + price * bits; codes follow their latents (van den Oord et al. 2017, A.1), are added
            while they pay, and removed when they do not; the price of a bit rises until the goal is met
integers    the same in the archive's integers; codes learn by gradient; weights shrink while that saves bytes
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.pyramid.assign import CodeUse, assign, curvatures
from smalti.training.pyramid.codebooks import UseTotals, distinct, few_different, kmeans, resized
from smalti.training.pyramid.encoder import PyramidEncoder
from smalti.training.pyramid.learned_pyramid import Pyramid
from smalti.training.pyramid.trade_off import TradeOff, learning_rate

__all__ = ["FitPlan", "Learner", "StepMeasure", "gradients", "mean_part"]

LEARNING_RATE = 1.5e-3
PRIOR_RATE = 2e-2
WHOLE_RATE = 1.5e-2
"""Learning rates of priors, and of weights once whole, relative to the mean magnitude of their arrays."""

COMMITMENT = 1.0
LARGE_CHANGES = 1.5
"""The error that a change from latents to a code adds, divided by the prediction from small changes: 1.4 to 1.5 in fits
of digits, since pixels that were clipped to black or white then change too."""

LEAST_WEIGHT = 1e-12
"""The least distortion of a squared unit. A channel that affects only clipped pixels would have none."""

CODE_DECAY = 0.99
PROBE_EVERY = 20
COUNT_EVERY = 4
"""Steps from one count of the use of codes to the next."""

LARGEST_GRADIENT = 50.0
LEAST_WARM_UP = 150
LEAST_BETWEEN_CHANGES = 80
SHARPEST = 20.0
"""The final sharpness. Activations are smooth at first, which learns faster, and nearly ReLUs when integers begin."""

FIRST_CODES = 64


@dataclass(frozen=True)
class FitPlan:
    """The schedule of a fit, in steps.

    steps : number of all steps
    warm_up : number of steps before the first codes
    whole : the first step in integers
    resize_every : steps from one change of the codebooks to the next
    grow_until : the step from which codebooks no longer grow
    """

    steps: int
    warm_up: int
    whole: int
    resize_every: int
    grow_until: int

    def resizes(self, step: int) -> bool:
        """Return whether codebooks change before a step: never in the last tenth, where priors settle."""
        since = step - self.warm_up
        return since > 0 and since % self.resize_every == 0 and step < 0.9 * self.steps

    @classmethod
    def of(cls, steps: int, steps_per_epoch: int) -> "FitPlan":
        """Return the plan for a number of steps."""
        warm_up = min(steps // 12, max(LEAST_WARM_UP, steps_per_epoch))
        resize_every = max(LEAST_BETWEEN_CHANGES, steps // 25)
        return cls(steps, warm_up, steps * 65 // 100, resize_every, steps // 2)


@dataclass(frozen=True)
class StepMeasure:
    """The squared error and the bits of an image, as means over a batch."""

    sse: float
    bits: float


class Learner:
    """The state of a fit between two steps: networks, optimiser, use of codes, price of a bit.

    images : number of images of the collection, which share the model's own bits
    likely_price : estimated squared error of an image that one bit is worth
    goal_sse : squared error of an image to reach (pixels scaled to 0..1); None if the goal is in bits
    goal_bits : bits of an image to reach; None if the goal is an error
    most_codes : the most codes of a level, if codebooks find their own size
    codes : K of every level; None for codebooks that find their own size
    rate_aware, shrink_weights : as in PyramidSettings
    group : the ranks that learn together, each from its part of every batch

    If the images are copies of a few (`copies`, known from the first codes on), each of these keeps a code at the first
    price of a bit. Codes that are alike can replace each other, so that all would be removed at once; and there is no
    rate to trade for error.
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
        """Learn from float [n, C, H, W], this rank's part of a batch of `images` images, and measure the batch."""
        self._change_stage(batch)
        self.pyramid.sharpness = SHARPEST ** min(1.0, self.done / max(1, self.plan.whole))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(group["highest"], self.done, self.plan.steps)
        batch = batch.contiguous(memory_format=torch.channels_last)
        targets = self.encoder(batch)
        if self.pyramid.whole:
            targets = [self.pyramid.unit_value * scale for scale in targets]
        if self.done < self.plan.warm_up:
            latents, bits, commitment = targets, torch.zeros(()), torch.zeros(())
        else:
            latents, bits, commitment = self._quantised(targets, images)
        sse = mean_part((self.pyramid.decode(latents) - batch).square().sum((1, 2, 3)), images)
        loss = sse + self.trade_off.price * bits + commitment
        if self.shrink_weights:
            loss = loss + self.trade_off.price / self.images / self.group.size * self.pyramid.weight_bits()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        measures = torch.stack([sse, bits]).detach()
        self.group.add_up([*gradients(self.optimizer), measures])
        _clip(self.encoder.parameters())
        self.optimizer.step()
        if self.done % PROBE_EVERY == 0:
            self._probe(latents, images)
        self.done += 1
        measured = StepMeasure(float(measures[0]), float(measures[1]))
        self._observe(measured)
        return measured

    def _quantised(self, targets: list[Tensor], images: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the latents to decode, the bits of an image, and the loss that holds the encoder near its codes."""
        price = self.trade_off.price if self.rate_aware else 0.0
        counted = self.done % COUNT_EVERY == 0
        found = assign(self.pyramid, [scale.detach() for scale in targets], self.weights, price, counted)
        if counted or not self.pyramid.whole:
            self.group.add_up([values for use in found.uses for values in vars(use).values()])
        for total, use in zip(self.totals, found.uses, strict=True):
            if counted:
                total.add(use, images)
        if not self.pyramid.whole:
            self._move_codes(found.uses)
        latents = self.pyramid.latents_of(found.tokens) if self.pyramid.whole else found.latents
        through = [target - target.detach() + scale for target, scale in zip(targets, latents, strict=True)]
        bits = mean_part(self.pyramid.bits_of(found.tokens).sum(1), images)
        commitment = [
            mean_part(((target - scale.detach()).square() * weight[:, None, None]).sum((1, 2, 3)), images)
            for target, scale, weight in zip(targets, latents, self.weights, strict=True)
        ]
        return through, bits, COMMITMENT * torch.stack(commitment).sum()

    @torch.no_grad()
    def _move_codes(self, uses: list[CodeUse]) -> None:
        """Move codes to the running means of their latents."""
        for level, use in enumerate(uses):
            counts, sums = self.counts[level], self.sums[level]
            counts.lerp_(use.count, 1 - CODE_DECAY)
            sums.lerp_(use.sums, 1 - CODE_DECAY)
            used = counts > 1e-3
            self.pyramid.codes[level].data[used] = (sums / counts.clamp_min(1e-3)[:, None])[used]

    def _change_stage(self, batch: Tensor) -> None:
        """Do the changes that the plan has before this step: first codes, integers, or new sizes of codebooks."""
        if self.done == self.plan.warm_up:
            self._start_codes(batch)
        elif self.done == self.plan.whole:
            self._become_whole(batch)
        elif self.fixed_codes is None and not self.copies and self.plan.resizes(self.done):
            self._resize(grow=self.done < self.plan.grow_until)

    @torch.no_grad()
    def _start_codes(self, batch: Tensor) -> None:
        """Set the first codes: the centres of a batch's latents."""
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
        found = assign(self.pyramid, self.encoder(batch), self.weights, self.trade_off.price)
        unit = self.pyramid.make_whole([self.group.gather(scale) for scale in found.latents])
        shared = torch.tensor([unit], dtype=torch.float64)
        self.group.broadcast([shared, *self.pyramid.state_dict().values()])
        self.weights = [weight / float(shared) ** 2 for weight in self.weights]
        self.renew_optimizer(keep_moments=False)

    @torch.no_grad()
    def _resize(self, grow: bool) -> None:
        """Add codes that pay, if `grow`, and remove codes that do not."""
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
        """Make a new optimiser for the current arrays, and count uses from 0.

        keep_moments : whether arrays that are still the same keep their moments; False if their units have changed
        """
        old = self.optimizer
        self.optimizer = self._new_optimizer()
        if keep_moments:
            current = {id(weight) for group in self.optimizer.param_groups for weight in group["params"]}
            for parameter, state in old.state.items():
                if id(parameter) in current:
                    self.optimizer.state[parameter] = state
        self._begin_counting()

    def _begin_counting(self) -> None:
        self.totals = [UseTotals(len(codes)) for codes in self.pyramid.codes]

    def _new_optimizer(self) -> torch.optim.Adam:
        """Return an optimiser of all arrays that learn now, with rates relative to the magnitude of each array."""
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
    """Return the gradients of all arrays of an optimiser."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return [weight.grad for weight in weights if weight.grad is not None]


def mean_part(values: Tensor, images: int) -> Tensor:
    """Return a rank's share of the mean over a batch of `images` images, from its own values [n]."""
    return values.mean() * (len(values) / images) if len(values) else values.sum()


def _clip(parameters: Iterable[nn.Parameter]) -> None:
    """Shrink gradients whose norm is above `LARGEST_GRADIENT`. Most are not, and need no second pass over them."""
    learned = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in learned if parameter.grad is not None])
    if norm > LARGEST_GRADIENT:
        nn.utils.clip_grads_with_norm_(learned, LARGEST_GRADIENT, norm)
