"""What stops an agent before or in its work: first of all, that smolagents is not installed."""

import importlib.util

from smolmath.errors import SmolmathError


class AgentError(SmolmathError):
    """An agent that can't begin or go on."""


if importlib.util.find_spec("smolagents") is None:
    raise AgentError('agents need smolagents. Run: pip install "smolmath[agents]" (or make setup).')
