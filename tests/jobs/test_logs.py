"""Lines of the log, as text and as JSON."""

import json
import logging
import sys

import pytest

from jobs.logs import JsonFormatter, TextFormatter, about


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("atelier.api", logging.WARNING, __file__, 1, "%s is %d", ("it", 3), None)
    made.__dict__.update(extra)
    return made


def test_a_json_line_has_the_fields_of_its_context() -> None:
    with about(request_id="r1"), about(job_id="job_1"):
        line = json.loads(JsonFormatter().format(record(fields={"status": 200}, data={"args": "a prompt"})))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING", "logger": "atelier.api", "message": "it is 3", "request_id": "r1", "job_id": "job_1",
        "status": 200,
    }  # fmt: skip
    assert "request_id" not in json.loads(JsonFormatter().format(record()))


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        line = JsonFormatter().format(record(exc_info=sys.exc_info()))
    assert "\n" not in line and json.loads(line)["exception"].endswith("ValueError: two\nlines")


@pytest.mark.parametrize("given", ["r1", ""])
def test_a_line_of_text_names_the_request(given: str) -> None:
    with about(request_id=given):
        assert TextFormatter().format(record()).endswith(f"WARNING atelier.api [{given or '-'}] it is 3")
