"""The trained model in smolagents: as a tool of any agent (tool, executor), as an agent's own (models), run (run)."""

from smolmath.using.agents.errors import AgentError
from smolmath.using.agents.executor import CodeExecutor
from smolmath.using.agents.models import load_agent_model
from smolmath.using.agents.tool import MathReasonerTool

__all__ = ["AgentError", "CodeExecutor", "MathReasonerTool", "load_agent_model"]
