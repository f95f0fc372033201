"""The stages of dvc.yaml side by side: on the cores or GPUs of this machine, or as jobs of a Slurm cluster."""
