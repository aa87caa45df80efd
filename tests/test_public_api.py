"""What a notebook imports from slt_cache: typed, found by tab, loaded at first use; bad arguments are InputErrors."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import slt_cache
from slt_cache import FeatureCache, Translator, load_encoder, open_run, score
from slt_cache.errors import InputError
from tests.helpers.caches import IDS, add_split, facts_of, rows_of

EXPORTS = {"FeatureCache", "SignTranslator", "Translator", "load_encoder", "open_run", "score"}
REVEALED = {
    'slt_cache.FeatureCache("feats.h5", "train")["a"]': "ndarray",
    'slt_cache.Translator.from_run("runs/a")("clip.mp4").text': "str",
    'slt_cache.SignTranslator.from_pretrained("runs/a/llm/best")': "SavedTranslator",
    'slt_cache.load_encoder("runs/a")': "FrozenEncoder",
    'slt_cache.score(["a"], ["a"])["bleu4"].value': "float",
    'slt_cache.open_run("runs/a").config.seed': "int",
}
"""Expression -> its type, as mypy sees it."""


def test_every_export_is_found_by_tab_and_exists() -> None:
    assert set(slt_cache.__all__) - {"__version__"} == EXPORTS
    assert set(dir(slt_cache)) >= EXPORTS
    for name in EXPORTS:
        assert callable(getattr(slt_cache, name))
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = slt_cache.Nonsense


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'h5py', 'numpy', 'pydantic', 'sacrebleu'}"
    code = f"import sys, slt_cache; assert 'score' in dir(slt_cache); print(*({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_a_type_checker_knows_what_the_exports_return(tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.py"
    notebook.write_text("import slt_cache\n" + "".join(f"reveal_type({one})\n" for one in REVEALED), encoding="utf-8")
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", "import sys; from mypy.main import main; main(args=sys.argv[1:])"]
    ran = subprocess.run([*command, str(notebook)], cwd=root, capture_output=True, text=True, check=False)
    revealed = [line.partition("Revealed type is ")[2] for line in ran.stdout.splitlines() if "Revealed" in line]
    assert len(revealed) == len(REVEALED), ran.stdout + ran.stderr
    for expected, found in zip(REVEALED.values(), revealed, strict=True):
        assert expected in found and found != '"Any"', ran.stdout


def test_a_cache_is_read_in_two_lines(tmp_path: Path) -> None:
    add_split(tmp_path / "feats.h5", rows_of(), facts_of())
    cache = FeatureCache(tmp_path / "feats.h5", "train")
    assert list(cache) == list(IDS)
    assert cache[IDS[0]].ndim == 2


def test_sentences_are_scored_in_one_line() -> None:
    scores = score(["der regen kommt aus dem westen"], ["der regen kommt aus dem westen"], preset="phoenix14t")
    assert scores["bleu4"].value == pytest.approx(100)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: FeatureCache("nowhere.h5", "train"), "nowhere.h5"),
        (lambda: Translator.from_run("nowhere"), "nowhere"),
        (lambda: open_run("nowhere", draws=True), "nowhere"),
        (lambda: open_run(overrides=["video.szie=3"]), "szie"),
        (lambda: score(["a"], []), "1"),
        (lambda: score(["a"], ["a"], preset="nonsense"), "phoenix14t"),
        (lambda: load_encoder("nowhere"), "nowhere"),
        (lambda: load_encoder("nowhere", level="nonsense"), "nonsense"),
        (lambda: slt_cache.SignTranslator.from_pretrained("nowhere"), "nowhere"),
    ],
)
def test_bad_arguments_are_input_errors_that_name_them(
    call: Callable[[], object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=says):
        call()
