"""Codes of languages: which language the captions of a sign language are mostly in, and what MBart calls it."""

_SIGNED_AND_SPOKEN = """
ase en  bfi en  asf en  nzs en  gsg de  asq de  sgg de  ssp es  mfs es  csn es  aed es  fsl fr  ise it  bzs pt  psr pt
dse nl  pso pl  rsl ru  jsl ja  kvk ko  tsm tr  swl sv  dsl da  nsl no  fse fi  icl is  gss el  cse cs  hsh hu  isr he
"""
_CODES = """
ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO
ru_RU si_LK tr_TR vi_VN zh_CN
"""

SPOKEN = dict(zip(_SIGNED_AND_SPOKEN.split()[::2], _SIGNED_AND_SPOKEN.split()[1::2], strict=True))
"""ISO 639-3 code of a sign language -> ISO 639-1 code of the language that its captions are mostly in."""
MBART = {code[:2]: code for code in _CODES.split()}
"""ISO 639-1 code of a language -> MBart's code."""
