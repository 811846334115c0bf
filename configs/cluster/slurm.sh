#!/usr/bin/env bash
# sbatch configs/cluster/slurm.sh: one node serves vLLM, the others train. docs/cluster.md says what to change.
#SBATCH --job-name=smolmath
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
srun --kill-on-bad-exit=1 bash configs/cluster/node.sh
