"""Short questions in Korean: arithmetic, counting, word order, comparison, calendar."""

from collections.abc import Callable

from draw import LEVELS, Draw, Item, Level

NAMES = ("민수", "지영", "서준", "하은", "도윤", "수아", "현우", "예진", "준호", "유나")
# A noun and the word that counts it.
THINGS = (("사과", "개"), ("연필", "자루"), ("공책", "권"), ("구슬", "개"), ("장미", "송이"), ("색종이", "장"),
          ("귤", "개"), ("동화책", "권"), ("사탕", "개"), ("엽서", "장"))  # fmt: skip
WORDS = (
    "나무", "바다", "하늘", "구름", "사자", "고양이", "우산", "책상",
    "기차", "무지개", "자전거", "도서관", "냉장고", "운동장", "해바라기", "고구마",
    "토끼", "파도", "호수", "거북이", "다람쥐", "빗자루", "코끼리", "두루미",
)  # fmt: skip
WEEKDAYS = ("월요일", "화요일", "수요일", "목요일", "금요일", "토요일", "일요일")
ORDINALS = ("첫", "두", "세", "네", "다섯")
# Whether a digit's Sino-Korean name ends in a consonant (영 일 이 삼 사 오 육 칠 팔 구); a ten, 십, does.
DIGIT_ENDS_IN_CONSONANT = (True, True, False, True, False, False, True, True, True, False)


def particle(word: str | int, after_consonant: str, after_vowel: str) -> str:
    """Return ``word`` with the particle that its last sound asks for."""
    text = str(word)
    last = text[-1]
    closed = DIGIT_ENDS_IN_CONSONANT[int(last)] if last.isdigit() else (ord(last) - ord("가")) % 28 != 0
    return text + (after_consonant if closed else after_vowel)


def plus(draw: Draw, level: Level) -> tuple[str, str]:
    """Add."""
    a, b = draw.number(2, level.term), draw.number(2, level.term)
    return f"{a} 더하기 {particle(b, '은', '는')} 얼마입니까?", str(a + b)


def minus(draw: Draw, level: Level) -> tuple[str, str]:
    """Subtract."""
    b = draw.number(2, level.term)
    a = b + draw.number(2, level.term)
    return f"{a} 빼기 {particle(b, '은', '는')} 얼마입니까?", str(a - b)


def times(draw: Draw, level: Level) -> tuple[str, str]:
    """Multiply."""
    a, b = draw.number(2, level.factor), draw.number(2, level.factor + 3)
    return f"{a} 곱하기 {particle(b, '은', '는')} 얼마입니까?", str(a * b)


def left(draw: Draw, level: Level) -> tuple[str, str]:
    """Subtract in a story."""
    name, (thing, unit), b = draw.one(NAMES), draw.one(THINGS), draw.number(2, level.term)
    a = b + draw.number(2, level.term)
    question = f"{particle(name, '은', '는')} {particle(thing, '을', '를')} {a}{unit} 가지고 있었습니다. "
    question += f"친구에게 {b}{unit} 주었습니다. "
    return question + f"남은 {particle(thing, '은', '는')} 몇 {unit}입니까?", str(a - b)


def more(draw: Draw, level: Level) -> tuple[str, str]:
    """Add in a story."""
    name, (thing, unit), a, b = (
        draw.one(NAMES),
        draw.one(THINGS),
        draw.number(2, level.term),
        draw.number(2, level.term),
    )
    question = f"{particle(name, '은', '는')} {particle(thing, '을', '를')} 어제 {a}{unit}, 오늘 {b}{unit} 샀습니다. "
    return question + f"모두 몇 {unit}입니까?", str(a + b)


def boxes(draw: Draw, level: Level) -> tuple[str, str]:
    """Multiply in a story."""
    (thing, unit), a, b = draw.one(THINGS), draw.number(2, level.factor), draw.number(2, level.factor)
    question = f"한 상자에 {particle(thing, '이', '가')} {a}{unit}씩 들어 있습니다. "
    return question + f"상자 {b}개에는 {particle(thing, '이', '가')} 모두 몇 {unit} 있습니까?", str(a * b)


def syllables(draw: Draw, level: Level) -> tuple[str, str]:
    """Count the syllables of words written together."""
    word = "".join(draw.some(WORDS, min(level.rank, 3)))
    return f"'{word}'에는 글자가 모두 몇 개 있습니까?", str(len(word))


def count_words(draw: Draw, level: Level) -> tuple[str, str]:
    """Count the words of a list."""
    words = draw.some(WORDS, draw.number(2, 2 + 2 * level.rank))
    return f"다음에는 낱말이 몇 개 있습니까? {', '.join(words)}", str(len(words))


def repeats(draw: Draw, level: Level) -> tuple[str, str]:
    """Count how often a word occurs."""
    one, other = draw.some(WORDS, 2)
    row = [one] * draw.number(1, 1 + level.rank) + [other] * draw.number(1, level.rank)
    row = draw.some(row, len(row))
    return f"다음에서 '{particle_quote(one)} 몇 번 나옵니까? {', '.join(row)}", str(row.count(one))


def particle_quote(word: str) -> str:
    """Close the quotation and add the subject particle."""
    return f"{word}'{particle(word, '이', '가')[len(word) :]}"


def nth_word(draw: Draw, level: Level) -> tuple[str, str]:
    """Name the word at a place."""
    words = draw.some(WORDS, 1 + level.rank)
    place = draw.number(0, level.rank)
    return f"다음에서 {ORDINALS[place]} 번째 낱말은 무엇입니까? {', '.join(words)}", words[place]


def last_word(draw: Draw, level: Level) -> tuple[str, str]:
    """Name the last word."""
    words = draw.some(WORDS, 2 + level.rank)
    return f"다음에서 마지막 낱말은 무엇입니까? {', '.join(words)}", words[-1]


def dictionary(draw: Draw, level: Level) -> tuple[str, str]:
    """Name the word that a dictionary has first: the code points of Hangul syllables are in that order."""
    words = draw.some(WORDS, 1 + level.rank)
    return f"다음에서 가나다순으로 가장 앞에 오는 낱말은 무엇입니까? {', '.join(words)}", min(words)


def largest(draw: Draw, level: Level) -> tuple[str, str]:
    """Compare three numbers."""
    numbers = draw.numbers(1, 10**level.rank - 1, 3)
    return f"다음에서 가장 큰 수는 무엇입니까? {', '.join(map(str, numbers))}", str(max(numbers))


def smallest(draw: Draw, level: Level) -> tuple[str, str]:
    """Compare four numbers."""
    numbers = draw.numbers(1, 10**level.rank - 1, 4)
    return f"다음에서 가장 작은 수는 무엇입니까? {', '.join(map(str, numbers))}", str(min(numbers))


def weekday(draw: Draw, level: Level) -> tuple[str, str]:
    """Count days on."""
    day, days = draw.number(0, 6), draw.number(1, level.factor * 2)
    return f"오늘은 {WEEKDAYS[day]}입니다. {days}일 뒤는 무슨 요일입니까?", WEEKDAYS[(day + days) % 7]


def sequence(draw: Draw, level: Level) -> tuple[str, str]:
    """Continue an arithmetic sequence."""
    start, step = draw.number(1, level.term), draw.number(1, level.factor)
    row = ", ".join(str(start + step * place) for place in range(4))
    return f"다음 수의 규칙을 보고 이어질 수를 쓰십시오. {row}", str(start + step * 4)


TEMPLATES: tuple[Callable[[Draw, Level], tuple[str, str]], ...] = (
    plus, minus, times, left, more, boxes, syllables, count_words,
    repeats, nth_word, last_word, dictionary, largest, smallest, weekday, sequence,
)  # fmt: skip


def korean_item(draw: Draw, number: int) -> Item:
    """Make the item ``number``; the templates take turns, and after a round of them the levels."""
    template = TEMPLATES[number % len(TEMPLATES)]
    question, answer = template(draw, LEVELS[number // len(TEMPLATES) % len(LEVELS)])
    return Item(kind=template.__name__, question=question, answer=answer)
