"""Names of schedulers for generations from a prompt: how noise is removed, as web UIs and diffusers call them."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator

SchedulerName = Literal[
    "ddim",
    "ddpm",
    "pndm",
    "euler",
    "euler karras",
    "euler-a",
    "heun",
    "heun karras",
    "lms",
    "lms karras",
    "dpm2",
    "dpm2 karras",
    "dpm2-a",
    "dpm2-a karras",
    "dpm++ 2s",
    "dpm++ 2s karras",
    "dpm++ sde",
    "dpm++ sde karras",
    "dpm++ 2m",
    "dpm++ 2m karras",
    "dpm++ 2m sde",
    "dpm++ 2m sde karras",
    "dpm++ 3m sde",
    "dpm++ 3m sde karras",
    "deis",
    "unipc",
    "unipc karras",
    "sa-solver",
    "lcm",
    "tcd",
]
SCHEDULERS: tuple[SchedulerName, ...] = get_args(SchedulerName)
EARLIER = ("dpm-solver++",)  # names in cards of earlier releases: dpm++ 2m
ETA_SCHEDULERS: tuple[SchedulerName, ...] = ("ddim", "tcd")

# Other names, compared without case, spaces, hyphens and underscores, and with pp for ++.
_ALIASES: dict[str, SchedulerName] = {
    "dpmsolverpp": "dpm++ 2m",
    "dpmsolver": "dpm++ 2m",
    "dpmsolvermultistep": "dpm++ 2m",
    "dpmsolversinglestep": "dpm++ 2s",
    "dpmsolversde": "dpm++ sde",
    "deismultistep": "deis",
    "eulerdiscrete": "euler",
    "eulerancestral": "euler-a",
    "eulerancestraldiscrete": "euler-a",
    "heundiscrete": "heun",
    "lmsdiscrete": "lms",
    "plms": "pndm",
    "kdpm2": "dpm2",
    "kdpm2discrete": "dpm2",
    "kdpm2ancestral": "dpm2-a",
    "kdpm2ancestraldiscrete": "dpm2-a",
    "dpm2ancestral": "dpm2-a",
    "dpm2ancestralkarras": "dpm2-a karras",
    "unipcmultistep": "unipc",
    "unipcbh2": "unipc",
}


def known_scheduler(name: str) -> str:
    """Returns the name of a scheduler, also of an earlier release; raises ValueError for another."""
    if name not in (*SCHEDULERS, *EARLIER):
        raise ValueError(f"must be one of {', '.join(SCHEDULERS)}")
    return name


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower().replace("++", "pp")).removesuffix("scheduler")


_NAMES = _ALIASES | {_key(name): name for name in SCHEDULERS}


def canonical(name: Any) -> Any:
    """Returns the name of a scheduler as it is written here, such as `dpm++ 2m karras` for `DPM++ 2M Karras`.

    `dpmpp_2m_karras` and, for diffusers' class, `EulerAncestralDiscreteScheduler` are read too. Other values stay.
    """
    return _NAMES.get(_key(name), name) if isinstance(name, str) else name


Scheduler = Annotated[SchedulerName, BeforeValidator(canonical)]
