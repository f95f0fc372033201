"""Train, dissect and re-render "Understanding helpfulness and harmless tension in reward models" (arXiv 2606.13209)."""
