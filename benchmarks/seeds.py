"""How often does the comparison of two settings say the truth? Made-up studies, trainings and problems both drawn.

    python benchmarks/seeds.py                # the table of docs/evaluation.md, minutes on one core
    python benchmarks/seeds.py --studies 50   # a smoke run

A study: K trainings a side answer the same n problems. Problems differ in how hard they are, a seed makes a training
better or worse as a whole and on single problems, and a setting changes some problems more than others. Its interval
should hold the true difference in 95 of 100 studies, and where there is none the test should alarm in 5 of 100.
Beside it what one training a side says, by problem alone: right for these two models, and not for their settings.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from smolmath.evaluation import uncertainty
from smolmath.evaluation.trainings import difference_of_settings

MANY = 2_000_000  # draws that the truth is computed from
SPREAD = 1.5  # of problems, in log odds


@dataclass(frozen=True)
class World:
    """Effects in log odds; each is a standard deviation but for `gain`."""

    gain: float = 0.0  # of the second setting
    seeds: float = 0.2  # a training as a whole
    single: float = 0.5  # a training on single problems
    uneven: float = 0.0  # the second setting's gain on single problems
    seeds_after: float | None = None  # of the second setting, where its trainings vary otherwise


def scores(
    world: World, generator: np.random.Generator, trainings: int, problems: int, samples: int
) -> list[np.ndarray]:
    """Two sides of (trainings, problems) shares of right samples; one sample is a greedy completion."""
    hardness = generator.normal(0.5, SPREAD, problems)
    gains = [np.zeros(problems), generator.normal(world.gain, world.uneven, problems)]
    spreads = (world.seeds, world.seeds if world.seeds_after is None else world.seeds_after)
    shape = (trainings, problems)
    return [
        generator.binomial(samples, _chances(hardness + gain, spread, world.single, generator, shape)) / samples
        for gain, spread in zip(gains, spreads, strict=True)
    ]


def truth(world: World, generator: np.random.Generator) -> float:
    """The difference of the two settings over all problems and seeds."""
    hardness = generator.normal(0.5, SPREAD, MANY)
    after = world.seeds if world.seeds_after is None else world.seeds_after
    one = _chances(hardness, world.seeds, world.single, generator, (MANY,))
    two = _chances(
        hardness + generator.normal(world.gain, world.uneven, MANY), after, world.single, generator, (MANY,)
    )
    return float(two.mean() - one.mean())


def _chances(
    log_odds: np.ndarray, seeds: float, single: float, generator: np.random.Generator, shape: tuple[int, ...]
) -> np.ndarray:
    whole = generator.normal(0, seeds, (shape[0], 1) if len(shape) > 1 else shape)
    return np.asarray(1 / (1 + np.exp(-(log_odds + whole + generator.normal(0, single, shape)))))


@dataclass(frozen=True)
class Rates:
    """Shares of studies."""

    held: float  # whose interval holds the true difference
    alarmed: float  # that call the settings different
    half_width: float  # mean, in points
    held_by_problem: float  # likewise, of one training a side by problem alone
    alarmed_by_problem: float


def rates(world: World, trainings: int, problems: int, samples: int, studies: int, seed: int = 0) -> Rates:
    generator = np.random.default_rng(seed)
    true = truth(world, generator)
    held = alarmed = held_one = alarmed_one = 0
    widths = 0.0
    for _ in range(studies):
        before, after = scores(world, generator, trainings, problems, samples)
        found, p = difference_of_settings([before], [after])
        held += found.low <= true <= found.high
        alarmed += p < 0.05
        widths += (found.high - found.low) / 2
        differences = after[0] - before[0]
        value, se = float(differences.mean()), float(differences.std(ddof=1)) / problems**0.5
        held_one += abs(value - true) <= uncertainty.Z * se
        alarmed_one += abs(value) > uncertainty.Z * se
    return Rates(held / studies, alarmed / studies, 100 * widths / studies, held_one / studies, alarmed_one / studies)


STUDIES = (  # what it is, world, trainings a side, problems, samples of each
    ("no difference, seeds ± 3 points", World(), 3, 256, 4),
    ("no difference, two trainings a side", World(), 2, 256, 4),
    ("no difference, five trainings a side", World(), 5, 256, 4),
    ("no difference, greedy", World(), 3, 256, 1),
    ("no difference, 1,319 problems", World(), 3, 1319, 4),
    ("no difference, seeds do nothing", World(seeds=0.0), 3, 256, 4),
    ("no difference, seeds ± 9 points", World(seeds=0.6), 3, 256, 4),
    ("8 points better", World(gain=0.5), 3, 256, 4),
    ("8 points better, on some problems more", World(gain=0.5, uneven=0.7), 3, 256, 4),
    ("8 points better, five trainings", World(gain=0.5, uneven=0.7), 5, 256, 4),
    ("8 points better, its seeds ± 5 for ± 2", World(gain=0.5, seeds=0.1, seeds_after=0.3), 3, 256, 4),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000)
    options = parser.parse_args()
    print("| study | a side | holds the truth | called different | ± | one a side: holds | called different |")
    print("|---|---|---|---|---|---|---|")
    for name, world, trainings, problems, samples in STUDIES:
        r = rates(world, trainings, problems, samples, options.studies)
        what = f"{trainings} on {problems:,} × {samples}"
        print(
            f"| {name} | {what} | {100 * r.held:.1f} % | {100 * r.alarmed:.1f} % | {r.half_width:.1f} | "
            f"{100 * r.held_by_problem:.1f} % | {100 * r.alarmed_by_problem:.1f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
