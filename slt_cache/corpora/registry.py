"""The corpora by name. To add one, write its file (see `Corpus` in corpora/base.py) and add its line here.

Light, so that --help and shell completion know the names: the file of a corpus is imported when it is needed."""

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from slt_cache.advice import command
from slt_cache.corpora.languages import AND, labels_of, several
from slt_cache.errors import InputError

if TYPE_CHECKING:
    from slt_cache.config import Config
    from slt_cache.corpora.base import Corpus

CORPORA = {
    "avatar": "slt_cache.corpora.avatar.corpus",
    "phoenix14t": "slt_cache.corpora.phoenix14t",
    "csl-daily": "slt_cache.corpora.csl_daily",
    "how2sign": "slt_cache.corpora.how2sign",
    "openasl": "slt_cache.corpora.openasl",
    "youtube-asl": "slt_cache.corpora.youtube_asl",
    "youtube-sl-25": "slt_cache.corpora.youtube_sl_25",
    "csl-news": "slt_cache.corpora.csl_news",
    "dailymoth": "slt_cache.corpora.dailymoth",
    "bobsl": "slt_cache.corpora.bobsl",
    "wmt-slt": "slt_cache.corpora.wmt_slt",
    "isign": "slt_cache.corpora.isign",
    "uni-sign": "slt_cache.corpora.uni_sign",
    "subtitles": "slt_cache.corpora.subtitled",
    "tsv": "slt_cache.corpora.own",
    "merge": "slt_cache.corpora.merge",
}
"""Name, as in corpus.name and `prepare NAME` -> the module whose `CORPUS` it is."""


def corpus_named(name: str, said_in: str = "corpus.name") -> "Corpus":
    """Returns the corpus of this name. Raises InputError that lists all names; `said_in` is where it was named."""
    if name not in CORPORA:
        raise InputError(f"{said_in} {name}: no such corpus. Choose one of {', '.join(CORPORA)}.")
    corpus: Corpus = import_module(CORPORA[name]).CORPUS
    return corpus


def corpus_of(config: "Config") -> "Corpus":
    """Returns the corpus that the settings name. Raises InputError for an unknown name."""
    return corpus_named(config.corpus.name)


def language_code(config: "Config") -> str | None:
    """Returns the LLM's code of the sentences' language: the one that is set, else that of the manifest or the corpus;
    None if there is none, which models without codes allow. Names of several languages are joined
    (corpora/languages.py). Raises InputError if llm.language does not name those of the manifest."""
    named, labels = config.llm.language, config.corpus.languages
    if len(labels) > 1:
        return several(labels, named)
    if named is not None:
        return named
    return labels[0] if labels else corpus_of(config).language_code(config.corpus)


def require_languages(config: "Config", languages: Iterable[str], place: str) -> None:
    """Raises InputError unless the settings name the languages of all clips, if these are in several; `place` is the
    file that says which."""
    there, code = set(languages), language_code(config)
    known = labels_of(code)
    if not known and len(there) < 2:
        return
    if "" in there:
        raise InputError(
            f"{place}: some sentences have no language and others are in {', '.join(sorted({*there, *known} - {''}))}. "
            "Fill the column `language` of every line."
        )
    if not there <= {*known}:
        raise InputError(
            f"{place}: the sentences are in {', '.join(sorted(there))}, but the LLM writes {', '.join(known) or code}. "
            f"Prepare the manifest again ({command('prepare')}); for imported features, name the languages: "
            f"--set llm.language={AND.join(sorted(there))}"
        )
