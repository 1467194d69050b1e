"""The two tasks that are shipped: their items, the normal form of an answer, and lm_eval itself running them."""

import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.workspace import EVAL, TASKS, Workspace, shipped_items, task_utils
from vllm_eval.errors import TaskError

NTH = ("첫", "두", "세", "네", "다섯")
DAYS = "월화수목금토일"
SINO_KOREAN = "영일이삼사오육칠팔구"
utils = task_utils()


@pytest.mark.parametrize("task", TASKS)
def test_items_are_500_with_stable_ids_and_no_question_twice(task: str) -> None:
    rows = shipped_items(task)
    assert [row["id"] for row in rows] == [f"{task}-{number:04d}" for number in range(1, 501)]
    assert len({row["question"] for row in rows}) == 500
    assert {tuple(row) for row in rows} == {("id", "kind", "question", "answer")}


@pytest.mark.parametrize("task", TASKS)
def test_any_first_items_are_a_fair_sample(task: str) -> None:
    """A run with a limit takes the first: every kind in every round, all levels in four rounds."""
    rows = shipped_items(task)
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    assert [row["kind"] for row in rows] == [kinds[number % len(kinds)] for number in range(500)]
    assert len(kinds) >= 16
    easiest = {"custom_task_1": "gain", "custom_task_2": "plus"}[task]
    largest = [0] * 4
    for place, row in enumerate(rows):
        if row["kind"] == easiest:
            level = place // len(kinds) % 4
            largest[level] = max(largest[level], *(int(number) for number in re.findall(r"\d+", row["question"])))
    assert [above <= most for above, most in zip(largest, (6, 12, 50, 99), strict=True)] == [True] * 4
    assert largest == sorted(set(largest))


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_short(task: str) -> None:
    """The few-shot part is 400 characters of English, 200 of Korean, at most: 150 tokens with the longest question."""
    longest = {"custom_task_1": 165, "custom_task_2": 75}
    assert max(len(row["question"]) for row in shipped_items(task)) <= longest[task]


# What each kind of question asks for, from the numbers in it: written from the questions, not from the generator.
ENGLISH: dict[str, Callable[..., float]] = {
    "gain": lambda a, b: a + b,
    "loss": lambda a, b: a - b,
    "gain_and_loss": lambda a, b, c: a + b - c,
    "groups": lambda a, b: a * b,
    "share": lambda people, total: total / people,
    "left_over": lambda total, size: total % size,
    "prices": lambda a, b, m, n: a * m + b * n,
    "change": lambda count, price, paid: paid - count * price,
    "ages": lambda young, gap, years: young + gap + years,
    "together": lambda base, times: base + base * times,
    "ride": lambda h, m, hh, mm: (hh - h) * 60 + mm - m,
    "perimeter": lambda length, width: 2 * length + 2 * width,
    "saving": lambda start, week, weeks: start + week * weeks,
    "journey": lambda a, fast, b, slow: a * fast + b * slow,
    "mean": lambda a, b, c: (a + b + c) / 3,
    "seats": lambda rows, each, taken: rows * each - taken,
    "two_baskets": lambda a, b: a + b,
    "difference": lambda a, b: a - b,
    "tickets": lambda price, count: price * count,
    "twice": lambda a: 2 * a,
}


def test_english_answers_are_right() -> None:
    for row in shipped_items("custom_task_1"):
        numbers = [int(number) for number in re.findall(r"\d+", row["question"])]
        answer = ENGLISH[row["kind"]](*numbers)
        assert answer > 0, row
        assert answer == int(answer), row
        assert row["answer"] == str(int(answer)), row


@dataclass(frozen=True)
class Korean:
    """What a Korean question is made of: the numbers, the words after the question mark, the words in quotes."""

    text: str

    @property
    def numbers(self) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", self.text)]

    @property
    def listed(self) -> list[str]:
        return self.text.rpartition("? ")[2].split(", ")

    @property
    def quoted(self) -> str:
        return self.text.split("'")[1]


def nth(question: Korean) -> str:
    return question.listed[next(place for place, word in enumerate(NTH) if f" {word} 번째" in question.text)]


def weekday(question: Korean) -> str:
    today = DAYS.index(question.text[question.text.index("요일") - 1])
    return DAYS[(today + question.numbers[0]) % 7] + "요일"


KOREAN: dict[str, Callable[[Korean], str | int]] = {
    "plus": lambda q: sum(q.numbers),
    "minus": lambda q: q.numbers[0] - q.numbers[1],
    "times": lambda q: q.numbers[0] * q.numbers[1],
    "left": lambda q: q.numbers[0] - q.numbers[1],
    "more": lambda q: sum(q.numbers),
    "boxes": lambda q: q.numbers[0] * q.numbers[1],
    "syllables": lambda q: len(q.quoted),
    "count_words": lambda q: len(q.listed),
    "repeats": lambda q: q.listed.count(q.quoted),
    "nth_word": nth,
    "last_word": lambda q: q.listed[-1],
    "dictionary": lambda q: min(q.listed, key=lambda word: unicodedata.normalize("NFD", word)),
    "largest": lambda q: max(q.numbers),
    "smallest": lambda q: min(q.numbers),
    "weekday": weekday,
    "sequence": lambda q: 2 * q.numbers[-1] - q.numbers[-2],
}


def test_korean_answers_are_right() -> None:
    for row in shipped_items("custom_task_2"):
        answer = KOREAN[row["kind"]](Korean(row["question"]))
        assert row["answer"] == str(answer), row
        assert answer != 0, row


def test_korean_particles_fit_the_sound_before_them() -> None:
    """은/는, 이/가 and 을/를 after every word and number that the templates fill in."""
    words = {
        word
        for row in shipped_items("custom_task_2")
        for word in re.findall(r"[가-힣]{2,}(?=(?:, |$))", row["question"])
    }
    things = {"사과", "연필", "공책", "구슬", "장미", "색종이", "귤", "동화책", "사탕", "엽서"}
    names = {"민수", "지영", "서준", "하은", "도윤", "수아", "현우", "예진", "준호", "유나"}
    found = Counter[str]()
    pattern = re.compile(
        rf"({'|'.join(sorted(words | things | names, key=len, reverse=True))}|\d)'?([은는이가을를])(?= )"
    )
    for row in shipped_items("custom_task_2"):
        for before, particle in pattern.findall(row["question"]):
            sound = SINO_KOREAN[int(before)] if before.isdigit() and before != "0" else before.replace("0", "십")
            closed = "\u11a8" <= unicodedata.normalize("NFD", sound)[-1] <= "\u11ff"
            assert particle in ("은이을" if closed else "는가를"), row["question"]
            found[particle] += 1
    assert set(found) == set("은는이가을를")
    assert sum(found.values()) > 250


@pytest.mark.parametrize("task", TASKS)
def test_every_right_answer_is_in_normal_form(task: str) -> None:
    for row in shipped_items(task):
        number = row["answer"].isdigit()
        assert utils.normal_form(row["answer"], number=number) == row["answer"]
        assert utils.normal_form(f" {row['answer']}.\n\nQuestion: 1", number=number) == row["answer"]


@pytest.mark.parametrize(
    ("response", "wanted"),
    [
        (" 4 + 3 = 7", "7"),
        ("7", "7"),
        ("\n\n 7 apples.\nQuestion: 9", "7"),
        ("The answer is 1,234.", "1234"),
        ("12,345,678", "12345678"),
        ("1, 2, 3", "3"),
        ("007", "7"),
        ("7.0", "7"),
        ("7.50 dollars", "7.5"),
        ("= -7", "-7"),
        ("50-32", ""),
        ("-0", "0"),
        ("\uff13\uff17", "37"),
        ("37개입니다", "37"),
        ("정답: 4월", "4"),
        ("seven", ""),
        ("", ""),
    ],
)
def test_a_number_is_the_last_of_the_first_line(response: str, wanted: str) -> None:
    assert utils.normal_form(response, number=True) == wanted


@pytest.mark.parametrize(
    ("response", "wanted"),
    [
        (" 바다", "바다"),
        ("\n'바다'입니다.\n질문: 1", "바다"),
        ("정답은 「바다」이에요!", "바다"),
        ("답: 화요일", "화요일"),
        ("바다예요", "바다"),
        (unicodedata.normalize("NFD", "바다"), "바다"),
        ("**바다**", "바다"),
        ("Answer:  Blue   Sky.", "blue sky"),
        ("바다, 하늘", "바다, 하늘"),
        ("", ""),
    ],
)
def test_text_loses_what_is_around_it(response: str, wanted: str) -> None:
    assert utils.normal_form(response, number=False) == wanted


@given(st.text(), st.booleans())
def test_any_response_has_a_normal_form_of_one_line(response: str, number: bool) -> None:
    result = utils.normal_form(response, number=number)
    assert len(result.splitlines()) <= 1
    assert not number or re.fullmatch(r"(-?\d+(\.\d+|/\d+)?)?", result)


def test_items_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = utils.load_items({"test": "../data/custom_task_1.jsonl"}, version=1.0)
    assert loaded["test"].to_list() == shipped_items("custom_task_1")
    (tmp_path / "a.jsonl").write_text('{"x": "\u2028"}\n\n{"x": "b"}\n', encoding="utf-8")
    several = utils.load_items({"test": [str(tmp_path / "a.jsonl"), str(tmp_path / "a.jsonl")]})
    assert several["test"]["x"][:] == ["\u2028", "b", "\u2028", "b"]


@pytest.mark.parametrize(
    ("line", "words"), [("{", "line 2: not JSON"), ("[1]", r"line 2: an item must be a JSON object, is \[1\]")]
)
def test_a_line_that_is_no_item_is_named(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"x": 1}}\n{line}\n')
    with pytest.raises(TaskError, match=words):
        utils.load_items({"test": str(tmp_path / "a.jsonl")})


def test_the_task_of_the_readme_is_valid(workspace: Workspace) -> None:
    """A YAML, a data file and a line, just as they are printed."""
    readme = (EVAL / "README.md").read_text(encoding="utf-8")
    data, config = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    (task,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    shutil.copy(EVAL / "tasks" / "utils.py", workspace.root / "tasks")
    (workspace.root / "data" / "capitals.jsonl").write_text(data, encoding="utf-8")
    (workspace.root / "tasks" / "capitals.yaml").write_text(task, encoding="utf-8")
    (workspace.root / "configs" / "eval_config.json").write_text(config, encoding="utf-8")
    assert workspace.run("validate") == 0
