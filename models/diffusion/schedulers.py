"""Schedulers of diffusers by the names of requests, set up for the noise that a model was trained with.

Imports diffusers only where a scheduler is made: the catalogue needs the names without it.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from inspect import signature
from typing import Any

# Options that a model's own configuration may hold for another scheduler are set for each one.
EVEN, KARRAS = {"use_karras_sigmas": False}, {"use_karras_sigmas": True}
SOLVER = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
ONE_STEP = SOLVER | {"lower_order_final": True}  # for any number of steps
SDE_2 = SOLVER | {"algorithm_type": "sde-dpmsolver++"}
SDE_3 = SDE_2 | {"solver_order": 3}
UNIPC = {"solver_order": 2, "solver_type": "bh2"}

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {"variance_type": "fixed_small"}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "euler": ("EulerDiscreteScheduler", EVEN),
    "euler karras": ("EulerDiscreteScheduler", KARRAS),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", EVEN),
    "heun karras": ("HeunDiscreteScheduler", KARRAS),
    "lms": ("LMSDiscreteScheduler", EVEN),
    "lms karras": ("LMSDiscreteScheduler", KARRAS),
    "dpm2": ("KDPM2DiscreteScheduler", EVEN),
    "dpm2 karras": ("KDPM2DiscreteScheduler", KARRAS),
    "dpm2-a": ("KDPM2AncestralDiscreteScheduler", EVEN),
    "dpm2-a karras": ("KDPM2AncestralDiscreteScheduler", KARRAS),
    "dpm++ 2s": ("DPMSolverSinglestepScheduler", ONE_STEP | EVEN),
    "dpm++ 2s karras": ("DPMSolverSinglestepScheduler", ONE_STEP | KARRAS),
    "dpm++ sde": ("DPMSolverSDEScheduler", EVEN),
    "dpm++ sde karras": ("DPMSolverSDEScheduler", KARRAS),
    "dpm++ 2m": ("DPMSolverMultistepScheduler", SOLVER | EVEN),
    "dpm++ 2m karras": ("DPMSolverMultistepScheduler", SOLVER | KARRAS),
    "dpm++ 2m sde": ("DPMSolverMultistepScheduler", SDE_2 | EVEN),
    "dpm++ 2m sde karras": ("DPMSolverMultistepScheduler", SDE_2 | KARRAS),
    "dpm++ 3m sde": ("DPMSolverMultistepScheduler", SDE_3 | EVEN),
    "dpm++ 3m sde karras": ("DPMSolverMultistepScheduler", SDE_3 | KARRAS),
    "deis": ("DEISMultistepScheduler", {"algorithm_type": "deis", "solver_order": 2, "solver_type": "logrho"} | EVEN),
    "unipc": ("UniPCMultistepScheduler", UNIPC | EVEN),
    "unipc karras": ("UniPCMultistepScheduler", UNIPC | KARRAS),
    "sa-solver": ("SASolverScheduler", {"algorithm_type": "data_prediction"} | EVEN),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
DISTILLED = ("lcm", "tcd")  # select their steps from those of a distillation


def make_scheduler(name: str, config: Mapping[str, Any], num_inference_steps: int, seeds: Sequence[int] = ()) -> Any:
    """Returns a scheduler by name; config: that of the model's own scheduler, which has the noise of its training.

    seeds: of the images of a batch, for a scheduler that draws noise by itself.
    """
    kind, options = SCHEDULERS[name]
    if name in DISTILLED:  # by default 50 steps, which must divide the training timesteps
        total = config["num_train_timesteps"]
        original = next(n for n in range(min(max(50, num_inference_steps), total), total + 1) if total % n == 0)
        options = options | {"original_inference_steps": original}
    made = for_steps(_class_of(kind).from_config(config, **options), num_inference_steps)
    if hasattr(made, "noise_sampler_seed"):
        made.noise_sampler_seed = [*seeds] or None
        warnings.filterwarnings("ignore", "Should have t[ab]", module="torchsde")  # the rounding of its noise levels
    return made


@cache
def _class_of(kind: str) -> Any:
    """Returns a class of diffusers; constructors that compute the schedule of all training timesteps compute one step.

    Theirs takes KDPM2 0.3 s, and the schedule of a job replaces it.
    """
    base: Any = getattr(import_module("diffusers"), kind)
    if "num_train_timesteps" not in signature(base.set_timesteps).parameters:
        return base

    class Quick(base):  # type: ignore[misc]
        def set_timesteps(self, num_inference_steps: int, device: Any = None, training: int | None = None) -> None:
            """Sets the timesteps of a job; only constructors name those of the training."""
            super().set_timesteps(1 if training else num_inference_steps, device)

    return Quick


def for_steps(scheduler: Any, num_inference_steps: int) -> Any:
    """Returns the scheduler, or, for more steps than half of the training's timesteps, one with trailing timesteps.

    There `leading` begins below the noise of the training, and `leading` and `linspace` repeat timesteps or leave those
    of the training, where solvers fail; `trailing` never does (Lin et al. 2024, "Common diffusion noise schedules and
    sample steps are flawed", table 2).
    """
    config = scheduler.config
    if num_inference_steps <= config.num_train_timesteps // 2 or "timestep_spacing" not in config:
        return scheduler
    return type(scheduler).from_config(config, timestep_spacing="trailing")
