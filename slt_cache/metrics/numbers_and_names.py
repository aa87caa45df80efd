"""Which words of a sentence are numbers or names, of which a wrong one costs more than a wrong function word: how warm
it will be, and where."""

import re

from slt_cache.metrics.content_words import is_function_word

NUMBER_RULE = (
    "words with a digit; in German, English and Chinese also numerals, ordinals and the signs of temperatures (minus, "
    "plus)"
)
NAME_RULE = (
    "words with a capital letter inside a sentence, except in German, which capitalizes all nouns; in German and "
    "Chinese the places listed in metrics/numbers_and_names.py"
)

_GERMAN_PARTS = """
null ein eins zwei zwo drei vier fünf sechs sieben acht neun zehn elf zwölf sechzehn siebzehn und zwanzig dreißig
dreissig vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend million milliard erst dritt siebt
"""
_ENGLISH_PARTS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion first second third fif
eigh nin twelf twentie thirtie fortie fiftie sixtie seventie eightie ninetie
"""
_NOT_NUMBERS = frozenset(["und", "erst", "dritt", "siebt", "unde", "ones", "seconds"])
_PATTERNS = {
    "de": re.compile(rf"(?:{'|'.join(sorted(_GERMAN_PARTS.split(), key=len, reverse=True))})+(?:s?t?e[mnrs]?)?"),
    "en": re.compile(rf"(?:-?(?:{'|'.join(sorted(_ENGLISH_PARTS.split(), key=len, reverse=True))}))+(?:th|s)?"),
}
_SIGNS = {"de": {"minus", "plus"}, "en": {"minus", "plus"}}
CHINESE_NUMERALS = "零〇一二两三四五六七八九十百千万亿"
_NO_NUMERALS = """
一起 一定 一直 一样 一些 一点 一下 一切 一般 一边 十分 万一 千万 统一 唯一
"""
NO_NUMERALS = frozenset(_NO_NUMERALS.split())
"""Chinese words that contain a numeral and count nothing."""

_GERMAN_PLACES = """
deutschland österreich schweiz europa afrika asien amerika russland skandinavien frankreich italien spanien polen
england großbritannien irland island dänemark norwegen schweden finnland niederlande belgien luxemburg tschechien
ungarn balkan griechenland türkei ukraine portugal kroatien grönland sibirien sahara azoren kanada baltikum benelux
bayern sachsen hessen thüringen brandenburg berlin hamburg bremen saarland rheinland pfalz westfalen nordrhein
niedersachsen anhalt schleswig holstein mecklenburg vorpommern pommern württemberg baden schwaben franken oberfranken
mittelfranken unterfranken oberpfalz niederbayern oberbayern ostfriesland nordfriesland friesland emsland münsterland
sauerland siegerland bergland ruhrgebiet lausitz oberlausitz uckermark vogtland breisgau allgäu ostallgäu oberallgäu
münchen köln frankfurt stuttgart düsseldorf dresden leipzig hannover nürnberg rostock kiel freiburg karlsruhe mannheim
münster kassel erfurt magdeburg potsdam saarbrücken mainz wiesbaden augsburg passau lindau konstanz wien zürich
alpen alpenrand alpenvorland harz eifel hunsrück taunus rhön spessart odenwald schwarzwald erzgebirge fichtelgebirge
thüringer vogelsberg westerwald teutoburger brocken zugspitze feldberg pyrenäen karpaten
rhein oberrhein niederrhein hochrhein main mosel neckar donau elbe oder weser ems isar inn saale spree havel lech
nordsee ostsee bodensee mittelmeer atlantik ostseeküste nordseeküste biskaya rügen usedom sylt helgoland
"""
_CHINESE_PLACES = """
中国 美国 英国 法国 德国 日本 韩国 俄罗斯 印度 意大利 西班牙 加拿大 澳大利亚 泰国 欧洲 亚洲 非洲 北京 上海 天津
重庆 广州 深圳 合肥 南京 武汉 成都 杭州 西安 苏州 厦门 青岛 大连 长沙 郑州 济南 沈阳 哈尔滨 昆明 香港 澳门 台湾 安徽
江苏 浙江 山东 山西 陕西 河南 河北 湖南 湖北 广东 广西 福建 江西 四川 贵州 云南 海南 甘肃 青海 宁夏 新疆 西藏
内蒙古 黑龙江 吉林 辽宁 长江 黄河 黄山 泰山 长城 故宫 清华 北大 肯德基
"""
PLACES = {"de": frozenset(_GERMAN_PLACES.split()), "zh": frozenset(_CHINESE_PLACES.split())}
"""Places by language, lowercase."""
_CAPITALIZES_NOUNS = frozenset({"de", "lb"})


def is_number(word: str, languages: tuple[str, ...]) -> bool:
    """Returns whether a word is a number in one of the languages, given by their short codes."""
    lowered = word.lower()
    if any(map(str.isdigit, word)):
        return True
    return any(_is_numeral(lowered, language) for language in languages)


def _is_numeral(word: str, code: str) -> bool:
    if code == "zh":
        return word not in NO_NUMERALS and all(one in CHINESE_NUMERALS for one in word)
    if code not in _PATTERNS or word in _NOT_NUMBERS or is_function_word(word, code):
        return False
    return word in _SIGNS[code] or _PATTERNS[code].fullmatch(word) is not None


def is_name(word: str, languages: tuple[str, ...], begins: bool) -> bool:
    """Returns whether a word is a name in one of the languages; `begins` says whether it begins a sentence, where every
    word has a capital."""
    if any(_is_place(word.lower(), language) for language in languages):
        return True
    if begins or not word[:1].isupper() or _CAPITALIZES_NOUNS & {*languages}:
        return False
    return not any(is_function_word(word.lower(), language) for language in languages)


def _is_place(word: str, code: str) -> bool:
    places = PLACES.get(code, frozenset())
    if code == "de" and word not in places:
        word = word.removesuffix("s")  # of Bavaria: Bayerns
        return word in places or word.endswith("deutschland")
    return word in places
