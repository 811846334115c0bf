"""Rewards that shape length and repetition, with the options that they need; the contract is rewards.py's.

Lengths are in tokens, which only training knows: TRL gives them as the column `completion_ids`. What TRL has is TRL's;
its cosine reward judges correctness by a grader of its own, so that one is written out here with ours.
"""

import math
from collections.abc import Sequence
from typing import Any

from smolmath.answers import DEFAULT_TAGS, Tags, grade, is_verifiable

Completion = str | list[dict[str, Any]]
TokenIds = Sequence[Sequence[int]]


def completion_text(completion: Completion) -> str:
    """The text of a completion, which TRL gives as a list of messages for conversational prompts."""
    if isinstance(completion, str):
        return completion
    return "".join(
        str(message.get("content") or "") for message in completion if message.get("role", "assistant") == "assistant"
    )


def finished_flags(completions: Sequence[Completion], finished: Sequence[bool] | None) -> Sequence[bool]:
    """The column `finished`, True throughout where it is absent."""
    return [True] * len(completions) if finished is None else finished


def verdicts(
    completions: Sequence[Completion],
    references: Sequence[str],
    questions: Sequence[str] | None,
    finished: Sequence[bool] | None,
    tags: Tags,
) -> list[bool | None]:
    """Whether each completion is right; None where the reference is unscorable."""
    asked: Sequence[str | None] = questions or [None] * len(completions)
    return [
        grade(completion_text(completion), reference, question=question, finished=done, tags=tags).correct
        if is_verifiable(reference)
        else None
        for completion, reference, question, done in zip(
            completions, references, asked, finished_flags(completions, finished), strict=True
        )
    ]


def cosine_length(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    reference_answer: Sequence[str],
    completion_ids: TokenIds,
    max_tokens: int,
    correct: Sequence[float],
    wrong: Sequence[float],
    question: Sequence[str] | None = None,
    finished: Sequence[bool] | None = None,
    tags: Tags = DEFAULT_TAGS,
    **columns: Any,
) -> list[float | None]:
    """Correctness with a price on length: from a first value at no tokens to a second at max_tokens, along a cosine.

    Args:
        max_tokens: length from which on the second value holds, in tokens.
        correct: values of a right completion, e.g. [1.0, 0.5]: short is better.
        wrong: values of a wrong completion, e.g. [-1.0, -0.5]: long is better, for it may yet find the way.

    Returns:
        end + (start - end) * (1 + cos(pi * tokens / max_tokens)) / 2; None where the reference is unscorable.

    Source: Demystifying Long Chain-of-Thought Reasoning, arXiv:2502.03373, appendix C.1.

    >>> cosine_length([None], ["<answer>18</answer>"], reference_answer=["18"], completion_ids=[[7] * 50],
    ...               max_tokens=100, correct=[1.0, 0.5], wrong=[-1.0, -0.5])
    [0.75]
    """
    rewards: list[float | None] = []
    rights = verdicts(completions, reference_answer, question, finished, tags)
    for right, ids in zip(rights, completion_ids, strict=True):
        if right is None:
            rewards.append(None)
            continue
        start, end = correct if right else wrong
        share = min(len(ids) / max_tokens, 1.0)
        rewards.append(round(end + (start - end) * (1 + math.cos(math.pi * share)) / 2, 12))
    return rewards


def repetition_penalty(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    completion_ids: TokenIds,
    ngram_size: int,
    max_penalty: float,
    **columns: Any,
) -> list[float | None]:
    """max_penalty times the share of token n-grams that occurred before in the completion (TRL's).

    Args:
        ngram_size: tokens of an n-gram.
        max_penalty: reward of a completion that only repeats itself, 0 or less.

    Source: arXiv:2502.03373, appendix C.2; trl.rewards.get_repetition_penalty_reward.

    >>> repetition_penalty([None], ["aaaaa"], completion_ids=[[5] * 5], ngram_size=2, max_penalty=-1.0)
    [-0.75]
    """
    from trl.rewards import get_repetition_penalty_reward

    return list(get_repetition_penalty_reward(ngram_size, max_penalty)(completion_ids=completion_ids))


def overlong(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    completion_ids: TokenIds,
    max_tokens: int,
    soft_tokens: int,
    **columns: Any,
) -> list[float | None]:
    """0 up to max_tokens - soft_tokens, then falling linearly to -1 at max_tokens, and -1 beyond (TRL's).

    Args:
        max_tokens: usually the phase's max_completion_length.
        soft_tokens: length of the slope before it.

    Source: DAPO, arXiv:2503.14476, equation 13; trl.rewards.get_soft_overlong_punishment.

    >>> overlong([None], ["…"], completion_ids=[[1] * 90], max_tokens=100, soft_tokens=20)
    [-0.5]
    """
    from trl.rewards import get_soft_overlong_punishment

    return list(get_soft_overlong_punishment(max_tokens, soft_tokens)(completion_ids=completion_ids))


def tag_count(
    prompts: Sequence[Any], completions: Sequence[Completion], *, tags: Tags = DEFAULT_TAGS, **columns: Any
) -> list[float | None]:
    """Share of the four tags that occur exactly once, wherever they stand: 0 to 1.

    Looser than xml_count, which wants each on a line of its own.

    Source: tag_count_reward of huggingface/open-r1.

    >>> tag_count([None] * 2, ["<reasoning>9*2</reasoning><answer>18", "<answer>1</answer><answer>2</answer>"])
    [0.75, 0.0]
    """
    names = [f"<{slash}{name}>" for name in (tags.reasoning, tags.answer) for slash in ("", "/")]
    return [sum(completion_text(text).count(name) == 1 for name in names) / 4 for text in completions]
