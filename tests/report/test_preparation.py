"""The page that `prepare` writes next to its report."""

import json
from pathlib import Path

from tests.helpers.commands import TINY, slt_cache
from tests.helpers.official import video


def corpus(folder: Path) -> Path:
    lines = ["id\tsplit\tvideo\tstart\tend\ttext\tsigner"]
    for number in range(12):
        video(folder / f"v{number}.mp4", first=10 * number)
        split = "train" if number < 9 else "dev" if number < 11 else "test"
        lines.append(f"clip{number}\t{split}\tv{number}.mp4\t\t\tSatz <{number}> am Abend\ts{number % 3}")
    lines.append("long\ttest\tv0.mp4\t0.2\t0.6\tSatz <0> am Abend\t")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def prepared(root: Path, run: Path, *words: str) -> str:
    settings = ("--config", TINY, "--set", "llm.language=de_DE", "--json")
    ran = slt_cache("prepare", "tsv", "--root", root, "--run", run, *settings, *words)
    assert ran.code == 0, ran.err
    page = Path(json.loads(ran.out)["page"])
    assert page == run / "prepare.html"
    return page.read_text(encoding="utf-8")


def test_the_page_has_sizes_leaks_curves_and_ten_clips_and_loads_nothing(tmp_path: Path) -> None:
    page = prepared(corpus(tmp_path / "own"), tmp_path / "run")
    assert page.count('class="strip" src="data:image/webp;base64,') == 10
    assert page.count('<figure class="chart">') == 3
    assert "overlapping cuts of one video in different splits" in page
    assert "Satz &lt;0&gt; am Abend" in page and "<0>" not in page
    assert "<td>9</td><td>2</td><td>2</td>" in page  # clips
    assert not any(word in page for word in ('src="http', 'href="http', "url(http", "<script")), (
        "the page loads something"
    )


def test_the_seed_chooses_the_clips_and_a_broken_video_costs_only_its_frames(tmp_path: Path) -> None:
    root = corpus(tmp_path / "own")
    (root / "v3.mp4").write_bytes(b"no video")
    pages = [prepared(root, tmp_path / f"run{seed}", "--no-probe", "--seed", str(seed)) for seed in (0, 0, 5)]
    chosen = [[line for line in page.splitlines() if line.startswith("<h3>clip")] for page in pages]
    assert chosen[0] == chosen[1] != chosen[2]
    broken = next(page for page in pages if "<h3>clip3</h3>" in page)
    assert (broken.count("No frames: "), broken.count('class="strip"')) == (1, 9)
