import hashlib
import zipfile
from io import BytesIO

from api.style_transfers import CAT, COFFEE
from tests.stack import Stack


def test_all_outputs_are_one_zip_file(stack: Stack) -> None:
    body = {"mode": "many", "contents": [CAT, COFFEE], "style": "builtin:1", "size": 64, "seed": 5}
    job = stack.client.post("/v1/style-transfers", json=body, headers={"Prefer": "wait=25"}).json()
    assert job["status"] == "succeeded" and len(job["outputs"]) == 2
    answer = stack.client.get(f"/v1/jobs/{job['id']}/outputs")
    assert answer.headers["Content-Type"] == "application/zip" and job["id"] in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None and archive.namelist() == [
            f"{k:03}-{output['role']}.png" for k, output in enumerate(job["outputs"])
        ]
        found = [hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()]
    assert found == [output["sha256"] for output in job["outputs"]]
    assert stack.client.get(f"/v1/jobs/{job['id']}/outputs").content == answer.content


def test_a_job_without_outputs_has_no_zip_file(stack: Stack) -> None:
    answer = stack.client.get(f"/v1/jobs/job_{'0' * 24}/outputs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")
