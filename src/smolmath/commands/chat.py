"""`smolmath chat`: a conversation at a prompt, with commands that begin with a slash."""

import contextlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from smolmath.commands import console
from smolmath.commands.options import MaxTokens, Model
from smolmath.commands.solve import loading
from smolmath.errors import SmolmathError

if TYPE_CHECKING:
    from smolmath.using.solving.conversation import Conversation
    from smolmath.using.solving.reasoner import Reasoner

HELP = {
    "/model NAME": "go on with another model; without a name: which there are",
    "/new": "forget the conversation and begin another",
    "/save FILE": "append the conversation to a .jsonl, as chat messages",
    "/help": "this list",
    "/quit": "leave; so do Ctrl-D and, at the prompt, Ctrl-C",
}


def chat(
    model: Model = None,
    max_tokens: MaxTokens = None,
) -> None:
    """Talk with a trained model. /help lists what can be typed beside questions; Ctrl-C stops a completion.

    A chat has its completions from transformers, also where hardware.engine is vllm: that takes a minute to load, and
    its process would not survive a Ctrl-C.
    """
    reasoner = _load(model)
    from smolmath.using.solving.conversation import Conversation

    with contextlib.suppress(ImportError):  # lines are then edited as the terminal does it
        importlib.import_module("readline")
    _Chat(Conversation(reasoner, max_tokens)).run()


def _load(model: str | None) -> "Reasoner":
    with loading(model):
        from smolmath.using.solving.reasoner import Reasoner

        return Reasoner.load(model, engine="transformers")


class _Chat:
    def __init__(self, conversation: "Conversation") -> None:
        self.conversation = conversation
        self.commands: dict[str, Callable[[str], None]] = {
            "/model": self.model,
            "/new": self.new,
            "/save": self.save,
            "/help": self.help,
        }

    def run(self) -> None:
        """Until the person leaves."""
        say(f"{self.conversation.reasoner.model.name} listens. /help lists the commands, /quit leaves.")
        # readline must not count what has no width
        prompt = "\001\033[1;36m\002> \001\033[0m\002" if console.is_terminal else "> "
        while True:
            try:
                line = input(prompt).strip()
            except (EOFError, KeyboardInterrupt):
                console.print()
                return
            except UnicodeDecodeError:
                say("error: this is not valid UTF-8.", "red")
                continue
            if not sys.stdin.isatty():
                print(line)  # what a terminal shows by itself
            if line == "/quit":
                return
            try:
                self.take(line)
            except SmolmathError as error:
                say(f"error: {error}", "red")
            except KeyboardInterrupt:
                console.print()
                say("stopped; the conversation is as it was before.")

    def take(self, line: str) -> None:
        """A question or a command. Raises: SmolmathError; the conversation is then as it was."""
        name, _, argument = line.partition(" ")
        if not line:
            return
        if not line.startswith("/"):
            self.ask(line)
        elif name in self.commands:
            self.commands[name](argument.strip())
        else:
            say(f"error: there is no command {name}; /help lists them.", "red")

    def ask(self, question: str) -> None:
        from smolmath.using.solving.show import Stream, print_solution

        stream = Stream(console, self.conversation.reasoner.model.prompt.tags)
        solution = self.conversation.ask(question, stream.write, _say_dropped)
        stream.end()
        print_solution(console, solution)

    def model(self, name: str) -> None:
        from smolmath.params.core import read_params

        if name:
            self.conversation.reasoner = _load(name)
            say(f"{self.conversation.reasoner.model.name} goes on with the conversation.")
        else:
            known = ", ".join(["base", *read_params()["phases"]])
            say(f"{self.conversation.reasoner.model.name} listens. There are: {known}.")

    def new(self, _: str) -> None:
        self.conversation.clear()
        say("a new conversation.")

    def save(self, path: str) -> None:
        if not path:
            say("error: name a file: /save FILE.", "red")
        elif not self.conversation.turns:
            say("error: nothing has been said yet.", "red")
        else:
            self.conversation.save(Path(path).expanduser())
            turns = len(self.conversation.turns)
            say(f"saved {turns} {'turn' if turns == 1 else 'turns'} to {path}")

    def help(self, _: str) -> None:
        for command, what in HELP.items():
            say(f"{command:12} {what}")


def say(line: str, style: str = "dim") -> None:
    console.print(Text(line, style=style), soft_wrap=True)


def _say_dropped(turns: int) -> None:
    say(
        f"(the context is full: the oldest {'turn is' if turns == 1 else f'{turns} turns are'} left out from now on)",
        "yellow",
    )
