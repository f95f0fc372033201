"""MLflow as a view of runs/: DVC keeps the truth, MLflow is where people look (docs/TRACKING.md)."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported
