"""The rewards by their public name: `from smolmath.rewards import REWARDS`.

They live in grpo/rewards.py because a stage depends on the folder of its method: there, an edit of a reward reruns the
GRPO phases and leaves an SFT phase alone.
"""

from smolmath.grpo.rewards import DEFAULT_WEIGHTS, REWARDS, RewardFunction, reward_functions

__all__ = ["DEFAULT_WEIGHTS", "REWARDS", "RewardFunction", "reward_functions"]
