"""Rewards: one float per completion, in TRL's signature, each in its own unit; weights come from `phases.*.rewards`.

A reward gets the batch's columns by keyword and returns a list as long as `completions`: 0.0 where the completion
earns nothing, None where it cannot be scored because of the *reference* (TRL leaves None out of the completion's sum).
A completion without an answer is wrong, never None: otherwise breaking the grader would be a way out.

Columns: `reference_answer` (str), `reasoning` (worked solution of the reference, or None), `finished` (bool, True
where absent), in training also `completion_ids` (lists of int). Some rewards need options, which stand beside their
weight. shaping.py holds the rewards for length. Imports no torch, so that evaluation and tests pay nothing for it.
docs/rewards.md shows all of them, and how to add one.
"""

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smolmath.answers import DEFAULT_TAGS, Tags, extract_answer
from smolmath.answers.extract import follows_format
from smolmath.answers.normalise import normalise
from smolmath.answers.numbers import parse_number
from smolmath.rewards.grpo.shaping import (
    Completion,
    completion_text,
    cosine_length,
    finished_flags,
    overlong,
    repetition_penalty,
    tag_count,
    verdicts,
)

RewardFunction = Callable[..., list[float | None]]
# What TRL and smolmath give by keyword; any other keyword of a reward is an option, set in params.yaml.
COLUMNS = frozenset(
    {"prompts", "completions", "completion_ids", "question", "reference_answer", "reasoning", "finished", "tags"}
)

# Per character behind the closing tag, in tags: 0.002 of the classic run, at its weight of 0.125 a tag.
TRAILING_PENALTY = 0.016

_MARK = re.compile(r"<<([^<>]*)>>")
_EQUATION = re.compile(r"(?<![\d.+\-*/()%])[\d(][\d.+\-*/()%]*+=-?\d+(?:\.\d+)?")
_EQUATION_SIGNS = str.maketrans({"×": "*", "x": "*", "÷": "/", "−": "-", "$": None, ",": None, " ": None})


def correctness(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    reference_answer: Sequence[str],
    question: Sequence[str] | None = None,
    finished: Sequence[bool] | None = None,
    tags: Tags = DEFAULT_TAGS,
    **columns: Any,
) -> list[float | None]:
    """1.0 where the predicted answer equals the reference answer, else 0.0; None where the reference is unscorable.

    >>> correctness(["How many?"] * 2, ["<answer>36/2</answer>", "Who knows"], reference_answer=["18", "18"])
    [1.0, 0.0]
    """
    rights = verdicts(completions, reference_answer, question, finished, tags)
    return [None if right is None else float(right) for right in rights]


def integer(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    finished: Sequence[bool] | None = None,
    tags: Tags = DEFAULT_TAGS,
    **columns: Any,
) -> list[float | None]:
    """1.0 where the predicted answer is a whole number, right or wrong, else 0.0.

    >>> integer([None] * 3, ["<answer>18</answer>", "<answer>1/2</answer>", ""])
    [1.0, 0.0, 0.0]
    """
    rewards: list[float | None] = []
    for completion, done in zip(completions, finished_flags(completions, finished), strict=True):
        text = extract_answer(completion_text(completion), finished=done, tags=tags).text
        number = parse_number(normalise(text)) if text is not None else None
        rewards.append(float(number is not None and not number.percent and number.value.denominator == 1))
    return rewards


def strict_format(
    prompts: Sequence[Any], completions: Sequence[Completion], *, tags: Tags = DEFAULT_TAGS, **columns: Any
) -> list[float | None]:
    """1.0 where the completion is exactly the two blocks, each tag on a line of its own and used once, else 0.0.

    >>> strict_format([None], ["<reasoning>\\nSo\\nit is.\\n</reasoning>\\n<answer>\\n18\\n</answer>\\n"])
    [1.0]
    """
    return [float(follows_format(completion_text(completion), tags=tags)) for completion in completions]


def soft_format(
    prompts: Sequence[Any], completions: Sequence[Completion], *, tags: Tags = DEFAULT_TAGS, **columns: Any
) -> list[float | None]:
    """1.0 where a reasoning block is followed by an answer block, whatever the line breaks and the text around.

    >>> soft_format([None] * 2, ["Sure! <reasoning>9\\n*2</reasoning> <answer>18</answer>", "<answer>18</answer>"])
    [1.0, 0.0]
    """
    return [float(_blocks_in_order(completion_text(completion), tags)) for completion in completions]


def xml_count(
    prompts: Sequence[Any], completions: Sequence[Completion], *, tags: Tags = DEFAULT_TAGS, **columns: Any
) -> list[float | None]:
    """Number of tags used exactly once and on a line of their own, 0 to 4, less 0.016 per character after the last.

    The unit is a tag: at the default weight of 0.125 the whole format earns the classic 0.5, and a character behind
    the answer costs the classic 0.002. Never below 0. (The classic function also charged the whole completion where no
    newline followed the answer; that was an accident and is left out.)

    >>> xml_count([None] * 2, ["<reasoning>\\n2\\n</reasoning>\\n<answer>\\n2\\n</answer>\\nBye", "<reasoning>\\n2"])
    [3.952, 1.0]
    """
    return [_count_tags(completion_text(completion), tags) for completion in completions]


def reasoning_steps(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    reasoning: Sequence[str | None],
    tags: Tags = DEFAULT_TAGS,
    **columns: Any,
) -> list[float | None]:
    """Likeness to the reference's worked solution, 0 to 1; None where the problem has none.

    Half is the ratio of the smaller to the larger number of steps (lines in the reasoning block), half the share of
    the reference's equations that occur in it. A reference without equations is judged by its steps alone.

    >>> reasoning_steps([None], ["<reasoning>\\n9 * 2 = 18\\n</reasoning>"], reasoning=["16-3-4=9 eggs\\n9*2=18 $"])
    [0.5]
    """
    return [
        None if not (worked and worked.strip()) else _likeness(completion_text(completion), worked, tags)
        for completion, worked in zip(completions, reasoning, strict=True)
    ]


def _blocks_in_order(text: str, tags: Tags) -> bool:
    position = 0
    for tag in (f"<{tags.reasoning}>", f"</{tags.reasoning}>", f"<{tags.answer}>", f"</{tags.answer}>"):
        found = text.find(tag, position)
        # Between the blocks stands nothing but white space.
        if found < 0 or (tag == f"<{tags.answer}>" and text[position:found].strip()):
            return False
        position = found + len(tag)
    return True


def _count_tags(text: str, tags: Tags) -> float:
    closing = f"\n</{tags.answer}>"
    lines = (f"<{tags.reasoning}>\n", f"\n</{tags.reasoning}>\n", f"\n<{tags.answer}>\n", closing)
    count = float(sum(text.count(line) == 1 for line in lines))
    trailing = text.rpartition(closing)[2].removeprefix("\n") if closing in text else ""
    return max(0.0, count - TRAILING_PENALTY * len(trailing))


def _likeness(text: str, worked: str, tags: Tags) -> float:
    _, opening, rest = text.partition(f"<{tags.reasoning}>")
    block, closing, _ = rest.partition(f"</{tags.reasoning}>")
    if not (opening and closing):
        block = rest.partition(f"<{tags.answer}>")[0]
    # GSM8K ends in "#### 18", which is the answer and no step.
    worked = worked.partition("####")[0]
    steps, reference_steps = _count_steps(block), _count_steps(worked)
    ratio = min(steps, reference_steps) / max(steps, reference_steps, 1)
    equations = _equations(worked)
    if not equations:
        return ratio
    compact = _MARK.sub("", block).translate(_EQUATION_SIGNS)
    # 9*2=18 does not occur in 19*2=180.
    present = sum(bool(re.search(rf"(?<![\d.]){re.escape(e)}(?!\d|\.\d)", compact)) for e in equations)
    return 0.5 * ratio + 0.5 * present / len(equations)


def _count_steps(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


def _equations(worked: str) -> set[str]:
    """The equations of a worked solution without spaces; GSM8K marks them: `16 - 3 = <<16-3=13>>13`."""
    marked = _MARK.findall(worked)
    if marked:
        return {equation.translate(_EQUATION_SIGNS) for equation in marked}
    return set(_EQUATION.findall(re.sub(r"(?<=\w)\s+(?=\w)", "_", worked).translate(_EQUATION_SIGNS)))


def reward_functions(
    rewards: Mapping[str, Mapping[str, Any]] | Sequence[str], tags: Tags = DEFAULT_TAGS
) -> list[RewardFunction]:
    """The rewards with these names, as TRL takes them: `__name__` is what it logs as `rewards/<name>`.

    Args:
        rewards: name -> options, or names alone; a name is a key of REWARDS, or any with the option `function`, the
            "package.module:function" of a reward of one's own in the same signature.
        tags: tag names of the response format, given to the rewards of REWARDS.

    Raises:
        ValueError: if a name is neither, or an option is unknown or missing.
    """
    named = rewards if isinstance(rewards, Mapping) else {name: {} for name in rewards}
    return [_bind(name, options, tags) for name, options in named.items()]


def _bind(name: str, options: Mapping[str, Any], tags: Tags) -> RewardFunction:
    given = dict(options)
    own = given.pop("function", None)
    function = _known(name) if own is None else _imported(name, own)
    _check_options(name, function, given)
    bound: Any = functools.partial(function, **given, **({"tags": tags} if own is None else {}))
    bound.__name__ = name
    return bound  # type: ignore[no-any-return]  # partial has no __name__ in its type


def _known(name: str) -> RewardFunction:
    if name not in REWARDS:
        raise ValueError(
            f"Unknown reward {name!r}. Known: {', '.join(REWARDS)}. One of your own needs `function: "
            "package.module:function` beside its weight in params.yaml (docs/rewards.md)."
        )
    return REWARDS[name]


def _check_options(name: str, function: RewardFunction, options: Mapping[str, Any]) -> None:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in COLUMNS]
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p.name for p in parameters if p.name in known and p.default is p.empty]
    listed = f"Its options: {', '.join(known) or 'none'}."
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"Reward {name!r} has no option {', '.join(map(repr, unknown))}. {listed}")
    if missing := [option for option in needed if option not in options]:
        example = ", ".join(f"{option}: …" for option in needed)
        raise ValueError(
            f"Reward {name!r} needs {', '.join(missing)}. {listed} Write {name}: {{weight: 1.0, {example}}}."
        )


def _imported(name: str, path: str) -> RewardFunction:
    """Args: path: package.module:function."""
    module_name, _, function_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"Reward {name!r}: no module {error.name!r} can be imported. Put it under src/ and name it in the deps of "
            "the train stage, or under src/smolmath/rewards/grpo, which is one (docs/rewards.md); or correct the path."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(
            f"Reward {name!r}: {module.__file__} has no function {function_name!r}. "
            "Define it there, or correct `function` under the phase's rewards in params.yaml."
        )
    return function  # type: ignore[no-any-return]  # a person's own function, in the documented signature


DEFAULT_WEIGHTS = {
    "correctness": 2.0,
    "integer": 0.5,
    "strict_format": 0.5,
    "soft_format": 0.5,
    "xml_count": 0.125,  # per tag
}

REWARDS: dict[str, RewardFunction] = {
    "correctness": correctness,
    "integer": integer,
    "strict_format": strict_format,
    "soft_format": soft_format,
    "xml_count": xml_count,
    "reasoning_steps": reasoning_steps,
    "cosine_length": cosine_length,
    "repetition_penalty": repetition_penalty,
    "overlong": overlong,
    "tag_count": tag_count,
}
