"""What a profile costs, by the estimate that the page shows."""

import pytest

from rm_tension.report.estimate import estimate
from synthetic import small_params


@pytest.mark.parametrize(
    ("profile", "device"),
    [("mini", "two CPU cores"), ("evening", "two CPU cores"), ("paper", "one H100")],
)
def test_the_estimate_is_of_the_device_that_a_profile_needs(profile, device):
    found = estimate(small_params(), profile)
    assert found.device == device
    assert found.hours.endswith(" h")


def test_no_estimate_for_a_backbone_of_unknown_size(monkeypatch):
    monkeypatch.setattr("rm_tension.cost.SHAPES", {})
    assert estimate(small_params(), "paper") is None
