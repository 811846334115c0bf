"""GRPOTrainer that draws again where nothing can be learnt: DAPO's dynamic sampling (arXiv:2503.14476), bounded.

A group whose completions all earned the same has no advantage. Each such group of a generation gives its place to
one of another prompt; where that one is flat too, to a third, at most `rounds` times. Then TRL goes on with what is
there, as if it had drawn that at once.

The other prompts come in a random order of their own, a function of (seed, step), so that a resumed run draws the
same; the epoch's order is what it is without. Several processes share each round's groups equally, whoever's they
replace.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from smolmath.training.grpo.trimmed import TrimmedTrainer
from smolmath.training.phase.ranks import gather, rank, share

Row = dict[str, Any]  # of the dataset


class Drawn(NamedTuple):
    """Completions of all processes, group by group."""

    rows: list[Row]  # that each answers
    ids: list[list[int]]  # tokens
    logps: list[list[float]] | None  # of the tokens, by the engine that drew them; None: it says nothing of them
    rewards: Tensor  # (completions, functions), NaN where unscorable


class ResamplingTrainer(TrimmedTrainer):
    def __init__(self, *, rounds: int = 0, **keywords: Any) -> None:
        self.rounds = rounds
        self._kept: Drawn | None = None  # what TRL is to go on with: completions of this process, rewards of all
        super().__init__(**keywords)

    def _generate_and_score_completions(self, inputs: list[Row]) -> dict[str, Any]:
        if not self.rounds or not self.model.training:
            return super()._generate_and_score_completions(inputs)  # type: ignore[no-any-return]
        drawn = self._drawn_with_spread(inputs)
        mine = slice(rank() * len(inputs), (rank() + 1) * len(inputs))
        self._kept = Drawn(drawn.rows[mine], drawn.ids[mine], drawn.logps and drawn.logps[mine], drawn.rewards)
        tokens = self.state.num_input_tokens_seen
        batch: dict[str, Any] = super()._generate_and_score_completions(self._kept.rows)
        self._kept = None
        self.state.num_input_tokens_seen = tokens  # TRL has just counted what was kept once more
        self._metrics["train"]["num_tokens"] = [tokens]
        return batch

    def _generate_single_turn(self, *args: Any, **keywords: Any) -> tuple[list[list[int]], list[list[float]] | None]:
        if self._kept is None:
            return super()._generate_single_turn(*args, **keywords)  # type: ignore[no-any-return]
        return self._kept.ids, self._kept.logps

    def _calculate_rewards(self, *args: Any, **keywords: Any) -> Tensor:
        if self._kept is None:
            return super()._calculate_rewards(*args, **keywords)
        return self._kept.rewards

    def _drawn_with_spread(self, inputs: list[Row]) -> Drawn:
        """A generation of all processes, as far as `rounds` of redrawing give its groups a spread of rewards."""
        group, weights = self.num_generations, self.reward_weights
        drawn = self._draw(inputs)
        reward = float(weighted_sums(drawn.rewards, weights).nanmean())
        others = self._others(drawn.rows)
        redrawn, completions = 0, len(drawn.ids)
        for _ in range(self.rounds):
            flat = without_spread(drawn.rewards, weights, group).nonzero().flatten().tolist()
            fresh = list(islice(others, len(flat)))
            if not fresh:
                break
            again = self._draw([row for row in share(fresh) for _ in range(group)])
            for new, old in enumerate(flat[: len(fresh)]):
                here, there = (slice(place * group, (place + 1) * group) for place in (old, new))
                for column, replacement in zip(drawn, again, strict=True):
                    if column is not None:
                        column[here] = replacement[there]
            redrawn, completions = redrawn + len(fresh), completions + len(again.ids)
        counted = {"groups": redrawn, "completions": completions, "first_reward": reward}
        for name, value in counted.items():
            self._metrics["train"][f"resample/{name}"].append(value)
        return drawn

    def _draw(self, rows: list[Row]) -> Drawn:
        """Completions of these rows, and of as many of each other process, with rewards; nothing of it is logged."""
        before = {name: len(values) for name, values in self._metrics["train"].items()}
        prompts = [row["prompt"] for row in rows]
        _, ids, _, completions, logps, *_ = self._generate(prompts)
        rewards = self._calculate_rewards(rows, prompts, completions, ids)
        for name, values in self._metrics["train"].items():
            del values[before.get(name, 0) :]
        self._pending_extra_logs.clear()  # a value a completion, also of those that are not kept
        return Drawn(gather(rows), gather(ids), None if logps is None else gather(logps), rewards)

    def _others(self, rows: list[Row]) -> Iterator[Row]:
        """The rows of the dataset that ask something else, in an order that depends on seed and step alone."""
        asked = {row["question"] for row in rows}
        order = np.random.default_rng([self.args.seed, self.state.global_step]).permutation(len(self.train_dataset))
        return (row for place in order if (row := self.train_dataset[int(place)])["question"] not in asked)


def weighted_sums(rewards: Tensor, weights: Tensor) -> Tensor:
    """(completions, functions), NaN where unscorable -> (completions,), NaN where no function could score it."""
    sums = (rewards * weights.to(rewards.device)).nansum(dim=1)
    return sums.masked_fill(rewards.isnan().all(dim=1), float("nan"))


def without_spread(rewards: Tensor, weights: Tensor, group: int) -> Tensor:
    """Which groups' completions all earned the same, so that nothing is learnt of them.

    TRL asks whether the standard deviation is below 1e-8, and 16 sums of 2.4 have one of 2e-7 in float32.

    Args: rewards: (groups * group, functions), NaN where unscorable. weights: (functions,). group: completions of one.
    Returns: (groups,) bool.
    """
    sums = weighted_sums(rewards, weights).view(-1, group)
    high, low = (sums.nan_to_num(nan=end) for end in (float("-inf"), float("inf")))
    return high.amax(dim=1) - low.amin(dim=1) < 1e-6
