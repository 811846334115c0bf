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
from collections.abc import Mapping, Sequence

from smolmath.errors import StageError
from smolmath.params.prompt import PromptParams

Message = dict[str, str]  # {"role": …, "content": …}
_SETTINGS = "{# smolmath: settings of training #}"
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


def with_settings(template: str, settings: Mapping[str, str | bool | int | float], model: str) -> str:
    """A chat template in which `settings` hold where whoever renders names none; earlier ones of ours are left out.

    Args: model: for the message.
    Raises: StageError if the template asks for no such setting, so that it would change nothing.
    """
    template = re.sub(rf"(?:{{% if \w+ is not defined %}}.*?{{% endif %}})*{re.escape(_SETTINGS)}", "", template)
    if unknown := [name for name in settings if not re.search(rf"\b{name}\b", template)]:
        raise StageError(
            f"prompt.chat_template_kwargs: the chat template of {model} does not ask for {', '.join(unknown)}. "
            "Correct the name, or leave it out."
        )
    if not settings:
        return template
    given = [
        f"{{% if {name} is not defined %}}{{% set {name} = {json.dumps(value, ensure_ascii=False)} %}}{{% endif %}}"
        for name, value in settings.items()
    ]
    above, mark, own = template.rpartition(_OWN_TEMPLATE)
    return above + mark + "".join(given) + _SETTINGS + own


def worked_completion(reasoning: str, reference_answer: str, prompt: PromptParams) -> list[Message]:
    """The completion that SFT teaches: a worked solution in the asked format, without tags of its own."""
    tags = prompt.tags
    reasoning = re.sub(rf"</?(?:{re.escape(tags.reasoning)}|{re.escape(tags.answer)})>", "", reasoning)
    content = (
        f"<{tags.reasoning}>\n{reasoning}\n</{tags.reasoning}>\n<{tags.answer}>\n{reference_answer}\n</{tags.answer}>"
    )
    return [{"role": "assistant", "content": content}]
