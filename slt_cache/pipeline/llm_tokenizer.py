"""The LLM's tokenizer, which stage 1 needs too: that of a trimmed LLM, or one trained for a small LLM."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slt_cache.checkpoints.named_files import content_of
from slt_cache.checkpoints.record import OtherSettings, whole_record
from slt_cache.config.llm import LANGUAGE
from slt_cache.corpora.base import MONOLINGUAL_FILE, SPLITS, Clip, of_split
from slt_cache.corpora.languages import labels_of
from slt_cache.corpora.monolingual import Line, lines_of, read_monolingual
from slt_cache.corpora.registry import language_code
from slt_cache.distributed.processes import main_process_first
from slt_cache.files import write_json
from slt_cache.pipeline.init_llm import ensure_initial
from slt_cache.pipeline.stage_1_tokenizer import require_tokenizer_of_stage_1
from slt_cache.pipeline.trim_llm import REPORT_FILE, summary, trim_llm
from slt_cache.progress import log
from slt_cache.runs.derived import Derived
from slt_cache.runs.llm_folders import require_usable, require_whole_llm
from slt_cache.runs.run import Run
from slt_cache.text.families import is_made_here
from slt_cache.text.prompt import all_prompt_texts
from slt_cache.text.tokenizer import Tokenizer, characters_of, load_inner, load_tokenizer, train_tokenizer


def pretraining_lines(run: Run, clips: Sequence[Clip]) -> list[Line]:
    """Returns sentences without video: those of the file in the settings, else the corpus' monolingual ones, else those
    of the train split; all, or as many as the settings say. Raises InputError if the file is missing or empty, or if it
    lacks the languages of its sentences."""
    settings = run.config.llm_pretraining
    path = Path(settings.text) if settings.text is not None else run.corpus / MONOLINGUAL_FILE
    if settings.text is None and not path.is_file():
        lines = lines_of(of_split(clips, "train"))
    else:
        lines = read_monolingual(path, "llm_pretraining.text", labels_of(language_code(run.config)), log)
    wanted = min(settings.sentences or len(lines), len(lines))
    return [lines[number * len(lines) // wanted] for number in range(wanted)]


def pretraining_text(run: Run, clips: Sequence[Clip]) -> list[str]:
    """Returns the sentences of `pretraining_lines` alone."""
    return [line.text for line in pretraining_lines(run, clips)]


def ensure_llm(run: Run, clips: Sequence[Clip], derived: Derived, prompted: bool = False) -> str:
    """Returns the folder or hub name of an LLM made elsewhere, trimmed to the train split's sentences (paper, 4.3), and
    to the text that it is adapted to, if the settings say so; `prompted` keeps the tokens of the prompt too. With
    llm.init_from it is that of the run's copy."""
    llm = run.config.llm
    if llm.init_from is not None:
        return str(ensure_initial(run, derived))
    require_whole_llm(llm.name)
    if not llm.trim:
        return llm.name
    train, *others = ([clip.text for clip in of_split(clips, split)] for split in SPLITS)
    adapts = run.config.llm_pretraining.adapts
    train += pretraining_text(run, clips) if adapts else []
    settings = {"name": content_name(run), "keep_characters": llm.keep_characters, "text_sha256": sha256_of(train)}
    place = run.prompted if prompted else run.trimmed
    settings |= {"prompt": llm.prompt, "chat_template": llm.chat_template} if prompted else {}
    language = language_code(run.config)
    settings |= {"language": language} if prompted and LANGUAGE in llm.prompt else {}

    def trim(folder: Path) -> None:
        require_usable(run.config)  # trimming takes minutes
        prompts = all_prompt_texts(load_inner(llm.name), llm, language) if prompted else ()
        log(f"trimming {llm.name} to the {len(train):,} sentences of train{' and of the text' if adapts else ''}")
        held_out = dict(zip(SPLITS[1:], others, strict=True))
        report = trim_llm(llm.name, train, held_out, folder, llm.keep_characters, prompts)
        report = replace(report, out=str(place))
        write_json(folder / REPORT_FILE, report.to_json())
        log(summary(report))

    return str(derived.ensure(place, "trimming", settings, trim))


def ensure_tokenizer(run: Run, clips: Sequence[Clip], derived: Derived) -> Tokenizer:
    """Returns the tokenizer of the run's LLM, training that of a small one if needed."""
    llm, language = run.config.llm, language_code(run.config)
    if not is_made_here(llm.source):
        return load_tokenizer(ensure_llm(run, clips, derived), language)
    sentences = pretraining_text(run, clips)
    settings = {
        "text_sha256": sha256_of(sentences),
        "vocabulary": run.config.llm_pretraining.vocabulary,
        "language": language,
    }
    characters = characters_of(clip.text for clip in of_split(clips, "train")) - characters_of(sentences)
    if characters:
        settings["characters"] = "".join(sorted(characters))

    def make(folder: Path) -> None:
        log(f"training sentencepiece on {len(sentences):,} sentences")
        if characters:
            log(f"only the train split has the characters {' '.join(sorted(characters))}; each gets a token")
        vocabulary = run.config.llm_pretraining.vocabulary
        train_tokenizer(sentences, vocabulary, language, folder, "".join(sorted(characters)))

    return load_tokenizer(str(derived.ensure(run.tokenizer, "tokenizer", settings, make)), language)


def shared_tokenizer(run: Run, clips: Sequence[Clip], derived: Derived, saves: bool) -> Tokenizer:
    """Returns the tokenizer of the run's LLM for a training that `saves` the settings as the run's or not. Raises
    InputError if stage 1 was trained with another one, see `require_tokenizer_of_stage_1`."""
    try:
        tokenizer = main_process_first(lambda: ensure_tokenizer(run, clips, derived))
    except OtherSettings:
        require_tokenizer_of_stage_1(run, None, derived, saves)
        raise
    require_tokenizer_of_stage_1(run, tokenizer, derived, saves)
    return tokenizer


def content_name(run: Run) -> str:
    """Returns how records identify the LLM."""
    return content_of(run.config.llm.name, whole_record(run.trimmed))


def sha256_of(sentences: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sentences).encode()).hexdigest()
