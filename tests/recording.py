"""Put in front of a scratch project's train.py: completions are recorded, or read back, by step and place.

Sampling is seeded by the process's number, so two processes never draw what one would. Read back, each process gets
what was recorded for the prompts at its place in the step, and stops if other prompts stand there.
"""

import json
import os
from pathlib import Path

import torch

from smolmath.training.grpo.timed import TimedTrainer


def install() -> None:
    folder, mode = Path(os.environ["RECORDED"]), os.environ["RECORDING"]
    folder.mkdir(exist_ok=True)
    generate = TimedTrainer._generate_single_turn

    def recorded(self, prompt_ids, images, multimodal_fields, num_generations, has_tool_images=False):
        path = folder / f"{self.state.global_step}.json"
        if mode == "write":
            completions, logprobs = generate(self, prompt_ids, images, multimodal_fields, num_generations)
            path.write_text(json.dumps([prompt_ids, completions]))
            return completions, logprobs
        prompts, completions = json.loads(path.read_text())
        first = self.accelerator.process_index * len(prompt_ids)
        mine = slice(first, first + len(prompt_ids))
        assert prompts[mine] == [list(map(int, ids)) for ids in prompt_ids], "other prompts than one process has here"
        assert len(prompts) == self.accelerator.num_processes * len(prompt_ids)
        return completions[mine], None

    TimedTrainer._generate_single_turn = recorded
    torch.set_num_threads(1)
