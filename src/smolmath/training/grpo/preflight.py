"""GRPO's look before step 1: sampled groups for a few prompts, as a step would draw and reward them."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from smolmath.answers.extract import follows_format
from smolmath.engines import Completion, Sampling
from smolmath.engines.transformers import TransformersEngine
from smolmath.params.phases import GrpoPhase
from smolmath.prompts import chat_prompt
from smolmath.tags import Tags
from smolmath.training.phase.context import PhaseContext
from smolmath.training.phase.preflight import Finding, percentile
from smolmath.training.phase.samples import Scored
from smolmath.training.phase.validation import in_eval_mode

PROMPTS = 8
GROUP = 8  # at most: a spread of rewards shows in eight completions
CUT, SPREADLESS, FORMATTED = 0.2, 0.5, 0.1  # shares beyond which a warning is due
HALF = 0.5  # more are cut than end: what is learnt then is mostly noise
LONGER = 4  # times the limit: how far is looked for the length that would do


def look(context: PhaseContext[GrpoPhase]) -> tuple[list[Finding], str]:
    """(findings, what was looked at) for the first problems, drawn as the phase draws."""
    phase, model, prompt = context.phase, context.model, context.prompt
    assert context.score is not None  # a GRPO phase has rewards
    asked = list(context.problems[:PROMPTS])
    group = generations(phase)
    sampling = Sampling(
        float(phase.grpo.get("temperature", 1.0)),
        float(phase.grpo.get("top_p", 1.0)),
        group,
        context.max_completion_tokens,
        context.seed,
    )
    engine = TransformersEngine(model, context.tokenizer)
    chats = [chat_prompt(problem["question"], prompt) for problem in asked]
    groups = in_eval_mode(model, lambda: engine.generate(chats, sampling))
    completions = [completion for group in groups for completion in group]
    repeated = [problem for problem in asked for _ in range(group)]
    lengths: list[int] = []
    if phase.preflight == "stop" and _cut(completions) > HALF:  # the phase will not begin: time to see what it needs
        room = replace(sampling, samples=2, max_completion_tokens=LONGER * context.max_completion_tokens)
        lengths = [one.tokens for group in in_eval_mode(model, lambda: engine.generate(chats, room)) for one in group]
    found = findings(
        phase,
        prompt_tokens=[engine.count_tokens(engine.render(chat)) for chat in chats],
        completions=completions,
        scored=context.score(repeated, completions),
        group=group,
        max_completion_tokens=context.max_completion_tokens,
        tags=prompt.tags,
        lengths=lengths,
    )
    return found, f"{len(asked)} prompts × {group} completions"


def generations(phase: GrpoPhase) -> int:
    """Completions of each prompt that are looked at."""
    return min(GROUP, int(phase.grpo["num_generations"]))


def findings(
    phase: GrpoPhase,
    *,
    prompt_tokens: Sequence[int],
    completions: Sequence[Completion],
    scored: Sequence[Scored],
    group: int,
    max_completion_tokens: int,
    tags: Tags,
    lengths: Sequence[int] = (),
) -> list[Finding]:
    """What the drawn groups say; `completions` and `scored` group by group.

    Args: lengths: of completions that had `LONGER` times the room, where more than half were cut.
    """
    tokens = [completion.tokens for completion in completions]
    cut = _cut(completions)
    raised = f"raise max_completion_length{_needed(lengths, max_completion_tokens)}."
    formatted = fmean(follows_format(completion.text, tags=tags) for completion in completions)
    totals = [one.total for one in scored]
    known = [total for total in totals if total is not None]
    unscorable = 1 - len(known) / len(totals)
    groups = [[t for t in totals[i : i + group] if t is not None] for i in range(0, len(totals), group)]
    spreadless = fmean(max(g, default=0.0) - min(g, default=0.0) < 1e-6 for g in groups)
    found = [
        Finding("prompt tokens, longest", f"{max(prompt_tokens)} of {phase.max_prompt_tokens}"),
        Finding(
            "completion tokens, p50 and p95",
            f"{percentile(tokens, 0.5):.0f}, {percentile(tokens, 0.95):.0f} of {max_completion_tokens}",
        ),
        Finding(
            "cut off",
            f"{cut:.0%}",
            f"{cut:.0%} of completions are cut at {max_completion_tokens} tokens: {raised}" if cut > CUT else None,
            hopeless=cut > HALF,
        ),
        Finding(
            "in the asked format",
            f"{formatted:.0%}",
            f"{formatted:.0%} of completions keep the format: say it more plainly in prompt.system, or begin with an "
            "SFT phase."
            if formatted < FORMATTED
            else None,
        ),
        Finding(
            "references that can't be scored",
            f"{unscorable:.0%}",
            f"{unscorable:.0%} of the completions can't be scored, because of their references: `smolmath inspect` "
            "shows which answers can't be verified."
            if unscorable
            else None,
            hopeless=not known,
        ),
        Finding("reward, mean", f"{fmean(known):.3f}" if known else "none"),
    ]
    found += [Finding(f"  {name}", _mean([one.parts[name] for one in scored])) for name in phase.rewards]
    # Grounding learns from the reference itself, whatever the rewards.
    hopeless = spreadless == 1 and bool(known) and phase.answer_grounding_weight == 0
    found.append(
        Finding(
            "groups without a spread of rewards",
            f"{spreadless:.0%}",
            f"{spreadless:.0%} of groups earn the same throughout and teach nothing: choose problems by pass_rate, "
            "raise num_generations or temperature, or give a reward that tells them apart."
            if spreadless > SPREADLESS
            else None,
            hopeless=hopeless,
        )
    )
    return found


def _cut(completions: Sequence[Completion]) -> float:
    return fmean(completion.finish_reason == "length" for completion in completions)


def _needed(lengths: Sequence[int], limit: int) -> str:
    """The length that would cut one of twenty, in tens; the empty string where nobody looked for it."""
    if not lengths:
        return ""
    needed = percentile(lengths, 0.95)
    if needed >= LONGER * limit:
        return f" beyond {LONGER * limit:,}, which still cuts more than 5 %, or ask for less in prompt.system"
    return f" to about {-(-int(needed) // 10) * 10:,}, which cuts 5 %"


def _mean(parts: Sequence[float | None]) -> str:
    known = [part for part in parts if part is not None]
    return f"{fmean(known):.3f}" if known else "none"
