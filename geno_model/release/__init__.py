"""Model releases: a folder with all that scoring needs, and the identity of that folder (spec 8).

Belongs here: the manifest and its verification (`manifest`), the release's own settings (`config`), the format of
receipts (`receipt`). Does not: how any of the files inside is made (the model, the context and the calibration save
themselves), downloads.
"""
