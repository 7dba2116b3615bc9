#!/bin/bash
# A run on several nodes without a scheduler: start it on each node, with the same arguments.
#   NODES=2 NODE_RANK=0 GPUS=4 MAIN=node0 cluster/torchrun.sh --config run.yaml   # on node0
#   NODES=2 NODE_RANK=1 GPUS=4 MAIN=node0 cluster/torchrun.sh --config run.yaml   # on node1
# One node: GPUS=4 cluster/torchrun.sh --config run.yaml. Documentation: I have a cluster.
set -euo pipefail

NODES="${NODES:-1}"
GPUS="${GPUS:-1}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes "$NODES" --node-rank "${NODE_RANK:-0}" --nproc-per-node "$GPUS" \
  --rdzv-backend static --master-addr "${MAIN:-127.0.0.1}" --master-port "${PORT:-29500}" \
  -m cryo_disentangle fit "$@" \
  --trainer.num_nodes "$NODES" \
  --trainer.devices "$GPUS" \
  --trainer.strategy ddp \
  --ckpt_path last
