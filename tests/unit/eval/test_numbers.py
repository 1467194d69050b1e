"""Numbers and texts as people write them: a right answer is right in any notation, and a wrong one in none."""

import json
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.metrics import exact_match_hf_evaluate

from tests.support.workspace import task_utils

utils = task_utils()
MINUS = "\N{MINUS SIGN}"
EN_DASH = "\N{EN DASH}"
APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"


def judged(gold: object, response: str) -> Any:  # noqa: ANN401 - a list of numbers gives its own number
    ((result,),) = utils.answers([[response]], [{"answer": gold}])
    return result


def is_right(gold: object, response: str) -> bool:
    """Compare as lm_eval does: with the text of a target, or with each of a list."""
    result = judged(gold, response)
    golds = gold if isinstance(gold, list) else [str(gold)]
    return bool(exact_match_hf_evaluate([result] * len(golds), golds)["exact_match"] > 0)


RIGHT: list[tuple[object, str]] = [
    # Thousands
    ("9500", "$9{,}500"),
    ("9500", r"\boxed{9{,}500}"),
    ("10000", r"10\,000"),
    ("12500", "12,500 people"),
    ("12500", "12\u00a0500"),
    ("12500", "12\u202f500"),
    ("1234567", "1\u2009234\u2009567"),
    ("12500", "12 500"),
    ("12500", "12'500"),
    ("12500", f"12{APOSTROPHE}500"),
    ("100000", "1,00,000"),
    ("1234567", "12,34,567"),
    ("1234567", "1.234.567"),
    ("1234.5", "1.234,5"),
    ("1234.5", "1 234,5"),
    ("10000", "10_000"),
    ("8000", r"$8,\!000$"),
    ("3", "1, 2, 3"),
    # Signs
    ("-4", f"{MINUS}4"),
    ("-4", f"2 {MINUS} 6 = {MINUS}4"),
    ("-4", f"2 {MINUS} 6 = {MINUS} 4"),
    ("-4", "2 - 6 = -4"),
    ("-8", f"{EN_DASH}8"),
    ("-8", "\uff0d8"),
    ("-8", "\u20118"),
    (f"{MINUS}12", "It was -12 degrees."),
    ("-5", "-$5"),
    ("-5", "minus 5"),
    ("-5", "-**5**"),
    ("-5", r"$-\boxed{5}$"),
    ("-5", "정답은-5"),
    ("-5", "영하 5도"),
    ("-0.5", r"$-\frac{1}{2}$"),
    ("-0.5", "-½"),
    ("4", "- 4 apples"),
    ("4", f"{EN_DASH} 4 apples"),
    ("4", "Total - 4"),
    ("4", "Total—4"),
    ("19", "COVID-19"),
    ("5", "+5"),
    # Decimals, fractions, powers
    ("4.5", "4.50"),
    ("4.50", "4.5 kg"),
    ("0.5", ".5"),
    (".5", "0,5"),
    ("5", "5."),
    ("5", "5.00"),
    ("3.5", "3,5"),
    ("1000", "1e3"),
    ("300000", r"$3 \times 10^{5}$"),
    ("300000", "3×10⁵"),
    ("100", "10²"),
    ("0.5", "1/2"),
    ("1/2", r"\dfrac{1}{2}"),
    ("1/3", "⅓"),
    ("3.5", "3½"),
    ("3.5", "３½"),
    ("3.5", "3 1/2"),
    ("2500000", "2.5 million"),
    ("50", "50%"),
    ("50%", r"50\%"),
    # Digits and golds in other forms
    ("009", "009"),
    ("009", "9"),
    ("25", "025"),
    ("６", "6"),
    ("6", "６"),
    ("15", "١٥"),
    ("2", "②"),
    ("12,500", "12500"),
    ("$12,500", "12500 dollars"),
    ("5 ", " 5"),
    (5, "5"),
    (-4, f"{MINUS}4"),
    (4.5, "4.50"),
    (7.0, "7"),
    (1e22, "10000000000000000000000"),
    # What stands around a number
    ("12", "**12**"),
    ("12", r"\(12\)"),
    ("12", r"$\boxed{12 \text{ apples}}$ in 2 bags"),
    ("12", "Answer:\n\n12"),
    ("12", "3 x 4 = 12"),
    ("12", "12 cm²"),
    ("12", r"12\ \text{m}^2"),
    ("12", "12 m2 of CO2"),
    ("12", "12 g of H₂O"),
    ("12", "USD12"),
    ("12", "12!"),
    ("3", "3조각"),
    ("4", "정답: 4월"),
    # Texts
    ("Busan", "busan."),
    ("Busan", r"\boxed{\text{Busan}}"),
    (" yes ", "Yes"),
    ("바다", unicodedata.normalize("NFD", "정답은 바다입니다")),
    (unicodedata.normalize("NFD", "바다"), "바다"),
    ("don't", f"Don{APOSTROPHE}t"),
    ("2025-03-11", "2025-03-11"),
    ("2025-03-11", f"2025{EN_DASH}03{EN_DASH}11"),
    ("12:30", "12:30"),
    ("1만 2천", "1만 2천입니다"),
    ("답장", "답장"),
    ("H2O", "H₂O"),
    ("1번", "①번"),
    ("A*", "A*"),
    ("?", "?"),
    (True, "true"),
    # Several right answers
    (["12", "twelve"], "Twelve."),
    (["12", "twelve"], "12.0"),
    (["UK", "United Kingdom"], "united kingdom"),
    ([4, 5], "5"),
    ([4, "four"], "4"),
]
WRONG: list[tuple[object, str]] = [
    ("500", "9{,}500"),
    ("500", r"9\,500"),
    ("500", "9 500"),
    ("0", r"\boxed{8,000}"),
    ("2", "2{,}400"),
    ("4", f"{MINUS}4"),
    ("8", f"{EN_DASH}8"),
    ("5", "-$5"),
    ("5", "minus 5"),
    ("5", "-**5**"),
    ("5", "-(5)"),
    ("5", r"-\boxed{5}"),
    ("5", "답은-5입니다"),
    ("5", "= - 5"),
    ("-5", "5"),
    ("-5", "3-5"),
    ("5", f"3{EN_DASH}5"),
    ("3", f"3{EN_DASH}5"),
    ("-5", "total—5"),
    ("-6", "2 - 6"),
    ("6", "2 - 6"),
    ("5", "1.5"),
    ("5", "1,5"),
    ("15", "1,5"),
    ("2", "1/2"),
    ("1", "1/2"),
    ("12", "1/2"),
    ("2", "½"),
    ("3", "3½"),
    ("0.5", "3 1/2"),
    ("2", r"\frac{1}{2}"),
    ("2", r"\frac{x}{2}"),
    ("102", "10²"),
    ("1012", "101₂"),
    ("112", "①12"),
    ("1", "①12"),
    ("2", "10²"),
    ("10", "2^10"),
    ("2", "12 m²"),
    ("2", "cm2"),
    ("16", r"\sqrt{16}"),
    ("2", r"2\pi"),
    ("30", "12:30"),
    ("11", "2025-03-11"),
    ("2025", "2025-03-11"),
    ("13", "12 or 13"),
    ("12", "12 or 13"),
    ("4", "3 x 4"),
    ("5", "±5"),
    ("2", "1만 2천"),
    ("1", "1만 2천"),
    ("500", "1만 500원"),
    ("5", "5k"),
    ("3", "3 million"),
    ("3", "1,2,3"),
    ("1", "1e3"),
    ("3", "1e3"),
    ("50", "0.5"),
    ("9", "0.09"),
    ("0.5", "5"),
    ("1", "1.2.3"),
    ("3", "1.2.3"),
    ("1/2", "2/1"),
    (4.5, "45"),
    (-4, "4"),
    ("답장", "장"),
    ("아이다", "아"),
    ("A*", "A"),
    ("C#", "C"),
    ("?", "!"),
    ("one\ntwo", "one\nthree"),
    (None, "None"),
    ("2025-03-11", "11"),
    ("12:30", "30"),
    (["12", "13"], "12 or 13"),
    ([4, 5], "-4"),
]


@pytest.mark.parametrize(("gold", "response"), RIGHT)
def test_a_right_answer_is_right_as_people_write_it(gold: object, response: str) -> None:
    assert is_right(gold, response), judged(gold, response)


@pytest.mark.parametrize(("gold", "response"), WRONG)
def test_a_wrong_answer_is_right_in_no_notation(gold: object, response: str) -> None:
    assert not is_right(gold, response), judged(gold, response)


@pytest.mark.parametrize("gold", [gold for gold, _ in RIGHT])
def test_each_gold_is_right_for_itself(gold: object) -> None:
    for one in gold if isinstance(gold, list) else [gold]:
        assert is_right(gold, str(one))


def grouped(separator: str, size: int = 3, point: str = ".") -> Callable[[str, str], str]:
    """Write whole and fraction with a separator; after the first three digits in groups of ``size``."""

    def write(whole: str, fraction: str) -> str:
        first, rest = whole[-3:], whole[:-3]
        groups = re.findall(rf"\d{{1,{size}}}", rest[::-1])
        return separator.join([*(group[::-1] for group in reversed(groups)), first]) + (point + fraction) * bool(
            fraction
        )

    return write


def in_digits(zero: str) -> Callable[[str, str], str]:
    table = {ord("0") + digit: chr(ord(zero) + digit) for digit in range(10)}
    return lambda whole, fraction: plain(whole, fraction).translate(table)


def plain(whole: str, fraction: str) -> str:
    return f"{whole}.{fraction}" if fraction else whole


def comma(whole: str, fraction: str) -> str:
    # "1,234" and "1.234" alone are a thousand and a fraction: a comma is a point only where it can be nothing else.
    many = len(whole) > 6 or (len(whole) > 3 and fraction)
    return grouped(".", point=",")(whole, fraction) if many else whole + (f",{fraction}0000" if fraction else "")


def blanks_and_comma(whole: str, fraction: str) -> str:
    return grouped(" ", point=",")(whole, fraction + "0" if fraction and len(fraction) > 2 else fraction)


def fraction_of(whole: str, fraction: str) -> str:
    return f"{int(whole + fraction)}/{10 ** len(fraction)}"


def padded(whole: str, fraction: str) -> str:
    return f"00{whole}.{fraction}00"


NOTATIONS: list[Callable[[str, str], str]] = [
    plain, padded, comma, fraction_of, grouped(","), grouped("{,}"), grouped("\\,"), grouped("\u00a0"),
    grouped("\u202f"), grouped("\u2009"), grouped(" "), grouped("'"), grouped(APOSTROPHE), grouped("_"),
    grouped(",", size=2), blanks_and_comma, in_digits("\uff10"), in_digits("\u0660"), in_digits("\u0966"),
    lambda whole, fraction: f"{int(whole + fraction)}e-{len(fraction)}",
]  # fmt: skip
SIGNS = ["-", MINUS, EN_DASH, "\N{HYPHEN}", "\N{NON-BREAKING HYPHEN}", "\N{FULLWIDTH HYPHEN-MINUS}"]
FRAMES = [
    "{}",
    " {}.",
    "**{}**",
    r"\boxed{{{}}}",
    "${}$",
    "The answer is {}",
    "3 + 4 = {}",
    "답은 {}입니다",
    "{} apples.",
]

numbers = st.integers(-(10**12), 10**12) | st.decimals(-(10**7), 10**7, places=3) | st.integers(-20, 20)
notations = st.sampled_from(NOTATIONS)
signs = st.sampled_from(SIGNS)


def written(number: int | Decimal, notation: Callable[[str, str], str], sign: str) -> str:
    whole, _, fraction = f"{abs(number):f}".partition(".")
    return (sign if number < 0 else "") + notation(whole, fraction.rstrip("0"))


@given(numbers, notations, signs, notations, signs, st.sampled_from(FRAMES))
def test_any_number_is_itself_in_any_notation(
    number: int | Decimal,
    gold: Callable[[str, str], str],
    gold_sign: str,
    said: Callable[[str, str], str],
    sign: str,
    frame: str,
) -> None:
    assert is_right(written(number, gold, gold_sign), frame.format(written(number, said, sign)))
    assert is_right(float(number), frame.format(written(number, said, sign)))


@given(numbers, numbers, notations, notations, signs, st.sampled_from(FRAMES))
def test_another_number_is_never_right(
    number: int | Decimal,
    other: int | Decimal,
    gold: Callable[[str, str], str],
    said: Callable[[str, str], str],
    sign: str,
    frame: str,
) -> None:
    near = [other, -number, number * 10, number * 1000, number + 1, number % 1000, int(number)]
    for each in near:
        if each != number:
            assert not is_right(written(number, gold, "-"), frame.format(written(each, said, sign)))


pieces = st.sampled_from([*"0123456789.,'’-−– /^²½①₂$%{}()*:eExkA만", "\\boxed{", "\\frac{1}", "{,}", " or "])
scribbles = st.text() | st.lists(pieces).map("".join)


@given(scribbles)
def test_any_answer_of_one_line_is_right_for_itself(gold: str) -> None:
    if len(gold.strip().splitlines()) == 1:
        assert is_right(gold, gold)


@given(scribbles)
def test_the_number_that_was_read_is_read_as_itself(response: str) -> None:
    read = utils.normal_form(response, number=True)
    assert utils.normal_form(read, number=True) == read


def test_json_keeps_what_the_filter_gives() -> None:
    assert json.dumps([judged([4, 5], "5"), judged("5", "5"), judged(4.5, "4.50")]) == '[5, "5", "4.5"]'
