"""The world model on top of a frozen encoder: action encoder, predictor, and the two joined (spec 1, 4).

Does not belong here: losses and training (`geno_model.training`), scores (`geno_model.scoring`).
"""
