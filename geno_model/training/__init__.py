"""Training of the world model on precomputed states (spec 4).

Belongs here: the shard format of states, the objective, the schedule, the sampling of batches, the loop. No encoder is
loaded here: a training run reads shards only. Not here: the model itself (`geno_model.predictor`).
"""
