"""Training in several processes, a part of each batch in each (spec 4, "Run discipline").

    torchrun --nproc-per-node 2 -m geno_model.training.distributed STATES CHECKPOINT --settings SETTINGS.json

STATES is a store of state shards, CHECKPOINT the folder to write, SETTINGS.json the fields of `TrainingSettings` (the
`settings` of a checkpoint's `training.json` will do). The global batch of a step is that of one process, and so is the
loss. On GPUs each process takes one; else they meet through gloo.
Not here: the loop itself (`loop`).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch
from torch import distributed

from geno_model.training.loop import Ranks, TrainingSettings, train
from geno_model.training.state_store import StateStore


def main() -> None:
    """Read the arguments, meet the other processes, train."""
    parser = argparse.ArgumentParser(description="Train a predictor in the processes that torchrun started.")
    parser.add_argument("states", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--settings", type=Path, required=True)
    arguments = parser.parse_args()
    if "RANK" not in os.environ:
        parser.error("start this with torchrun: torchrun --nproc-per-node N -m geno_model.training.distributed ...")
    settings = TrainingSettings(**json.loads(arguments.settings.read_text()))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if has_gpu else torch.device("cpu")
    distributed.init_process_group("nccl" if has_gpu else "gloo")
    try:
        ranks = Ranks(distributed.get_rank(), distributed.get_world_size(), device)
        train(StateStore(arguments.states), settings, arguments.checkpoint, ranks=ranks)
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
