"""Which words of a sentence are content words: those that a video has to decide, unlike articles or punctuation.

The rule is the same for all languages: a word has a letter or a digit, and is not among the function words of its
language. German, English and Chinese have a list below; in other languages every word of letters or digits counts. A
contraction of English function words, such as isn't, is one too."""

import re

RULE = (
    "words with a letter or digit that are not among the function words listed in metrics/content_words.py, nor "
    "contractions of these"
)

_GERMAN = """
der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner keines
ich du er sie es wir ihr ihnen ihm ihn ihre ihren mich dich uns euch sich man mein dein sein unser euer
dieser diese dieses diesen diesem jener jene jenes welche welcher welches was wer wie wo wann
und oder aber denn sondern doch jedoch dass daß weil wenn als ob während bevor nachdem sowie sowohl auch
in im an am auf aus bei beim bis durch für gegen mit nach ohne seit um unter über von vom vor zu zum zur zwischen
ins ans
ist sind war waren wird werden wurde wurden sei bin bist seid hat haben hatte hatten kann können soll sollen muss müssen
will wollen darf dürfen mag mögen
nicht noch nur schon so da dann dort hier ja nun sehr etwa
"""
_ENGLISH = """
a an the this that these those some any each every no
i you he she it we they me him her us them my your his its our their mine yours who whom whose which what
and or but nor so yet because if when while as than though although whether
in on at by for from of off to into onto with without about over under between through during before after up down out
is are was were be been being am do does did done has have had having will would shall should can could may might must
not cannot n't 's 're 'm 've 'll 'd i'm you're it's we're they're i've we've i'll you'll we'll don't
there here then just also very too
"""
_CHINESE = """
的 地 得 了 着 过 吗 呢 吧 啊 呀 嘛 在 是 和 与 或 跟 同 把 被 给 对 从 向 到 于 以 为 也 都 就 还 又 很 太 而 但 但是
这 那 这个 那个 我 你 您 他 她 它 我们 你们 他们 之 所 有 个 会 将 因为 所以 如果
"""
FUNCTION_WORDS = {
    language: frozenset(words.split()) for language, words in (("de", _GERMAN), ("en", _ENGLISH), ("zh", _CHINESE))
}
"""Function words by language, lowercase."""
_CONTRACTED = re.compile("(.+?)(?:n't|'(?:s|re|m|ve|ll|d))+")
_STEMS = frozenset(("ca", "wo", "sha"))
"""What is left of can't, won't and shan't."""
_LONG_CODES = {"deu": "de", "ger": "de", "eng": "en", "zho": "zh", "cmn": "zh"}


def is_content_word(word: str, language: str | None) -> bool:
    """Returns whether a word counts as content in a language, such as `de`, de_DE or deu_Latn; None if it is
    unknown."""
    bare = re.sub(r"^\W+|\W+$", "", word.lower())
    if not any(map(str.isalnum, bare)):
        return False
    return not is_function_word(bare, short_code(language))


def is_function_word(word: str, code: str) -> bool:
    """Returns whether a lowercase word is a function word of a language, such as `de`."""
    known = FUNCTION_WORDS.get(code, frozenset())
    plain = word.replace("’", "'")
    contracted = _CONTRACTED.fullmatch(plain) if code == "en" else None
    return plain in known or (contracted is not None and contracted[1] in known | _STEMS)


def short_code(language: str | None) -> str:
    """Returns the code of a language as the lists have it, `de` for de_DE or deu_Latn; empty if it is unknown."""
    code = re.split("[-_]", (language or "").strip("_").lower())[0]
    return _LONG_CODES.get(code, code)
