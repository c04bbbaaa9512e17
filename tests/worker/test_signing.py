"""Signed outputs are read and trusted by the library's own reader, and keep their recipe."""

import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c2pa import Context, Reader
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jobs.errors import AtelierError
from jobs.images import encode_image, read_recipe
from jobs.requests.latents import Sample
from jobs.requests.style_transfer import FastTransfer
from jobs.settings import Settings
from tests.stack import ROOT, Stack
from worker.film import encode_film
from worker.signing import sign, source_type_of

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
RECIPE = {"kind": "test", "params": {"seed": 5}}
MODELS = {"vgg16": "171b04003737ea92"}
Key = ec.EllipticCurvePrivateKey


def certificate(name: str, key: Key, issuer: str, issuer_key: Key, days: int) -> x509.Certificate:
    """A certificate that ends in so many days: of an authority if it signs itself, else of a signer of content."""
    now, is_ca = datetime.datetime.now(datetime.UTC), name == issuer
    subject, by = (x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, each)]) for each in (name, issuer))
    uses = {"digital_signature": not is_ca, "key_cert_sign": is_ca, "crl_sign": is_ca}
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    usage = x509.KeyUsage(**uses, **dict.fromkeys((*others, "decipher_only"), False))
    made = (
        x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(usage, critical=True)
    )
    if not is_ca:
        mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        made = made.add_extension(mail, critical=False)
    return made.sign(issuer_key, hashes.SHA256())


def chain(folder: Path, days: int = 10) -> dict[str, str]:
    """Makes an authority and a signer in a folder; returns the settings, which name the signer's files."""
    folder.mkdir(exist_ok=True)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in "12")
    root = certificate("Authority", root_key, "Authority", root_key, 100)
    leaf = certificate("Operator", key, "Authority", root_key, days)
    pem = [each.public_bytes(Encoding.PEM) for each in (leaf, root)]
    (folder / "chain.pem").write_bytes(b"".join(pem))
    (folder / "root.pem").write_bytes(pem[1])
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    paths = {"CERTIFICATES": folder / "chain.pem", "KEY": folder / "key.pem"}
    return {f"ATELIER_C2PA_{name}": str(path) for name, path in paths.items()}


def settings_of(env: dict[str, str]) -> Settings:
    values: Any = {name.removeprefix("ATELIER_").lower(): value for name, value in env.items()}
    return Settings(_env_file=None, **values)


def read(data: bytes, content_type: str, folder: Path) -> tuple[str | None, dict[str, Any]]:
    """What the reader says of a file where the authority is trusted: the state and the manifest."""
    trust = {"trust": {"trust_anchors": (folder / "root.pem").read_text()}, "verify": {"verify_trust": True}}
    reader = Reader(content_type, BytesIO(data), context=Context.from_dict(trust))
    return reader.get_validation_state(), reader.get_active_manifest() or {}


def files() -> dict[str, bytes]:
    film = partial(encode_film, np.stack([IMAGE, IMAGE[::-1]]), timing=5, loop=True, recipe=RECIPE)
    return {
        **{f"image/{name}": encode_image(IMAGE, name, RECIPE) for name in ("png", "jpeg", "webp")},
        **{"image/gif": film(format="gif"), "video/mp4": film(format="mp4")},
    }


def test_every_format_is_trusted_and_keeps_its_recipe(tmp_path: Path) -> None:
    settings = settings_of(chain(tmp_path))
    for content_type, data in files().items():
        signed = sign(data, content_type, "trainedAlgorithmicMedia", MODELS, settings)
        state, manifest = read(signed, content_type, tmp_path)
        assert state == "Trusted", (content_type, state)
        assert manifest["claim_generator_info"][0]["name"] == "Atelier"
        assertions = {each["label"]: each["data"] for each in manifest["assertions"]}
        [created] = assertions["c2pa.actions.v2"]["actions"]
        assert created["action"] == "c2pa.created"
        assert created["digitalSourceType"].endswith("/digitalsourcetype/trainedAlgorithmicMedia")
        assert assertions["org.atelier.models"] == {"models": MODELS}
        if content_type.startswith("image/"):
            assert read_recipe(signed) == RECIPE
        else:
            assert json.dumps(RECIPE, separators=(",", ":")).encode() in signed
        changed = bytearray(signed)
        changed[signed.rindex(data[-40:-30])] ^= 1
        assert read(bytes(changed), content_type, tmp_path)[0] == "Invalid", content_type
    assert sign(data, content_type, "trainedAlgorithmicMedia", {}, settings_of({})) == data


def test_outputs_made_from_images_are_composites() -> None:
    painted = FastTransfer(method="fast", content="img_" + "0" * 64, style="builtin:1")
    assert source_type_of("picture", painted) == "compositeWithTrainedAlgorithmicMedia"
    assert source_type_of("picture", Sample(model="vae-digits-2", mode="sample")) == "trainedAlgorithmicMedia"
    assert source_type_of("plot", painted) == "dataDrivenMedia"


def test_a_certificate_that_has_expired_fails_the_job(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match="certificate was not valid") as refused:
        sign(files()["image/png"], "image/png", "trainedAlgorithmicMedia", {}, settings_of(chain(tmp_path, days=-1)))
    assert refused.value.code == "signing_failed"


def _other_key(env: dict[str, str]) -> None:
    other = chain(Path(env["ATELIER_C2PA_KEY"]).parent / "b")
    env["ATELIER_C2PA_KEY"] = other["ATELIER_C2PA_KEY"]


def _no_chain(env: dict[str, str]) -> None:
    Path(env["ATELIER_C2PA_CERTIFICATES"]).write_text("nothing")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_other_key, "cannot sign outputs: .*does not match"),
        (_no_chain, "cannot sign outputs: .*certificate"),
        (lambda env: Path(env["ATELIER_C2PA_KEY"]).unlink(), "key.pem, .* cannot be read: No such file"),
        (lambda env: env.pop("ATELIER_C2PA_KEY"), "ATELIER_C2PA_KEY is needed"),
    ],
)
def test_a_worker_does_not_start_with_what_cannot_sign(
    tmp_path: Path, spoil: Callable[[dict[str, str]], object], says: str
) -> None:
    env = chain(tmp_path / "a")
    spoil(env)
    env |= {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "import worker.app"]
    run = subprocess.run(command, env={**os.environ, **env}, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1
    assert re.search(says, run.stderr), run.stderr


def test_a_real_worker_signs(tmp_path: Path) -> None:
    stack = Stack(tmp_path, **chain(tmp_path / "pki"))
    try:
        stack.start_all()
        photo = {"file": (ROOT / "examples" / "photos" / "chelsea.jpg").read_bytes()}
        content = stack.client.post("/v1/images", files=photo).json()["id"]
        body = {"method": "fast", "content": content, "style": "builtin:3", "size": 128}
        job = stack.finished(stack.client.post("/v1/style-transfers", json=body).json()["id"])
        assert job["status"] == "succeeded", job["error"]
        data = stack.client.get(job["outputs"][0]["url"]).content
    finally:
        stack.stop()
    state, manifest = read(data, "image/png", tmp_path / "pki")
    assert state == "Trusted" and "compositeWithTrainedAlgorithmicMedia" in json.dumps(manifest)
    assert (read_recipe(data) or {})["models"].keys() == {"fast-multistyle"}
