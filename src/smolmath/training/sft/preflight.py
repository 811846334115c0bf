"""SFT's look before step 1: how long the examples are, and whether the grader takes what they teach for right."""

from statistics import fmean

from smolmath.answers import grade
from smolmath.params.phases import SftPhase
from smolmath.prompts import chat_prompt, worked_completion
from smolmath.training.phase.context import PhaseContext
from smolmath.training.phase.preflight import Finding, percentile

EXAMPLES = 256
RIGHT = 0.98


def look(context: PhaseContext[SftPhase]) -> tuple[list[Finding], str]:
    """(findings, what was looked at) for the first problems that have a worked solution."""
    problems, prompt, limit = context.problems, context.prompt, context.max_completion_tokens
    worked = [problem for problem in problems if problem["reasoning"]]
    looked_at = worked[:EXAMPLES]
    taught = [worked_completion(p["reasoning"], p["reference_answer"], prompt) for p in looked_at]
    lengths = [
        len(context.tokenizer.apply_chat_template(chat_prompt(p["question"], prompt) + completion)["input_ids"])
        for p, completion in zip(looked_at, taught, strict=True)
    ]
    right = fmean(
        grade(completion[0]["content"], p["reference_answer"], question=p["question"], tags=prompt.tags).correct
        for p, completion in zip(looked_at, taught, strict=True)
    )
    too_long = fmean(length > limit for length in lengths)
    return [
        Finding("problems with a worked solution", f"{len(worked)} of {len(problems)}"),
        Finding(
            "example tokens, p50, p95 and longest",
            f"{percentile(lengths, 0.5):.0f}, {percentile(lengths, 0.95):.0f}, {max(lengths)} of {limit}",
        ),
        Finding(
            "longer than max_length",
            f"{too_long:.0%}",
            f"{too_long:.0%} of examples are longer than {limit} tokens and left out: raise sft.max_length."
            if too_long > 0.1
            else None,
        ),
        Finding(
            "taught answers that the grader takes for right",
            f"{right:.0%}",
            f"the grader takes only {right:.0%} of the taught answers for right: look at the data with "
            "`smolmath inspect`, and at the tags in `prompt`."
            if right < RIGHT
            else None,
            hopeless=right == 0,
        ),
    ], f"{len(looked_at)} examples"
