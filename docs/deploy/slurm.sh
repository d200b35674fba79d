#!/usr/bin/env bash
# A whole run on several nodes of Slurm: sbatch -W docs/deploy/slurm.sh --recipe mnist
# Submitted in the project's folder, which all nodes see under the same path. `-W` waits and returns the run's exit code.
#SBATCH --job-name=ganpress
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=2
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
source .venv/bin/activate

# A secret of this job alone: whoever reaches a cluster without one executes code as you.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
address="$head:$port"
each=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" --block)

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --port "$port" --include-dashboard false "${each[@]}" &
sleep 20
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" --overlap \
        ray start --address "$address" "${each[@]}" &
    sleep 20
fi

# Slurm ends all of the job's processes with the job, so that nothing of Ray is left.
ganpress run --cluster "$address" "$@"
