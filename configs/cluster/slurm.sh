#!/bin/bash
# A run on several nodes of a SLURM cluster, requeued when its time is up:
#   sbatch cluster/slurm.sh --config particles.yaml \
#     --data.particles particles.star --trainer.default_root_dir runs/mine
# The run takes these settings from SLURM (documentation: I have a cluster).
#SBATCH --job-name=cryo-disentangle
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=4         # processes: one for each GPU of a node
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=SIGUSR1@180        # three minutes before the end
#SBATCH --requeue
#SBATCH --open-mode=append          # one log for all parts of the run
#SBATCH --output=%x-%j.log
set -euo pipefail

export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# Without a checkpoint the run starts; later jobs resume it.
srun --kill-on-bad-exit=0 cryo-disentangle fit "$@" \
  --trainer.num_nodes "$SLURM_JOB_NUM_NODES" \
  --trainer.devices "$SLURM_NTASKS_PER_NODE" \
  --trainer.strategy ddp \
  --ckpt_path last
