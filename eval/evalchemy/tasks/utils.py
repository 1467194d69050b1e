"""What the task YAML files beside this share: reading local items, and the normal form of an answer."""

import decimal
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from vllm_eval.items import Items
from vllm_eval.readers import Format, read_items

HERE = Path(__file__).resolve().parent

# What people write for one another and NFKC keeps apart.
_ALIKE = str.maketrans(
    dict.fromkeys("\N{MINUS SIGN}‐‑‒–—―", "-")
    | dict.fromkeys("\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}ʼ", "'")
    | {"“": '"', "”": '"', "٫": ".", "٬": ",", "⁄": "/"}
)
_LATEX = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\{,\}", ","),
        (r"\\(?:[,;: ]|quad\b)", " "),
        (r"\\(?:left|right)(?![A-Za-z])|\\[()\[\]!]", ""),
        (r"\\([%$#&_])", r"\1"),
        (r"\\times(?![A-Za-z])", "×"),
        (r"\\cdot(?![A-Za-z])", "·"),
        (r"\\div(?![A-Za-z])", "÷"),
        (r"\\pm(?![A-Za-z])", "±"),
        (r"\\pi(?![A-Za-z])", "π"),
        (r"\\sqrt(?:\[[^\]]{0,9}\])?", "√"),
        (r"(?<![\w)\]])-(\\f?boxed\s*\{)", r"\1-"),
        (r"(?<=\d)\s*(?=\\[dtc]?frac)", " "),
    )
)
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_IN_BRACES = re.compile(r"(?:\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox)\s*|(?<=[\^_√]))\{([^{}]*)\}")
_MOST_NESTED = 8
_BOXED = re.compile(r"\\f?boxed\s*\{([^{}]*)\}")
_MATH = re.compile(r"\$+([^$]*)\$+")

# A figure as it stands; whether its separators make sense is _figure's part.
_FIGURE = r"(?:[1-9]\d{0,2}(?:\ \d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,'_]\d+)*|(?<![\w.])\.\d+)(?:[eE][+-]?\d+)?"
_POWERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = (
    rf"(?:\s*(?i:{'|'.join(_POWERS)}|dozen|lakh|crore)s?(?![A-Za-z])|(?:[kKMB]|bn|mn)(?![A-Za-z])"
    r"|\s*(?!조각|만큼)[십백천만억조十百千万萬億亿兆]+|\s*[π√])"
)
_CURRENCY = r"(?:[$€£¥₩₹]|USD|EUR|GBP|JPY|KRW|CNY|INR|CHF|Rs\.?)"
_UNIT = re.compile(
    rf"""
    (?<![A-Za-z_])(?!{_CURRENCY}\d)[A-Za-z_]+\d[\w.]*   # a name (CO2, m2, x_1): no number
    | (?<=[^\W\d_])\^[+-]?\d+                           # the power of a unit (cm^2): no number
    | (?P<unit>
        (?:[√±/^][\s({{]*)?                             # half of an expression: "√16", "x/2"
        (?:(?<![A-Za-z\d_)\]%-])[+-])?                  # a sign, not the dash in "3-5", "COVID-19" or "total--5"
        (?:\d+\ +(?=\d+\s*/\s*\d))?                     # the whole of "3 1/2"
        {_FIGURE}
        (?:                                             # what is joined is one thing: a fraction, a power, and else no
            (?:                                         # number: a range, time, date, sum, choice ("12 or 13")
                \s*(?:\*\*?|-+|\.\.+|[+/×xX·÷~^])\s*
                | : | ,?\s+or\s+ | \s*(?:또는|혹은)\s* | {_SCALE}\s*
            )
            [+-]?{_FIGURE}
        )*
        {_SCALE}?
      )
    """,
    re.VERBOSE,
)
_LONGEST = 300
_GROUPS = r"[1-9]\d{0,2}(?:(?:\ \d{3})+|(?:'\d{3})+|(?:_\d{3})+)"
_WITH_POINT = re.compile(
    rf"(?:\d+|[1-9]\d{{0,2}}(?:,\d{{3}})+|[1-9]\d?(?:,\d\d)+,\d{{3}}|{_GROUPS})?(?:\.\d+)?"  # 1,00,000 is Indian
)
_WITH_COMMA = re.compile(rf"(?:\d+|[1-9]\d{{0,2}}(?:\.\d{{3}})+|{_GROUPS}),\d+|[1-9]\d{{0,2}}(?:\.\d{{3}}){{2,}}")
_SCALED = re.compile(rf"\s*(?i:({'|'.join(_POWERS)})s?)")
_POWER = re.compile(r"(?:(.+?)\s*[*×xX·]\s*)?10\^([+-]?\d+)")
_RATIO = re.compile(r"(?:(\d+)\s+)?([^/]+?)\s*/\s*([^/]+)")
_EXACT = decimal.Context(prec=1000, traps=[decimal.Inexact])

_LABEL = re.compile(
    r"^(?:[#>•]+\s*|[-*]\s+)?(?:(?:the answer is|answer|정답|답)(?![^\W_])|정답은|답은)[\s:*]*", re.IGNORECASE
)
_ENDING = re.compile(r"(?:입니다|이에요|예요|이다)$")
_MARKS = " \t.!?,;:'\"`()[]「」『』。"
_AROUND_NUMBERS = _MARKS + "*_$€£¥₩₹%"


def load_items(data_files: Mapping[str, str | Sequence[str]], **options: object) -> dict[str, Items]:
    """Read JSON Lines, or a JSON array, whose paths are relative to this folder, from any working directory.

    lm_eval calls this as the ``custom_dataset`` of a task with the task's
    ``dataset_kwargs`` and ``metadata``. Its own loader would resolve the paths
    against the process' working directory, keep a copy on disk, and give all
    items the fields and types of the first.

    Parameters
    ----------
    data_files
        Split name to its file or files; an absolute path is used as it is.
    options
        ``field``: the key of the array in a file that is one JSON object.

    Raises
    ------
    vllm_eval.errors.TaskError
        A file cannot be read, or holds no items; the text names the file and the line.
    """
    form = Format(name="json", options={"field": options["field"]} if "field" in options else {})
    splits = {split: [names] if isinstance(names, str) else names for split, names in data_files.items()}
    return {split: read_items([HERE / name for name in names], form) for split, names in splits.items()}


def answers(responses: Iterable[Sequence[str]], docs: Iterable[Mapping[str, Any]]) -> list[list[object]]:
    """Say of each response which right answer it gives: a ``custom`` filter of lm_eval.

    lm_eval compares what a filter returns with the item's target, to the
    letter. So a response that equals the item's ``answer`` in normal form gives
    that answer as the item has it (``doc_to_target: answer`` or
    ``"{{answer}}"``), and any other response its own normal form, but never the
    text of an answer.

    Whether a number is wanted is decided here, for each answer: it is if the
    answer is a number and nothing else. Numbers are then compared by their
    value: "009", "9", "9.0" and "18/2" are the same, and so is "9 %".

    Parameters
    ----------
    responses
        The texts of each item.
    docs
        The items. ``answer`` is a text, a number, or a list of them, of which
        each is right. A null is never right.
    """
    return [
        [_judged(response, doc["answer"]) for response in per_item]
        for per_item, doc in zip(responses, docs, strict=True)
    ]


def normal_form(response: str, *, number: bool) -> str:
    r"""Reduce a response to what is compared with the item's answer.

    1. Signs that look alike are made one (Unicode NFKC, dashes, apostrophes,
       digits of any script), LaTeX is taken off, and what is in ``\boxed``
       is the answer. Else it is the first line that is more than a label.
    2. A number is wanted: its last number as an exact decimal, or as a fraction
       if it has none ("7 + 5 = 12 apples." is "12", "1/3" is "1/3"). If the last
       thing with digits is no single number ("3-5", "12:30", "12 or 13",
       "2 * 6", "1만 2천"), or there is none, it is "".
    3. Text is wanted: a label ("Answer:", "정답은"), quotation marks, ending
       punctuation and the polite ending ("입니다", "이에요", "예요", "이다") are
       taken off; blanks are made single and letters small.
    """
    line = _first_line(_alike(response))
    return _last_number(line) if number else _readings(line)[-1]


def _judged(response: str, answer: object) -> object:
    golds = [gold for gold in (answer if isinstance(answer, list) else [answer]) if gold is not None]
    # lm_eval compares lists by numpy, for which the text "4" is not the number 4.
    as_text = not isinstance(answer, list) or any(isinstance(gold, str) for gold in golds)
    line = _first_line(_alike(response))
    number, readings = _last_number(line), _readings(line)
    texts = [_unboxed(_alike(str(gold)).strip()) for gold in golds]
    wanted = [_last_number(text, alone=True) for text in texts]
    for gold, text, figure in zip(golds, texts, wanted, strict=True):
        if number == figure if figure else _folded(text) in readings:
            return str(gold) if as_text else gold
    # A normal form has itself as normal form: one that differs from the golds' is no gold's text either.
    return number if any(wanted) else readings[-1]


def _alike(text: str) -> str:
    # NFKC alone makes 102 of 10², 1012 of 101₂ and 31/2 of 3½.
    text = re.sub(r"(?<=\d)(?=[₀-₉])", "_", text)
    text = re.sub(r"[⁺⁻]?[⁰¹²³⁴-⁹]+", lambda power: "^" + unicodedata.normalize("NFKC", power[0]), text)
    text = unicodedata.normalize("NFKC", re.sub(r"[^\x00-\x7f]", _digits_apart, text))
    text = re.sub(r"−\s*(?=[\d.])", "-", text).translate(_ALIKE)  # U+2212 is a minus, never the mark of a list
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    for _ in range(_MOST_NESTED):
        text = _IN_BRACES.sub(r"\1", _FRACTION.sub(r"\1\2/\3\4", text))
    return _MATH.sub(r"\1", text)


def _digits_apart(match: re.Match[str]) -> str:
    sign = match[0]
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    if unicodedata.category(sign) == "Cf":  # marks of direction, blanks of no width
        return ""
    plain = unicodedata.normalize("NFKC", sign)
    if "₀" <= sign <= "₉" or not re.search(r"\d", plain):
        return plain
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    apart = before.isdigit() or (before.isascii() and before.isalpha())
    return " " * apart + plain + " " * after.isdigit()


def _first_line(text: str) -> str:
    """Return the last box of the first line that has one; if none has, the first line that is more than a label."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    boxed = (line for line in lines if _BOXED.search(line))
    worded = (line for line in lines if _readings(line)[1])
    return _unboxed(next(boxed, None) or next(worded, None) or "\n".join(lines[:1]))


def _unboxed(line: str) -> str:
    boxes: list[str] = _BOXED.findall(line)
    return boxes[-1].strip() if boxes else line


def _last_number(line: str, *, alone: bool = False) -> str:
    """Return the normal form of a line's last number, or ""; ``alone``: only if the line holds nothing else."""
    # "-$5", "-**5**", "-(5)", "= - 5", "minus 5" are below zero; "- 5 apples" is a list, and "total - 5" a dash.
    line = re.sub(rf"(?<=-)(?:{_CURRENCY}\s?|\*\*?|\()(?=[\d.])", "", line)
    line = re.sub(r"([=:(≈])\s*-\s+(?=[\d.])", r"\1 -", line)
    line = re.sub(r"(?i:\b(?:minus|negative)\s+|(?:마이너스|영하)\s*)(?=[\d.])", "-", line)
    units = [match["unit"] for match in _UNIT.finditer(line) if match["unit"]]
    if not units or len(units[-1]) > _LONGEST or (alone and line.replace(units[-1], "", 1).strip(_AROUND_NUMBERS)):
        return ""
    value = _value(units[-1])
    if value is None:
        return ""
    try:
        return format(_EXACT.divide(decimal.Decimal(value.numerator), decimal.Decimal(value.denominator)), "f")
    except decimal.Inexact:
        return str(value)


def _value(unit: str) -> Fraction | None:
    sign, bare = (-1, unit[1:]) if unit.startswith("-") else (1, unit.removeprefix("+"))
    bare = _SCALED.sub(lambda scale: f"×10^{_POWERS[scale[1].lower()]}", bare)
    value: Fraction | None
    if power := _POWER.fullmatch(bare):
        value = _figure(f"{power[1] or '1'}e{power[2]}")
    elif ratio := _RATIO.fullmatch(bare):
        whole, above, below = (_figure(part or "0") for part in ratio.groups())
        value = None if whole is None or above is None or not below else whole + above / below
    else:
        value = _figure(bare)
    return None if value is None else sign * value


def _figure(text: str) -> Fraction | None:
    """Return the value of one figure without sign, or None if its separators make no sense."""
    digits, _, exponent = text.lower().partition("e")
    if _WITH_POINT.fullmatch(digits):
        plain = re.sub(r"[,'_ ]", "", digits)
    elif _WITH_COMMA.fullmatch(digits):
        plain = re.sub(r"[.'_ ]", "", digits).replace(",", ".")
    else:
        return None
    if not re.fullmatch(r"([+-]?\d{1,4})?", exponent) or abs(int(exponent or 0)) > _LONGEST:
        return None
    return Fraction(plain) * Fraction(10) ** int(exponent or 0)


def _readings(line: str) -> list[str]:
    """Return what a line may say as text: as it is, without its label, and without a polite ending."""
    unlabelled = _LABEL.sub("", _bare(line))
    return [_folded(each) for each in (line, unlabelled, _ENDING.sub("", _bare(unlabelled)))]


def _bare(text: str) -> str:
    """Take off the marks around a text; an asterisk behind it only with its fellow in front ("A*" is a grade)."""
    bare = text.strip(_MARKS)
    if bare.startswith("*"):
        bare = bare.strip("*").strip(_MARKS)
    return bare


def _folded(text: str) -> str:
    return " ".join((_bare(text) or text).casefold().split())
