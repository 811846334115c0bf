"""The page with two stand-ins for models, which write what the test needs to see: python standin_page.py LOG."""

import sys
import time
from pathlib import Path

from smolmath.engines import Completion
from smolmath.params.prompt import PromptParams
from smolmath.using.serving import web
from smolmath.using.serving.page import page
from smolmath.using.solving.models import FoundModel
from smolmath.using.solving.reasoner import Reasoner
from tests.conftest import ROOT

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> ${alert(3)} {{model}} 1 &lt; 2 `x`"
PROMPT = PromptParams(system="", reasoning_tag="reasoning", answer_tag="answer")


class StandIn:
    device = "cpu"

    def __init__(self, log):
        self.log = log

    def render(self, prompt):
        return prompt[-1]["content"]

    def count_tokens(self, text):
        return len(text)

    def generate(self, prompts, sampling, write=None):
        question = prompts[0][-1]["content"]
        pieces = {
            "hostile": ["<reasoning>\n", HOSTILE, "\n</reasoning>\n<answer>\n<b>42</b>\n</answer>"],
            "latex": ["<reasoning>\nSo \\(x^2\\) ", "is it.\n</reasoning>\n<answer>\n\\frac{3}{4}\n</answer>"],
            "endless": ["<reasoning>\n", *(f"line {i}\n" for i in range(1_000_000))],
        }.get(question, ["<reasoning>\n", *(f"step {i}\n" for i in range(30)), "</reasoning>\n<answer>\n7\n</answer>"])
        if write is None:
            answers = [f"<answer>\n{7 if i % 3 else 8}\n</answer>" for i in range(sampling.samples)]
            return [[Completion(text, "stop", 3) for text in answers]]
        self.log.write(f"begins {question}\n")
        try:
            for piece in pieces:
                write(piece)
                time.sleep(0.05)
        finally:
            self.log.write(f"ends {question}\n")
        return [[Completion("".join(pieces), "stop", len(pieces))]]


def main() -> None:
    with Path(sys.argv[1]).open("w", buffering=1) as log, web.listen("127.0.0.1", 0) as listening:
        folder = ROOT / "bases" / "calc"  # 512 tokens of context, here of a character each
        models = [FoundModel(name, folder, PROMPT, "float32", 96) for name in ("trained", "base")]
        app = page([Reasoner(model, StandIn(log)) for model in models])
        print(web.address(listening), flush=True)
        web.run(app, listening, log_requests=False)


if __name__ == "__main__":
    main()
