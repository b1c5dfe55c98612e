"""Experiments on disk: paths, records, and the run that fills them."""
