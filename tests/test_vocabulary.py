"""Checks the project's vocabulary: one word for one thing, in US spelling, in code, texts and docs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCANNED = [
    "api",
    "jobs",
    "worker",
    "models",
    "images",
    "cards",
    "tests",
    "bench",
    "scripts",
    "examples",
    "docker",
    "docs",
]
SCANNED += ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "openapi.json", "docker-compose.yml", "supervisord.conf"]
SCANNED += ["pyproject.toml", "SECURITY.md", ".github", ".pre-commit-config.yaml"]
BINARY = {".gz", ".jpg", ".npz", ".png", ".pyc", ".safetensors", ".webp"}

# A regular expression of what is not used, in lower case -> what is used instead. A space also stands for a line break.
USE_INSTEAD = {
    r"picture": "image",
    r"\b(un)?told\b": "conditioned on (attributes), reported (progress); a name says what it holds",
    r"foresee|foresaw": "predicted x0, pred_original_sample; unexpected",
    r"of (a )?strangers?\b": "untrusted",
    r"\b(go|goes|going|gone|went) on from\b": "continue from, resume from",
    r"\b(in|into) the place of\b": "instead of, for",
    r"\bbut for\b": "except, apart from",
    r"\bon the way\b": "meanwhile, during",
    r"\blikewise\b": "also, the same",
    r"\brebuil(d|t)": "reconstruct",
    r"\b(bring|brings|brought|bringing)( \w+){1,4} into (a|an|the|its|one|that)( \w+)? space\b": "encode",
    r"\bout of noise\b": "generated from noise, denoised",
    r"\bthere and back\b": "round trip, forward and backward pass",
    r"\bnothing but\b": "only",
    r"\bnow and then\b": "from time to time",
    r"\b(is|are) to be had\b|\bcan(no|')t be had\b": "is (not) available",
    r"\bwhat is kept\b": "is stored",
    r"\bgo(es|ing)? on where\b": "resumes where",
    r"colour": "color",
    r"licence": "license",
    r"centre|centring": "center",
    r"neighbour": "neighbor",
    r"behaviour": "behavior",
    r"favour": "favor",
    r"grey": "gray",
    r"labelled|labelling|modelled|modelling": "labeled, modeled",
    r"(standard|optim|recogn|minim|maxim|normal|random|initial|real|general|summar|quant)is(e|ing|ation)": "-ize",
    r"synthesis(e|ing)|analys(ed|ing|e\b)": "synthesize, analyze",
}

# Exact text -> the paths where it stays, and why.
ALLOWED: dict[str, set[str]] = {
    # The old name of `preserve_color`, still accepted.
    '"preserve_colour"': {"jobs", "tests"},
    "`preserve_colour`": {"CHANGELOG.md", "docs"},
    # The old name of `standardize`, still accepted.
    '"standardise"': {"jobs", "tests"},
    "`standardise`": {"CHANGELOG.md", "docs"},
    # The old key of `license` in the cards of models.
    '"licence"': {"api", "cards", "jobs", "models", "tests"},
    "`licence`": {"CHANGELOG.md", "docs"},
    # The old name of `neighbors`, still accepted.
    '"neighbours"': {"jobs", "tests"},
    "`neighbours`": {"CHANGELOG.md", "docs"},
    # The role of an output in responses and stored records, which clients compare.
    '"picture"': {"api/static", "jobs", "worker", "tests", "examples", "openapi.json", "models/weights"},
    # Codes of errors and names in answers stay.
    "`too_many_pictures`": {"docs"},
    '"too_many_pictures"': {"jobs", "tests"},
    "`metrics.pictures`": {"api", "docs", "openapi.json"},
    "are `picture`": {"jobs", "openapi.json"},
    # Attributes that shipped models are conditioned on.
    '"grey_hair"': {"jobs", "models", "tests"},
    '"grey_background"': {"jobs", "models", "tests"},
    # The old key of `images` in the facts of a training's checkpoint, and a figure of steerings in responses.
    '"pictures"': {"models/training/run.py", "examples/spaces.py", "worker", "tests"},
    # A function of PyTorch.
    "_rebuild_tensor": {"models/torch_file.py"},
    # Colors in the attributes and captions of the drawn data sets, which shipped models were trained on.
    '"grey"': {"models", "tests"},
    '"on grey"': {"models"},
    '"no grey_hair"': {"models"},
    '"no grey_background"': {"models"},
    # What people write in prompts.
    "drawing picture photo": {"models"},
    '"picture of"': {"models"},
    "coloured": {"models", "tests/models/data/test_paraphrases.py"},
    "colou?red": {"tests/models/data/test_paraphrases.py"},
    "grey": {"models/data/phrases.py", "bench/words.py"},
}

BREAK = r"[\s#*/>\-]+"  # between two words: spaces, or a line break and the comment sign of the next line
PATTERNS = {re.compile(words.replace(" ", BREAK)): instead for words, instead in USE_INSTEAD.items()}


def is_under(path: str, entries: set[str]) -> bool:
    return any(path == entry or path.startswith(f"{entry}/") for entry in entries)


def scanned_files() -> list[str]:
    paths = [path for name in SCANNED for path in (ROOT / name, *(ROOT / name).rglob("*")) if path.is_file()]
    texts = [path for path in paths if path.suffix not in BINARY and path != Path(__file__)]
    return sorted(path.relative_to(ROOT).as_posix() for path in texts)


def findings(path: str) -> list[str]:
    """Returns each word of the file that is not used, with its line and what to use instead."""
    text = (ROOT / path).read_text(errors="ignore").lower()
    for allowed, where in ALLOWED.items():
        if is_under(path, where):
            text = text.replace(allowed, "")
    text = text.replace("_", " ").replace("\\n", "  ")  # words inside identifiers and JSON strings
    return [
        f"{path}:{text.count(chr(10), 0, word.start()) + 1}: {word[0]!r}, use {instead}"
        for pattern, instead in PATTERNS.items()
        for word in pattern.finditer(text)
    ]


def test_files_keep_to_the_vocabulary() -> None:
    found = [finding for path in scanned_files() for finding in findings(path)]
    assert not found, "\n".join(found)


def test_words_are_found_in_identifiers_and_across_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("max_pictures = 1\n# runs in the\n# place of it; bold, retold\ngoes_on_from\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert [line.split(",")[0] for line in findings("a.py")] == [
        "a.py:1: 'picture'",
        "a.py:4: 'goes on from'",
        "a.py:2: 'in the\\n# place of'",
    ]
