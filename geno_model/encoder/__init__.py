"""State encoders: from a window of DNA to the vector that stands for it (spec 2).

Belongs here: the encoder protocol, the state contract, pooling, the Carbon (Llama) encoder and the shared-prefix pass.
Does not: edits and windows (`geno_model.genomics`), anything trained on top (`geno_model.predictor`).
"""
