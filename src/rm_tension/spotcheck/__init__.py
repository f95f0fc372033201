"""A spot check of cached results: some rewards scored again, and every number that should follow from them."""
