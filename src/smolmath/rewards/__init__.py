"""The rewards by their public name: `from smolmath.rewards import REWARDS`.

A folder for each method, since a stage depends on that of its method: an edit of a reward reruns the GRPO phases and
leaves an SFT phase alone.
"""

from smolmath.rewards.grpo.rewards import DEFAULT_WEIGHTS, REWARDS, RewardFunction, reward_functions

__all__ = ["DEFAULT_WEIGHTS", "REWARDS", "RewardFunction", "reward_functions"]
