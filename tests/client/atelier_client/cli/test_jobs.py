import json

from tests.client.atelier_client.cli.conftest import Command


def test_from_submit_to_retry(stack_command: Command) -> None:
    job = stack_command("generate", "--model", "dcgan-avatars", "-n", "1", "--no-wait").out.strip()
    events = [json.loads(line) for line in stack_command("jobs", "watch", job, "--json").out.splitlines()]
    assert events[0]["event"] == "snapshot" and events[-1]["data"]["status"] == "succeeded"
    assert stack_command("jobs", "watch", job).code == 0
    shown = dict(line.split("\t") for line in stack_command("jobs", "show", job).out.splitlines())
    assert shown["status"] == "succeeded" and shown["model"] == "dcgan-avatars"
    again = stack_command("jobs", "retry", job).out.strip()
    assert stack_command("jobs", "wait", job, again).out.split() == [job, again]
    listed = [json.loads(line)["id"] for line in stack_command("jobs", "list", "-n", "2", "--json").out.splitlines()]
    assert listed == [again, job]


def test_canceled_job(stack_command: Command) -> None:
    job = stack_command("train", "vae", "digits", "--no-wait").out.strip()
    assert stack_command("jobs", "cancel", job).out.strip() == job
    ran = stack_command("jobs", "wait", job, "--json")
    assert ran.code == 1 and json.loads(ran.out)["error"]["code"] == "canceled"


def test_unknown_job(stack_command: Command) -> None:
    ran = stack_command("jobs", "show", "job_" + "0" * 24)
    assert ran.code == 2 and "no such job" in ran.err
