import pytest
from pydantic import TypeAdapter, ValidationError

from cards.schedulers import SCHEDULERS, Scheduler, canonical

NAME: TypeAdapter[str] = TypeAdapter(Scheduler)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Euler a", "euler-a"),
        ("euler_ancestral", "euler-a"),
        ("EulerAncestralDiscreteScheduler", "euler-a"),
        ("DPM++ 2M Karras", "dpm++ 2m karras"),
        ("dpmpp_2m_karras", "dpm++ 2m karras"),
        ("dpmpp_2m_sde", "dpm++ 2m sde"),
        ("DPM++ 2M SDE Karras", "dpm++ 2m sde karras"),
        ("dpm-solver++", "dpm++ 2m"),
        ("DPM2 a Karras", "dpm2-a karras"),
        ("dpm_2_ancestral", "dpm2-a"),
        ("PLMS", "pndm"),
        ("uni_pc", "unipc"),
        ("uni_pc_bh2", "unipc"),
        ("LMS Karras", "lms karras"),
        *((name.upper(), name) for name in SCHEDULERS),
    ],
)
def test_names_of_web_uis_and_classes_of_diffusers_are_read(written: str, meant: str) -> None:
    assert NAME.validate_python(written) == meant


@pytest.mark.parametrize("name", ["", "karras", "dpm++ sde a", "euler b", "dpm++ 2s a"])
def test_other_names_are_refused_with_those_that_are_allowed(name: str) -> None:
    with pytest.raises(ValidationError, match=r"'ddim', 'ddpm', .*'tcd'"):
        NAME.validate_python(name)
    assert canonical(name) == name
