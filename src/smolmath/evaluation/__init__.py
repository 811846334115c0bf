"""From a model and problems to completions, verdicts, metrics and what they prove."""
