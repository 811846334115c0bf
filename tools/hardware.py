"""Set keys of `hardware` in params.yaml, whose comments stay: python tools/hardware.py vllm=server engines=8

The section is in no stage's params: nothing runs again for it but `check`.
"""

import sys
from pathlib import Path

from ruamel.yaml import YAML

from smolmath.params.core import load_section
from smolmath.running.params import HardwareParams

NULL = "tag:yaml.org,2002:null"  # ruamel would write nothing for it


def main(settings: list[str]) -> None:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), lambda dumper, _: dumper.represent_scalar(NULL, "null"))
    path = Path("params.yaml")
    params = yaml.load(path.read_text(encoding="utf-8"))
    for setting in settings:
        key, _, value = setting.partition("=")
        params["hardware"][key] = YAML(typ="safe").load(value)
    load_section(params, "hardware", HardwareParams)  # refuses what is no key or no value of it
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


if __name__ == "__main__":
    main(sys.argv[1:])
