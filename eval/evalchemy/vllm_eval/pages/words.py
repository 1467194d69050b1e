"""Our own words on the pages, in English and Korean.

The English text is the key, as in gettext; values stand in braces. What a model,
a task or a failure says is never translated: names, answers, errors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SCRIPT: Final = Path(__file__).with_name("run.js")
_USED: Final = re.compile(r'\bt\(\s*"((?:[^"\\]|\\.)*)"')

KOREAN: Final[Mapping[str, str]] = {
    # verdicts
    "worse": "나빠짐",
    "better": "좋아짐",
    "same": "변화 없음",
    "inconclusive": "판단 불가",
    "no baseline": "기준선 없음",
    "failed": "실패",
    # the index
    "vllm-eval: models and runs": "vllm-eval: 모델과 실행",
    "The last runs of every model, newest first. A task is shown as verdict, name and score.": (
        "모델마다 최근 실행을 새것부터 보여 줍니다. 태스크는 판정, 이름, 점수로 표시합니다."
    ),
    "Stack {name}": "스택 {name}",
    "tasks": "태스크",
    "and {count} more": "외 {count}개",
    # the head of a run
    "Skip to the answers": "답으로 건너뛰기",
    "No task was evaluated": "평가된 태스크가 없습니다",
    "{count} of {all} tasks became worse": "태스크 {all}개 중 {count}개가 나빠졌습니다",
    "{count} of {all} tasks have no score": "태스크 {all}개 중 {count}개에 점수가 없습니다",
    "{count} of {all} tasks cannot be told from chance": "태스크 {all}개 중 {count}개는 우연과 구별되지 않습니다",
    "{count} of {all} tasks have nothing to be compared with": "태스크 {all}개 중 {count}개는 비교할 대상이 없습니다",
    "{count} of {all} tasks became better": "태스크 {all}개 중 {count}개가 좋아졌습니다",
    "{count} of {all} tasks show no sign of a drop": "태스크 {all}개 중 {count}개에서 하락의 징후가 없습니다",
    "{task} became worse: {score} against {mean} of the baseline": "{task} 점수가 나빠졌습니다: {score}, 기준선 {mean}",
    "{task} became better: {score} against {mean} of the baseline": (
        "{task} 점수가 좋아졌습니다: {score}, 기준선 {mean}"
    ),
    "{task} shows no sign of a drop: {score} against {mean} of the baseline": (
        "{task} 점수에 하락의 징후가 없습니다: {score}, 기준선 {mean}"
    ),
    "{task} cannot be told from chance: {score} against {mean} of the baseline": (
        "{task} 점수는 우연과 구별되지 않습니다: {score}, 기준선 {mean}"
    ),
    "{task} has {score}, and nothing to compare it with": "{task} 점수는 {score}이며, 비교할 대상이 없습니다",
    "{task} has no score: {why}": "{task} 점수가 없습니다: {why}",
    "it did not end": "실행이 끝나지 않았습니다",
    "no score": "점수 없음",
    "none": "없음",
    # scores
    "Scores": "점수",
    "task": "태스크",
    "score": "점수",
    "95 % interval, 0 to 1": "95 % 신뢰 구간(0~1)",
    "95 % interval": "95 % 신뢰 구간",
    ", 95 % interval {low} to {high}": ", 95 % 신뢰 구간 {low}~{high}",
    "baseline": "기준선",
    "verdict": "판정",
    "items": "항목 수",
    "became wrong / right": "틀리게 / 맞게 바뀜",
    "{count} wrong": "틀림 {count}",
    "no single answers": "개별 답 없음",
    "Fell most: {tasks}.": "가장 많이 떨어진 태스크: {tasks}.",
    "{empty} empty, {cut} cut at the token limit.": "빈 답 {empty}개, 토큰 한도에서 잘린 답 {cut}개.",
    "{count} tasks of {name}, those that lost most first": "{name}의 하위 태스크 {count}개, 많이 떨어진 순",
    "change": "변화",
    "bar: interval · dot: score · dashed line: baseline": "막대: 신뢰 구간 · 점: 점수 · 점선: 기준선",
    # why a verdict is what it is (`vllm_eval/reasons.py`)
    "{score:.4g} against {mean:.4g} of 1 baseline run": "{score:.4g}, 기준선 실행 1번에서는 {mean:.4g}",
    "{score:.4g} against {mean:.4g} of {runs} baseline runs": "{score:.4g}, 기준선 실행 {runs}번의 평균은 {mean:.4g}",
    "{items} items": "항목 {items}개",
    "{items} items x {answers} answers": "항목 {items}개에 답 {answers}개씩",
    "p = {p_value:.2g}, level {level:.2g}": "p = {p_value:.2g}, 유의 수준 {level:.2g}",
    "more than {drop:g} % below the baseline, and not by chance": (
        "기준선보다 {drop:g} % 넘게 낮고, 우연으로 볼 수 없습니다"
    ),
    "above the baseline, and not by chance": "기준선보다 높고, 우연으로 볼 수 없습니다",
    "the baseline has too few right answers for any drop to be told from chance": (
        "기준선에 맞은 답이 너무 적어 어떤 하락도 우연과 구별할 수 없습니다"
    ),
    "more than {drop:g} % below the baseline, but it may be chance; more items would tell": (
        "기준선보다 {drop:g} % 넘게 낮지만 우연일 수 있습니다. 항목이 더 많아야 알 수 있습니다"
    ),
    "below the baseline, but not by more than {drop:g} %": "기준선보다 낮지만, 하락 폭이 {drop:g} % 이내입니다",
    "no sign of a drop": "하락의 징후가 없습니다",
    "there is no earlier run of this task": "이 태스크의 이전 실행이 없습니다",
    "the task is not the one of the baseline (its text, data, limit, the API or the model's generation settings "
    "changed); accept a new baseline": (
        "태스크가 기준선의 것과 다릅니다(내용, 데이터, limit, API 또는 모델의 생성 설정이 바뀌었습니다). "
        "새 기준선을 받아들이십시오"
    ),
    "the engine is {engine}, the baseline's {before}, and prompts differ between versions; accept a new baseline": (
        "엔진은 {engine}, 기준선의 엔진은 {before}이며, 버전마다 프롬프트가 다릅니다. 새 기준선을 받아들이십시오"
    ),
    "the data changed: {data}; a new baseline begins with this run": (
        "데이터가 바뀌었습니다: {data}. 이 실행부터 새 기준선이 시작됩니다"
    ),
    "the data changed: other tasks have it; a new baseline begins with this run": (
        "데이터가 바뀌었습니다: 하위 태스크 구성이 다릅니다. 이 실행부터 새 기준선이 시작됩니다"
    ),
    "{score:.4g} against {mean:.4g}: the score is the mean of its leaves' means, which can be tested only on the same "
    "items, each right or wrong": (
        "{score:.4g}, 기준선은 {mean:.4g}: 하위 태스크별 평균의 평균인 점수는, 양쪽에 같은 항목이 있고 항목마다 맞음과 "
        "틀림이 분명할 때만 검정할 수 있습니다"
    ),
    # answers
    "Answers": "답",
    "The answers need JavaScript, which this browser has turned off.": (
        "답을 보려면 JavaScript가 필요하지만, 이 브라우저에서는 꺼져 있습니다."
    ),
    "which items": "표시할 항목",
    "search": "검색",
    "in questions, targets and answers  ( / )": "질문, 정답, 답에서 찾기  ( / )",
    "items; arrow keys move": "항목 목록. 방향키로 이동",
    "the chosen item": "선택한 항목",
    "became wrong": "틀리게 바뀜",
    "became right": "맞게 바뀜",
    "other answer": "다른 답",
    "wrong": "틀림",
    "right": "맞음",
    "cut": "잘림",
    "empty": "빈 답",
    "all": "전체",
    "{found} of {all} items": "전체 {all}개 중 {found}개",
    "show all {count} characters": "전체 {count}자 보기",
    "cut at the token limit": "토큰 한도에서 잘림",
    "value": "값",
    "thoughts ({count} characters)": "생각({count}자)",
    "judged as": "채점한 값:",
    "No item is left by this filter and search.": "이 필터와 검색에 맞는 항목이 없습니다.",
    "right in {right} of the {runs} runs of the baseline": "기준선의 실행 {runs}번 중 {right}번 맞음",
    "target": "정답",
    "prompt": "프롬프트",
    "before ({run})": "이전({run})",
    "this run": "이번 실행",
    "The other run does not have this item.": "비교 대상 실행에는 이 항목이 없습니다.",
    "No single answers are stored for this run.": "이 실행에는 개별 답이 저장되어 있지 않습니다.",
    "\n… [cut here: {count} characters in all; the samples file has the whole text]": (
        "\n… [여기서 자름: 전체 {count}자. 전체 글은 samples 파일에 있음]"
    ),
    # history
    "History": "이력",
    "No run of this model has a score yet.": "이 모델에는 아직 점수가 있는 실행이 없습니다.",
    "Larger mark: this run. Whiskers: 95 % interval. Dashed line: baseline of this run.": (
        "큰 표시: 이번 실행. 세로선: 95 % 신뢰 구간. 점선: 이번 실행의 기준선."
    ),
    "history of {task}, {count} runs": "{task}의 이력, 실행 {count}번",
    # facts
    "Facts of the run": "실행 정보",
    "Tasks: engines and hashes": "태스크별 엔진과 해시",
    "model": "모델",
    "tag": "태그",
    "asked for": "요청한 이름",
    "answered as": "응답한 이름",
    "endpoint": "엔드포인트",
    "stack": "스택",
    "run": "실행",
    "commit": "커밋",
    "engine": "엔진",
    "started": "시작",
    "ended": "종료",
    "not ended": "끝나지 않음",
    "duration": "소요 시간",
    "{count} s": "{count}초",
    "speed": "속도",
    "{count} requests/s": "초당 요청 {count}개",
    "tokens": "토큰",
    "{count} a second": "초당 {count}개",
    "requests": "요청",
    "{asked} asked, {kept} taken over, {retries} retries": "요청 {asked}개, 이어받음 {kept}개, 재시도 {retries}번",
    "failure": "실패 원인",
    "each item asked {count} times": "항목마다 {count}번 질문",
    "{count} of {all} answers after a thought": "답 {all}개 중 {count}개가 생각을 거침",
    "{count} tokens a thought": "생각당 토큰 {count}개",
    "{count} never stopped thinking": "생각을 끝내지 못한 답 {count}개",
    "{count} tokens an answer": "답당 토큰 {count}개",
    "a request": "요청",
    "the first token": "첫 토큰",
    "each further": "이후 토큰",
    "{what} {p50} s, one of 100 {p99} s": "{what} {p50}초, 100개 중 하나는 {p99}초",
}


@dataclass(frozen=True)
class Words:
    """The words of one language, ``en`` or ``ko``."""

    language: str = "en"

    def __call__(self, text: str, **values: object) -> str:
        """Return an English text in the language, with its values filled in; without values it stays a template."""
        said = KOREAN[text] if self.language == "ko" else text
        return said.format(**values) if values else said

    def verdict(self, name: str) -> str:
        """Return the word of a verdict."""
        return self(name.replace("_", " "))

    def of_script(self) -> dict[str, str]:
        """Return what the page's script needs; nothing in English, which is what the script itself says."""
        used = _USED.findall(_SCRIPT.read_text(encoding="utf-8"))
        return {text: self(text) for text in dict.fromkeys(used)} if self.language != "en" else {}


ENGLISH: Final = Words()
LANGUAGES: Final = ("en", "ko")
