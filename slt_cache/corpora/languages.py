"""Codes and names of languages: which language the captions of a sign language are mostly in, what MBart and NLLB call
it, and how a setting names several languages at once.

Sentences in one language are those of an LLM's code, such as de_DE. A manifest in several languages has a short name
for each in its column `language`, mostly ISO 639-1 (de, en); settings and records then name all of them, `de+en`, each
with the LLM's code after it if that cannot be found, `de+bfi=eng_Latn`."""

import re

from slt_cache.errors import InputError

_SIGNED_AND_SPOKEN = """
ase en  bfi en  asf en  nzs en  gsg de  asq de  sgg de  ssp es  mfs es  csn es  aed es  fsl fr  ise it  bzs pt  psr pt
dse nl  pso pl  rsl ru  jsl ja  kvk ko  tsm tr  swl sv  dsl da  nsl no  fse fi  icl is  gss el  cse cs  hsh hu  isr he
"""
_CODES = """
ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO
ru_RU si_LK tr_TR vi_VN zh_CN
"""
_NLLB_AND_NAMES = """
ar arb_Arab Arabic, bg bul_Cyrl Bulgarian, bn ben_Beng Bengali, ca cat_Latn Catalan, cs ces_Latn Czech,
da dan_Latn Danish, de deu_Latn German, el ell_Grek Greek, en eng_Latn English, es spa_Latn Spanish,
et est_Latn Estonian, fa pes_Arab Persian, fi fin_Latn Finnish, fr fra_Latn French, gu guj_Gujr Gujarati,
he heb_Hebr Hebrew, hi hin_Deva Hindi, hr hrv_Latn Croatian, hu hun_Latn Hungarian, id ind_Latn Indonesian,
is isl_Latn Icelandic, it ita_Latn Italian, ja jpn_Jpan Japanese, kk kaz_Cyrl Kazakh, ko kor_Hang Korean,
lt lit_Latn Lithuanian, lv lvs_Latn Latvian, mr mar_Deva Marathi, my mya_Mymr Burmese, ne npi_Deva Nepali,
nl nld_Latn Dutch, no nob_Latn Norwegian, pl pol_Latn Polish, pt por_Latn Portuguese, ro ron_Latn Romanian,
ru rus_Cyrl Russian, si sin_Sinh Sinhala, sk slk_Latn Slovak, sl slv_Latn Slovenian, sv swe_Latn Swedish,
ta tam_Taml Tamil, te tel_Telu Telugu, th tha_Thai Thai, tr tur_Latn Turkish, uk ukr_Cyrl Ukrainian, ur urd_Arab Urdu,
vi vie_Latn Vietnamese, zh zho_Hans Chinese
"""
_ROWS = [row.split() for row in _NLLB_AND_NAMES.split(",")]

SPOKEN = dict(zip(_SIGNED_AND_SPOKEN.split()[::2], _SIGNED_AND_SPOKEN.split()[1::2], strict=True))
"""ISO 639-3 code of a sign language -> ISO 639-1 code of the language that its captions are mostly in."""
MBART = {code[:2]: code for code in _CODES.split()}
"""ISO 639-1 code of a language -> MBart's code."""
NLLB = {short: code for short, code, _ in _ROWS}
"""ISO 639-1 code of a language -> NLLB's code."""
NAMES = {short: name for short, _, name in _ROWS}
"""ISO 639-1 code of a language -> its English name."""
AND, IS = "+", "="
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def is_label(language: str) -> bool:
    """Returns whether a value of a manifest's column `language` can name a language."""
    return _LABEL.fullmatch(language) is not None


def short_name(code: str) -> str:
    """Returns the ISO 639-1 code of a language with this code of an LLM, such as de for de_DE, deu_Latn or __de__; the
    code itself if it is in no table."""
    stripped = code.strip("_")
    of_nllb = next((short for short, other in NLLB.items() if other == stripped), None)
    first = re.split("[-_]", stripped)[0]
    return of_nllb or (first if first in NAMES else stripped)


def english_name(label: str) -> str:
    """Returns the English name of a language for prompts; the label itself if it is in no table."""
    return NAMES.get(short_name(label), label)


def labels_of(language: str | None) -> tuple[str, ...]:
    """Returns the short names in a setting or record that names several languages; empty for a single language."""
    parts = (language or "").split(AND)
    return tuple(part.partition(IS)[0] for part in parts) if len(parts) > 1 else ()


def codes_named(language: str) -> dict[str, str]:
    """Returns short name -> what is known of the LLM's code, of several languages."""
    pairs = (part.partition(IS) for part in language.split(AND))
    return {label: code or label for label, _, code in pairs}


def several(labels: tuple[str, ...], named: str | None) -> str:
    """Returns the setting that names these languages; `named` is llm.language, which may give their codes. Raises
    InputError if that names other languages."""
    if named is None:
        return AND.join(labels)
    if set(labels_of(named)) != set(labels):
        codes = AND.join(f"{label}{IS}CODE" for label in labels)
        raise InputError(
            f"llm.language {named}: the manifest has sentences in {', '.join(labels)}. Leave the setting out, or name "
            f"the LLM's codes of all: --set llm.language={codes}"
        )
    return named
