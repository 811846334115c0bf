"""The trained model in smolagents: as a tool of any agent (tool), as an agent's own model (models), run (run)."""

from smolmath.agents.errors import AgentError
from smolmath.agents.models import load_agent_model
from smolmath.agents.tool import MathReasonerTool

__all__ = ["AgentError", "MathReasonerTool", "load_agent_model"]
