#!/usr/bin/env bash
# What each machine of a cluster does: the first runs `dvc repro`, the last serves vLLM, the others take part in
# the trainings.
# Started on all of them at once by slurm.sh or skypilot.yaml, in a folder that they share. See docs/cluster.md.
#
#   KIND=ddp          how the trainings are divided: configs/accelerate/$KIND.yaml
#   VLLM_NODES=1      0: no machine serves vLLM, and hardware.vllm is as params.yaml has it
#   VLLM_ARGUMENTS=   more for `vllm serve`, e.g. --data-parallel-size 8
set -euo pipefail
kind=${KIND:-ddp}
vllm_nodes=${VLLM_NODES:-1}
if [[ -n ${SLURM_JOB_ID:-} ]]; then
    session=slurm-$SLURM_JOB_ID me=$SLURM_NODEID
    mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
elif [[ -n ${SKYPILOT_TASK_ID:-} ]]; then
    session=$SKYPILOT_TASK_ID me=$SKYPILOT_NODE_RANK
    mapfile -t nodes <<< "$SKYPILOT_NODE_IPS"
else
    echo "error: neither Slurm nor SkyPilot has started this. See docs/cluster.md." >&2
    exit 1
fi
trainers=$((${#nodes[@]} - vllm_nodes))
if ((trainers < 1)); then
    echo "error: ${#nodes[@]} machines and $vllm_nodes for vLLM leave none to train on. Ask for more, or VLLM_NODES=0." >&2
    exit 1
fi
server=http://${nodes[-1]}:8000
over=.work/$session.over
processes=$(awk '/^num_processes:/ {print $2}' "configs/accelerate/$kind.yaml") # of all machines; none: one a GPU
each=${processes:+$((processes / trainers))}
each=${each:-gpu}
export PATH=$PWD/.venv/bin:$PATH

if ((me == trainers)); then
    until [[ -f models/base/config.json ]]; do sleep 5; done # the first machine makes it
    dtype=$(awk '/^model:/ {inside = 1} inside && $1 == "dtype:" {print $2; exit}' params.yaml)
    # shellcheck disable=SC2086
    VLLM_SERVER_DEV_MODE=1 vllm serve models/base --port 8000 --dtype "$dtype" --logprobs-mode processed_logprobs \
        --weight-transfer-config '{"backend": "nccl"}' ${VLLM_ARGUMENTS:-} &
    while [[ ! -f $over ]]; do
        kill -0 $! || { echo "error: vllm serve has ended" >&2; exit 1; }
        sleep 5
    done
    kill $!
    exit
elif ((me > 0)); then
    # Takes part in one training after the other, until the first machine has none any more.
    while [[ ! -f $over ]]; do
        PYTHONPATH=src torchrun --nnodes "$trainers" --nproc-per-node "$each" \
            --rdzv-backend c10d --rdzv-endpoint "${nodes[0]}:29500" --rdzv-id smolmath \
            --rdzv-conf is_host=false --module smolmath.running.launch.stage &
        trap "kill -TERM $! 2> /dev/null" TERM
        while kill -0 $! 2> /dev/null; do
            [[ ! -f $over ]] || kill $!
            sleep 2
        done
    done
    exit
fi

mkdir -p .work
trap 'touch "$over"' EXIT
config=$PWD/.work/$session.yaml
sed "s/^num_machines: .*/num_machines: $trainers/" "configs/accelerate/$kind.yaml" > "$config"
((trainers == 1)) || echo "main_process_ip: ${nodes[0]}" >> "$config"
hardware=("accelerate=$config")
if ((vllm_nodes)); then
    dvc repro base
    echo "waiting for vLLM at $server"
    until curl --silent --fail "$server/health"; do sleep 5; done
    hardware+=(vllm=server "vllm_server=$server")
fi
python tools/hardware.py "${hardware[@]}"
dvc repro &
# A job's end: the running training saves at the end of its step, and the next job goes on from there.
trap 'cat .work/train@*/*.pid 2> /dev/null | xargs --no-run-if-empty kill -TERM' TERM
wait $! || wait $!
