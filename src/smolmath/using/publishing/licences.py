"""Licences of what a model is made of, for the few ids that recipes name; of others nothing is recorded here.

Values are the hub's identifiers. Source: the pages of these datasets and models on the hub.
"""

DATASETS = {
    "openai/gsm8k": "mit",
    "open-r1/OpenR1-Math-220k": "apache-2.0",
}
MODELS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "apache-2.0",
    "Qwen/Qwen2.5-0.5B-Instruct": "apache-2.0",
}
SHIPPED = "mit"  # bases/ is part of this repository
GENERATOR = "apache-2.0"  # reasoning-gym, whose tasks write the problems
