"""The trained model in smolagents: as a tool of any agent (tool), as an agent's own model (models), run (run)."""

from smolmath.using.agents.errors import AgentError
from smolmath.using.agents.models import load_agent_model
from smolmath.using.agents.tool import MathReasonerTool

__all__ = ["AgentError", "MathReasonerTool", "load_agent_model"]
