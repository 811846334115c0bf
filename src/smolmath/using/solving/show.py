"""Solutions on a terminal: reasoning as it comes, in a colour of its own, then the answer; plain text elsewhere."""

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smolmath.tags import Tags
from smolmath.using.solving.parts import Part, PartsReader
from smolmath.using.solving.reasoner import Solution

BAR = 24  # characters: all samples


class Stream:
    """Prints a completion piece by piece, without tags, the answer block and the empty lines around its text."""

    def __init__(self, console: Console, tags: Tags) -> None:
        self._console, self._reader = console, PartsReader(tags)
        self._begun, self._space = False, ""

    def write(self, piece: str) -> None:
        for part, text in self._reader.feed(piece):
            self._put(part, text)

    def end(self) -> None:
        """The completion is over, or is not waited for any longer."""
        for part, text in self._reader.end():
            self._put(part, text)
        if self._begun:
            self._console.print()
        self._begun, self._space = False, ""

    def _put(self, part: Part, text: str) -> None:
        if part == "answer":
            return
        text = self._space + printable(text)
        body = text.rstrip()
        self._space = text[len(body) :]
        body = body if self._begun else body.lstrip()
        if body:
            self._begun = True
            self._console.print(Text(body, style="cyan"), end="", soft_wrap=True)


def print_solution(console: Console, solution: Solution) -> None:
    """The answer, how the samples voted, and what is to be known of it."""
    if solution.answer is None:
        console.print(
            Text("no answer found in the completion" if solution.samples == 1 else "no answer in any sample")
        )
    else:
        console.print(Text.assemble("answer: ", (printable(solution.answer), "bold green")), soft_wrap=True)
    if solution.samples > 1:
        console.print(votes_table(solution))
    if not solution.finished:
        where = f" after {solution.tokens} tokens" if solution.samples == 1 else ""
        console.print(Text(f"the completion was cut off{where}: raise --max-tokens.", style="yellow"), soft_wrap=True)


def votes_table(solution: Solution) -> Table:
    """Each answer with the number of samples that gave it, and a bar of their share."""
    table = Table("answer", "samples", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    silent = solution.samples - sum(count for _, count in solution.votes)
    for answer, count in [*solution.votes, *([("none", silent)] if silent else [])]:
        colour = "green" if answer == solution.answer else "cyan"
        table.add_row(Text(printable(answer)), f"×{count}", Bar(solution.samples, 0, count, width=BAR, color=colour))
    return table


def printable(text: str) -> str:
    """The text without what moves a terminal's cursor or colours it: a model may write anything."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
