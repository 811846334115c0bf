"""YAML as a card has it: every value on its line, null written out."""

import io
from typing import Any

from ruamel.yaml import YAML

NULL = "tag:yaml.org,2002:null"


def yaml_text(value: Any) -> str:
    written = io.StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.representer.add_representer(type(None), lambda representer, _: representer.represent_scalar(NULL, "null"))
    yaml.dump(value, written)
    return written.getvalue()
