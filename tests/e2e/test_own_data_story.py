"""Own videos by the README's steps, with three mistakes: a cut file, typos in sentences, clips that come later. What a
correction did not touch is not trained again, and nothing becomes unusable."""

import hashlib
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import read_record
from slt_cache.features.cache import FeatureCache
from tests.conftest import write_video
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.tiny_run import succeed

SENTENCES = {
    "a1": ("train", "guten abend liebe zuschauer"),
    "a2": ("train", "morgen regnet es im norden"),
    "a3": ("train", "im süden scheint die sone"),
    "a4": ("train", "am abend schneit es"),
    "a5": ("train", "es weht ein starker wind"),
    "b1": ("dev", "morgen schneit es im nordn"),
    "b2": ("dev", "am abend regnet es"),
    "c1": ("test", "im süden regnet es"),
}
SETTINGS = ("llm.language=de_DE", "visual_training.epochs=2", "llm_training.epochs=2", "llm.lora=null")


class OwnVideos:
    """A folder of videos with its manifest, as a user keeps them, and the run over them."""

    def __init__(self, folder: Path):
        self.root, self.run = folder / "my-videos", folder / "run"
        self.root.mkdir()
        self.sentences = dict(SENTENCES)
        for number, clip in enumerate(self.sentences):
            write_video(self.root / f"{clip}.mp4", 20, first=20 * number)

    def prepare(self) -> Ran:
        lines = [f"{clip}\t{split}\t{clip}.mp4\t\t\t{text}" for clip, (split, text) in self.sentences.items()]
        manifest = "\n".join(["id\tsplit\tvideo\tstart\tend\ttext", *lines]) + "\n"
        (self.root / "manifest.tsv").write_text(manifest, encoding="utf-8")
        first = ("--config", TINY, *(word for setting in SETTINGS for word in ("--set", setting)))
        made = (self.run / "config.yaml").is_file()
        return slt_cache("prepare", "tsv", "--root", self.root, "--run", self.run, *(() if made else first))

    def correct(self, clip: str, text: str) -> None:
        self.sentences[clip] = (self.sentences[clip][0], text)
        assert self.prepare().code == 0

    def does(self, *arguments: str) -> str:
        return succeed(*arguments, "--run", self.run).err

    def is_refused(self, *arguments: str) -> str:
        ran = slt_cache(*arguments, "--run", self.run)
        assert ran.code == 2, ran.err
        return ran.err

    def weights(self, stage: str) -> str:
        files = sorted((self.run / stage / "best").glob("*.safetensors"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@pytest.fixture
def own(tmp_path: Path) -> OwnVideos:
    return OwnVideos(tmp_path)


VISUAL = ("train-visual",)
EXTRACT = ("extract-features", "--split", "all")
LLM = ("train-llm", "--features", "feats.h5")


def test_own_videos_with_three_mistakes_come_to_a_translator(own: OwnVideos) -> None:
    # A file that was cut off while it was copied: it is named, and taken out as advised.
    cut = own.root / "a4.mp4"
    cut.write_bytes(cut.read_bytes()[:1500])
    assert "'a4'" in own.prepare().err + own.is_refused(*VISUAL)
    del own.sentences["a4"]
    assert own.prepare().code == 0
    own.does(*VISUAL)
    own.does(*EXTRACT)
    own.does(*LLM)
    own.does("eval")
    encoder, llm = own.weights("visual"), own.weights("llm")

    # A typo in a sentence of dev: no weights depend on it, so none are trained again, but all are scored again.
    before = read_record(own.run / "llm" / "best")
    own.correct("b1", "morgen schneit es im norden")
    said = own.does(*VISUAL)
    assert "trained already" in said and "dev has changed since it selected these weights" in said
    assert "trained already" in own.does(*VISUAL) and "dev has changed" not in own.does(*VISUAL)
    own.does(*EXTRACT)
    assert "stage 2: trained already" in own.does(*LLM)
    after = read_record(own.run / "llm" / "best")
    assert before is not None and after is not None and before.dev_sha256 != after.dev_sha256
    assert (own.weights("visual"), own.weights("llm")) == (encoder, llm)

    # A typo in a sentence of train: refused by name, and made again from there.
    own.correct("a3", "im süden scheint die sonne")
    assert "other sentences" in own.is_refused(*VISUAL)
    assert own.weights("visual") == encoder
    said = own.does(*VISUAL, "--restart")
    assert "out of date" in said and "llm/pretrained" in said and "feats.h5" in said
    assert own.weights("visual") != encoder
    own.does(*EXTRACT, "--restart")
    own.does(*LLM, "--restart")
    own.does("eval")
    encoder = own.weights("visual")

    # Two clips come later. The encoder may stay as it is: only they are read, and stage 2 learns from all.
    for number, (clip, text) in enumerate({"a6": "heute scheint die sonne", "a7": "im norden weht ein wind"}.items()):
        write_video(own.root / f"{clip}.mp4", 20, first=180 + 20 * number)
        own.sentences[clip] = ("train", text)
    assert own.prepare().code == 0
    own.does(*EXTRACT)
    assert len(FeatureCache(own.run / "feats.h5", "train")) == 6
    assert "other" in own.is_refused(*LLM)
    own.does(*LLM, "--restart")
    own.does("eval")
    assert own.weights("visual") == encoder
    assert succeed("translate", own.root / "c1.mp4", "--run", own.run).out.startswith(str(own.root / "c1.mp4"))


@pytest.mark.slow
def test_an_encoder_that_keeps_a_typo_is_no_dead_end(own: OwnVideos) -> None:
    """Pre-training alone is made again; the encoder that saw the typo goes on serving."""
    own.sentences.pop("a4")
    assert own.prepare().code == 0
    own.does(*VISUAL)
    own.does("llm", "pretrain")
    encoder = own.weights("visual")
    own.correct("a3", "im süden scheint die sonne")
    assert "text_sha256: other sentences" in own.is_refused("llm", "pretrain")
    own.does("llm", "pretrain", "--restart")
    own.does(*EXTRACT)
    own.does(*LLM)
    own.does("eval")
    assert own.weights("visual") == encoder
