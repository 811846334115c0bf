"""A small agent with a small reasoner as its tool: how much fruit is in stock?

It reads stock.csv by one tool, has a trained model work out each shelf's movements by another, and adds up.

    python examples/agent.py                                               after make demo
    python examples/agent.py --agent-model http://localhost:8000/v1        a capable model decides what to do

The demo's model works out sums, but can't drive an agent: its context doesn't even hold smolagents' instructions. So
that this runs offline, the agent's own model is a script here: it returns what a capable model would write, whatever
it is told. All else is the real thing: loop, interpreter, tools, observations and final answer are smolagents', and
the sums are worked out by the trained model, rightly or not. With --agent-model the script is out of it.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

from smolagents import ChatMessage, CodeAgent, LogLevel, MessageRole, Model, tool

from smolmath.using.agents import CodeExecutor, MathReasonerTool, load_agent_model

STOCK = Path(__file__).with_name("stock.csv")
TASK = "How much fruit is in stock? Work out the movements of each shelf with math_reasoner, then add the shelves up."
EXAMPLE = "State the final answer to the following arithmetic problem: 3 + 4 - 2 ="  # as the model was trained

SCRIPT = [
    """I look at the stock first.
<code>
stock = read_stock()
print(stock)
</code>""",
    """I work out each shelf.
<code>
shelves = {}
for row in stock:
    question = f"State the final answer to the following arithmetic problem: {row['movements']} ="
    shelves[row["shelf"]] = int(math_reasoner(question=question))
print(shelves)
</code>""",
    """I add them up.
<code>
final_answer(sum(shelves.values()))
</code>""",
]


class ScriptedModel(Model):  # type: ignore[misc]
    """No model: says one message after the other, and doesn't read what it is told."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(model_id="a script")
        self.left = list(messages)

    def generate(self, messages: list[ChatMessage], **options: Any) -> ChatMessage:
        return ChatMessage(role=MessageRole.ASSISTANT, content=self.left.pop(0))


@tool
def read_stock() -> list:
    """Reads the stock: for each shelf, what came in and went out, as a formula."""
    with STOCK.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def count_stock(reasoner: MathReasonerTool, brain: Model) -> Any:
    """What the agent answers. smolagents shows each step where `verbosity_level` is INFO."""
    agent = CodeAgent(
        [read_stock, reasoner],
        brain,
        max_steps=6,
        verbosity_level=LogLevel.ERROR,
        executor=CodeExecutor(),  # the agent's code sees the tools' answers, and nothing of what is behind them
    )
    return agent.run(TASK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sums", help="the tool: a phase, directory or hub id")
    parser.add_argument("--agent-model", help="the agent's own: likewise, or the address of a server")
    arguments = parser.parse_args()
    brain = load_agent_model(arguments.agent_model) if arguments.agent_model else ScriptedModel(SCRIPT)
    reasoner = MathReasonerTool(arguments.model, example=EXAMPLE)
    reasoner.setup()
    answer = count_stock(reasoner, brain)
    for solution in reasoner.solutions:
        print(f"{solution.question}\n  {'; '.join(solution.reasoning.splitlines())}\n  {solution.answer}")
    print(f"In stock: {answer}")


if __name__ == "__main__":
    main()
