"""GRPOTrainer that chooses what to train on while it trains: groups are redrawn, and prompts are passed over.

A group whose completions all earned the same has no advantage, and nothing is learnt of it.

- `rounds` (DAPO's dynamic sampling, arXiv:2503.14476, bounded): each such group of a generation gives its place to one
  of another prompt; where that one is flat too, to a third, at most `rounds` times. Then TRL goes on with what is
  there, as if it had drawn that at once.
- `skip` (online difficulty): a prompt whose last group was flat gives its place to another with this chance, before
  anything is drawn.

The other prompts come in a random order of their own, a function of (seed, step); the epoch's order is what it is
without. Which prompts were flat last stands in the trainer's state, and so in its checkpoints. Several processes share
each round's groups equally, whoever's they replace.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from smolmath.training.grpo.trimmed import TrimmedTrainer
from smolmath.training.phase.ranks import gather, rank, share

Row = dict[str, Any]  # of the dataset
FLAT = "flat"  # in the trainer's state: the dataset's places whose last group had no spread of rewards


class Drawn(NamedTuple):
    """Completions of all processes, group by group."""

    rows: list[Row]  # that each answers
    ids: list[list[int]]  # tokens
    logps: list[list[float]] | None  # of the tokens, by the engine that drew them; None: it says nothing of them
    rewards: Tensor  # (completions, functions), NaN where unscorable


class ResamplingTrainer(TrimmedTrainer):
    def __init__(self, *, rounds: int = 0, skip: float = 0.0, **keywords: Any) -> None:
        self.rounds, self.skip = rounds, skip
        self._kept: Drawn | None = None  # what TRL is to go on with: completions of this process, rewards of all
        super().__init__(**keywords)
        self._places = {question: place for place, question in enumerate(self.train_dataset["question"])}

    def _generate_and_score_completions(self, inputs: list[Row]) -> dict[str, Any]:
        if not (self.rounds or self.skip) or not self.model.training:
            return super()._generate_and_score_completions(inputs)  # type: ignore[no-any-return]
        mine = slice(rank() * len(inputs), (rank() + 1) * len(inputs))
        drawn = self._chosen(gather(inputs), mine)
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

    def _chosen(self, rows: list[Row], mine: slice) -> Drawn:
        """A generation of all processes, of these rows and of what takes their places.

        Args: mine: those of `rows` that are this process's.
        """
        group, weights, logged = self.num_generations, self.reward_weights, self._metrics["train"]
        planned = [self._places[row["question"]] for row in rows[::group]]
        was_flat = self.state.stateful_callbacks.get(FLAT, [])
        seed = [self.args.seed, self.state.global_step]
        asked, others = passed_over(planned, len(self._places), was_flat, self.skip, seed)
        drawn = self._draw(self._rows(asked)[mine])
        first_reward = float(weighted_sums(drawn.rewards, weights).nanmean())
        flat = dict(zip(asked, without_spread(drawn.rewards, weights, group).tolist(), strict=True))
        redrawn, completions = 0, len(drawn.ids)
        for _ in range(self.rounds):
            again = [number for number, place in enumerate(asked) if flat[place]]
            fresh = list(islice(others, len(again)))
            if not fresh:
                break
            news = self._draw(self._rows(share(fresh)))
            for new, (old, place) in enumerate(zip(again, fresh, strict=False)):
                here, there = (slice(number * group, (number + 1) * group) for number in (old, new))
                for column, replacement in zip(drawn, news, strict=True):
                    if column is not None:
                        column[here] = replacement[there]
                asked[old] = place
            flat |= zip(asked, without_spread(drawn.rewards, weights, group).tolist(), strict=True)
            redrawn, completions = redrawn + len(fresh), completions + len(news.ids)
        if self.rounds:
            counted = {"groups": redrawn, "completions": completions, "first_reward": first_reward}
            for name, value in counted.items():
                logged[f"resample/{name}"].append(value)
        if self.skip:
            are_flat = {place for place, is_flat in flat.items() if is_flat}
            self.state.stateful_callbacks[FLAT] = sorted(are_flat.union(was_flat) - (flat.keys() - are_flat))
            logged["resample/skipped"].append(sum(place not in flat for place in planned))
        return drawn

    def _rows(self, places: list[int]) -> list[Row]:
        """A group of each."""
        return [row for place in places for row in [self.train_dataset[place]] * self.num_generations]

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


def passed_over(
    planned: list[int], problems: int, flat: list[int], skip: float, seed: list[int]
) -> tuple[list[int], Iterator[int]]:
    """(what is asked instead of `planned`, what else can be asked), as places in a dataset of so many problems.

    Of those that were flat each is passed over with chance `skip`, as long as there are others.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(problems).tolist()
    passed = {place for place in flat if random.random() < skip}
    others = iter([place for place in order if place not in passed.union(planned)])
    return [next(others, place) if place in passed else place for place in planned], others


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
