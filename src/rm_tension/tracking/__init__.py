"""MLflow as a view of runs/: DVC keeps the truth, MLflow is where people look (docs/TRACKING.md)."""

import os

# MLflow reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
