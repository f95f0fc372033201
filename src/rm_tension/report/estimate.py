"""What the run costs, by the estimate of `rm-tension cost`: measured times differ by machine."""

from dataclasses import dataclass
from functools import partial

from rm_tension.base.config import Params
from rm_tension.cost import BEST, DEVICES, HOUR, WORST, Device, all_works, cost_of, roofline

FACTOR = 3  # of tiny models on CPUs, the estimate was 2.5 times too low


@dataclass(frozen=True)
class Estimate:
    """Hours, one stage at a time, and where; `note` says how far to trust them."""

    hours: str
    device: str
    note: str


def estimate(params: Params, profile: str) -> Estimate | None:
    """Return what a profile costs; None if the size of one of its backbones is not known."""
    works, unknown = all_works(params, profile)
    if unknown:
        return None

    def hours(device: Device) -> float:
        rate = partial(roofline, device)
        return sum(cost_of(work, rate, device.gpu).seconds for work in works.values()) / HOUR

    if params.profiles[profile].gpu == "required":
        name = "H100"
        low, high = (hours(bound(DEVICES[name])) for bound in (BEST, WORST))
        return Estimate(f"{low:.0f}–{high:.0f} h", f"one {name}", "the range that we expect")
    note = f"may be off by a factor of {FACTOR}"
    return Estimate(f"{hours(DEVICES['cpu']):.1f} h", "two CPU cores", note)
