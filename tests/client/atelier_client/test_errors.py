import httpx

from atelier_client import errors


def response(status: int, **options: object) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "http://x"), **options)  # type: ignore[arg-type]


def test_error_has_its_parts() -> None:
    body = {
        "error": {
            "code": "invalid_request",
            "message": "`size` must be at most 2048.",
            "details": {"field": "size"},
            "request_id": "9f",
        }
    }
    error = errors.error_of(response(422, json=body))
    assert type(error) is errors.InvalidRequestError
    assert (error.field, error.code, error.status, error.request_id) == ("size", "invalid_request", 422, "9f")
    assert str(error) == "`size` must be at most 2048. (invalid_request, 422)"


def test_unknown_code_has_the_class_of_its_status() -> None:
    body = {"error": {"code": "of_a_later_release", "message": "New."}}
    assert type(errors.error_of(response(409, json=body))) is errors.ConflictError
    assert type(errors.error_of(response(418, json=body))) is errors.APIError


def test_response_of_a_proxy() -> None:
    error = errors.error_of(response(502, text="<html>Bad Gateway</html>"))
    assert type(error) is errors.ServerError and error.code == "http_502"
