"""What the model reads, and the form that its answer is asked to take.

<reasoning>
9+0=9
</reasoning>
<answer>
9
</answer>
"""

import json
import re
from collections.abc import Sequence

from smolmath.params.prompt import PromptParams

Message = dict[str, str]  # {"role": …, "content": …}
_OWN_TEMPLATE = "{# smolmath: above, the system prompt of training; below, the model's own template #}"


def chat_prompt(question: str, prompt: PromptParams, examples: Sequence[Message] = ()) -> list[Message]:
    """The chat messages that ask for one problem; the system message is left out where it is empty.

    Args: examples: turns that stand before the question.
    """
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*system, *examples, {"role": "user", "content": question}]


def with_default_system(template: str, system: str) -> str:
    """A chat template that puts the system prompt before chats that have none; chats that have one read as before."""
    template = template.split(_OWN_TEMPLATE)[-1]
    if not system:
        return template
    message = f"{{'role': 'system', 'content': {json.dumps(system, ensure_ascii=False)}}}"  # a literal of Jinja too
    added = f"{{% if messages[0]['role'] != 'system' %}}{{% set messages = [{message}] + messages %}}{{% endif %}}"
    return added + _OWN_TEMPLATE + template


def worked_completion(reasoning: str, reference_answer: str, prompt: PromptParams) -> list[Message]:
    """The completion that SFT teaches: a worked solution in the asked format, without tags of its own."""
    tags = prompt.tags
    reasoning = re.sub(rf"</?(?:{re.escape(tags.reasoning)}|{re.escape(tags.answer)})>", "", reasoning)
    content = (
        f"<{tags.reasoning}>\n{reasoning}\n</{tags.reasoning}>\n<{tags.answer}>\n{reference_answer}\n</{tags.answer}>"
    )
    return [{"role": "assistant", "content": content}]
