"""TRL's order of prompts, also for a run that is resumed in its second epoch or later.

RepeatSampler draws each epoch's permutation from a generator that goes on from the one before, and no checkpoint holds
its state: a resumed run would begin with the first epoch's order again.
"""

import torch
from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):  # type: ignore[misc]  # trl is untyped here
    """RepeatSampler whose order is a function of (seed, epoch); an undisturbed run has TRL's own."""

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(epoch):
                torch.randperm(self.num_samples, generator=self.generator)
