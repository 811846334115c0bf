"""What `hardware.accelerate` names: a config file of accelerate, read for what must be known before it is imported.

accelerate itself translates the file into its environment variables (`environment`), in each process.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smolmath.errors import SmolmathError
from smolmath.params.core import listing, nearest
from smolmath.running.devices import visible_gpus
from smolmath.running.params import HardwareParams

SHIPPED = Path("configs/accelerate")
KINDS = ("MULTI_CPU", "MULTI_GPU", "FSDP", "DEEPSPEED")
SHARDED = ("FSDP", "DEEPSPEED")  # no process holds everything; no other kind reads their checkpoints


class LaunchError(SmolmathError):
    """Several processes that can't be started as asked."""


class LostProcessError(LaunchError):
    """A process that can't go on because another one is gone, whose error is the one to show."""

    status = 3


@dataclass(frozen=True)
class AccelerateConfig:
    path: str
    kind: str  # one of KINDS
    machines: int
    processes: int | None  # of all machines together; None: one for each GPU
    address: str | None = None  # of machine 0, where the processes meet
    port: int | None = None

    @property
    def per_machine(self) -> int | None:
        """Processes on each machine; None: as many as it has GPUs."""
        return None if self.processes is None else self.processes // self.machines


def read_config(path: str) -> AccelerateConfig:
    """Raises: LaunchError for a file that is missing or no such config, or asks for what can't be."""
    file = Path(path)
    if not file.is_file():
        shipped = {str(known) for known in SHIPPED.glob("*.yaml")}
        raise LaunchError(
            f"hardware.accelerate: {path} does not exist.{nearest(path, shipped)} There are: {listing(shipped)}."
        )
    try:
        values: Any = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise LaunchError(f"hardware.accelerate: {path} is no YAML ({str(error).splitlines()[0]}).") from None
    if not isinstance(values, dict) or (kind := values.get("distributed_type")) not in KINDS:
        found = values.get("distributed_type") if isinstance(values, dict) else None
        raise LaunchError(
            f"hardware.accelerate: {path} has distributed_type {found}; smolmath trains with {', '.join(KINDS)}. "
            "See configs/accelerate."
        )
    machines, processes = values.get("num_machines", 1), values.get("num_processes")
    for name, value in (("num_machines", machines), ("num_processes", processes)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise LaunchError(f"hardware.accelerate: {path} has {name} {value}, which is no number from 1 up.")
    if processes is not None and processes % machines:
        raise LaunchError(
            f"hardware.accelerate: {path} asks for {processes} processes on {machines} machines, which get equally "
            "many. Make num_processes a multiple of num_machines."
        )
    if processes is None and kind == "MULTI_CPU":
        raise LaunchError(f"hardware.accelerate: {path} must name num_processes: there are no GPUs to count.")
    if kind == "FSDP" and (values.get("fsdp_config") or {}).get("fsdp_version") != 2:
        raise LaunchError(f"hardware.accelerate: {path} must have fsdp_config.fsdp_version: 2 (torch's fully_shard).")
    return AccelerateConfig(
        path, kind, machines, processes, values.get("main_process_ip"), values.get("main_process_port")
    )


def checked_config(hardware: HardwareParams) -> AccelerateConfig:
    """The config that `hardware.accelerate` names, if the devices that it is for are here.

    Raises: LaunchError where it asks for GPUs and there are none, or the other way round: accelerate itself would take
    plain data parallel on the CPU instead of FSDP, and say nothing.
    """
    assert hardware.accelerate is not None
    config = read_config(hardware.accelerate)
    here = "cpu" if hardware.device == "cpu" or not visible_gpus() else "cuda"
    if config.kind == "MULTI_CPU" and here == "cuda":
        raise LaunchError(
            f"hardware: {config.path} is for CPUs, and device is {hardware.device} on a machine with a GPU. Set "
            f"device to cpu, or accelerate to {SHIPPED}/ddp.yaml."
        )
    if config.kind != "MULTI_CPU" and here == "cpu":
        raise LaunchError(
            f"hardware: {config.path} ({config.kind}) is for GPUs, and device is {hardware.device} "
            f"{'' if hardware.device == 'cpu' else 'on a machine without one '}here. accelerate would train without "
            f"it and not say so. Set accelerate to {SHIPPED}/cpu.yaml, or to null."
        )
    return config


def environment(config: AccelerateConfig, processes: int) -> dict[str, str]:
    """The variables by which accelerate and transformers know in each process how it is to train.

    accelerate's own translation of its file: `accelerate launch` calls these functions too. It isn't used as a whole
    because it starts no CPU processes without MPI.
    """
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    if config.kind == "MULTI_CPU":
        return {"ACCELERATE_USE_CPU": "true"}
    asked = {"config_file": config.path, "num_processes": processes, "num_machines": 1, "gpu_ids": "all"}
    asked |= {"mixed_precision": "no", "main_process_port": 0}  # the trainer's arguments say it, and the launcher
    words = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    arguments = launch_command_parser().parse_args([*words, "unused.py"])
    arguments, defaults, _ = _validate_launch_command(arguments)
    if config.kind == "DEEPSPEED":
        arguments.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        _, variables = prepare_deepspeed_cmd_env(arguments)
    else:
        variables = prepare_multi_gpu_env(arguments)
    return {
        name: value
        for name, value in variables.items()
        if name.startswith(("ACCELERATE_", "FSDP_")) and name != "ACCELERATE_MIXED_PRECISION"
    }
