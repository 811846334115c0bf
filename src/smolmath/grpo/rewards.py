from smolmath.rewards import *
from smolmath.rewards import reward_functions
