"""Renew the pictures of docs/TRACKING.md after `make mini`: `PYTHONPATH=tests python tests/tracking/screenshots.py`."""

import io
import json
import tempfile
from pathlib import Path

from mlflow_ui import mlflow, open_view, window
from PIL import Image

from rm_tension.tracking.views import VIEWS

IMAGES = Path("docs/images")
CHARTS = {"tension": 1}  # of a view; the others have two
COLOURS = 128  # enough for the UI, and a third of the bytes


def main() -> None:
    """Every saved view, at the top of its page."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as profile,
        mlflow(Path()) as address,
        window(Path(profile)) as driver,
    ):
        for name in json.loads(VIEWS)["views"]:
            open_view(driver, address, name, CHARTS.get(name, 2))
            picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
            path = IMAGES / f"tracking-{name}.png"
            picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
            print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
