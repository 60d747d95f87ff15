"""State encoders: from a window of DNA to the vector that stands for it (spec 2).

Belongs here: the encoder protocol, the state contract, pooling, the Carbon (Llama) encoder and its folder, the
shared-prefix pass, zero-shot likelihoods and the noise floor.
Does not: edits and windows (`geno_model.genomics`), anything trained on top (`geno_model.predictor`).
"""
