"""Arithmetic word problems in English; every answer is a whole number."""

from collections.abc import Callable

from draw import LEVELS, Draw, Item, Level

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jonas", "Kate", "Leo",
         "Maria", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor")  # fmt: skip
THINGS = ("apples", "books", "buttons", "cards", "coins", "marbles", "pencils", "shells", "stamps", "stickers")
PACKED = ("eggs", "muffins", "oranges", "bottles", "candles", "light bulbs", "tennis balls")
PLACES = ("library", "museum", "theatre", "swimming pool", "zoo")
GOODS = ("pen", "notebook", "ruler", "eraser", "sticker sheet", "marker")


def gain(draw: Draw, level: Level) -> tuple[str, int]:
    """Add once."""
    name, thing, a, b = draw.one(NAMES), draw.one(THINGS), draw.number(2, level.term), draw.number(2, level.term)
    return f"{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?", a + b


def loss(draw: Draw, level: Level) -> tuple[str, int]:
    """Subtract once."""
    name, thing, b = draw.one(NAMES), draw.one(THINGS), draw.number(2, level.term)
    a = b + draw.number(2, level.term)
    return f"{name} has {a} {thing} and gives away {b} of them. How many {thing} are left?", a - b


def gain_and_loss(draw: Draw, level: Level) -> tuple[str, int]:
    """Add, then subtract."""
    name, thing, a, b = draw.one(NAMES), draw.one(THINGS), draw.number(2, level.term), draw.number(2, level.term)
    c = draw.number(2, a + b - 2)
    return (
        f"{name} has {a} {thing}, finds {b} more and then loses {c}. How many {thing} does {name} have now?",
        a + b - c,
    )


def groups(draw: Draw, level: Level) -> tuple[str, int]:
    """Multiply once."""
    a, b, thing = draw.number(2, level.factor), draw.number(2, level.factor), draw.one(THINGS)
    return f"There are {a} boxes with {b} {thing} in each box. How many {thing} are there in total?", a * b


def share(draw: Draw, level: Level) -> tuple[str, int]:
    """Divide without remainder."""
    people, each, thing = draw.number(2, level.factor), draw.number(2, level.factor), draw.one(THINGS)
    return f"{people} children share {people * each} {thing} equally. How many {thing} does each child get?", each


def left_over(draw: Draw, level: Level) -> tuple[str, int]:
    """Take the remainder."""
    size, thing = draw.number(4, level.factor + 1), draw.one(PACKED)
    total = size * draw.number(2, level.factor) + draw.number(2, size - 1)
    return f"{total} {thing} are packed into boxes of {size}. How many {thing} are left over?", total % size


def prices(draw: Draw, level: Level) -> tuple[str, int]:
    """Add two products."""
    (one, other), a, b = draw.some(GOODS, 2), draw.number(2, level.factor), draw.number(2, level.factor)
    m, n = draw.number(2, 5), draw.number(2, 5)
    article = "an" if one[0] in "aeiou" else "a"
    second = "an" if other[0] in "aeiou" else "a"
    question = f"{article.capitalize()} {one} costs {a} dollars and {second} {other} costs {b} dollars. "
    return question + f"How many dollars do {m} {one}s and {n} {other}s cost together?", a * m + b * n


def change(draw: Draw, level: Level) -> tuple[str, int]:
    """Subtract a product."""
    name, count, price, place = draw.one(NAMES), draw.number(2, 6), draw.number(2, level.factor), draw.one(PLACES)
    paid = (count * price // 10 + 1) * 10
    question = f"{name} buys {count} tickets for the {place} at {price} dollars each and pays with {paid} dollars. "
    return question + "How many dollars of change are due?", paid - count * price


def ages(draw: Draw, level: Level) -> tuple[str, int]:
    """Add two differences."""
    (old, young), age = draw.some(NAMES, 2), draw.number(3, level.factor * 2)
    gap, years = draw.number(2, level.factor), draw.number(2, level.factor)
    question = f"{young} is {age} years old. {old} is {gap} years older than {young}. "
    return question + f"How old will {old} be in {years} years?", age + gap + years


def together(draw: Draw, level: Level) -> tuple[str, int]:
    """Multiply and add."""
    (one, other), thing = draw.some(NAMES, 2), draw.one(THINGS)
    base, times = draw.number(2, level.factor), draw.number(2, 5)
    question = f"{other} has {base} {thing}. {one} has {times} times as many. "
    return question + f"How many {thing} do they have together?", base * (times + 1)


def ride(draw: Draw, level: Level) -> tuple[str, int]:
    """Subtract times of day."""
    hour, start, minutes = draw.number(7, 17), draw.number(1, 8) * 5, draw.number(2, level.factor) * 5
    end = hour * 60 + start + minutes
    question = f"A bus leaves at {hour}:{start:02d} and arrives at {end // 60}:{end % 60:02d} on the same day. "
    return question + "How many minutes does the ride take?", minutes


def perimeter(draw: Draw, level: Level) -> tuple[str, int]:
    """Double a sum."""
    wide, gap = draw.number(2, level.factor * 2), draw.number(2, level.factor)
    question = f"A garden is {wide + gap} metres long and {wide} metres wide. "
    return question + "How many metres of fence go around it?", 2 * (2 * wide + gap)


def saving(draw: Draw, level: Level) -> tuple[str, int]:
    """Multiply and add to a start."""
    name, start, week, weeks = (
        draw.one(NAMES),
        draw.number(2, level.term),
        draw.number(2, level.factor),
        draw.number(2, 9),
    )
    question = f"{name} has {start} dollars and saves {week} dollars every week. "
    return question + f"How many dollars does {name} have after {weeks} weeks?", start + week * weeks


def journey(draw: Draw, level: Level) -> tuple[str, int]:
    """Add two distances at different speeds."""
    step = 10 if level.term < 50 else 5
    fast, slow, a, b = (
        draw.number(60, 100) // step * step,
        draw.number(30, 50) // step * step,
        draw.number(2, 4),
        draw.number(2, 4),
    )
    question = f"A car drives {a} hours at {fast} km per hour and then {b} hours at {slow} km per hour. "
    return question + "How many kilometres does it drive in total?", a * fast + b * slow


def mean(draw: Draw, level: Level) -> tuple[str, int]:
    """Divide a sum by three."""
    below, above = draw.number(1, level.factor), draw.number(1, level.factor)
    average = draw.number(max(below, above) + 1, level.term + 1)
    a, b, c = average - below, average + above, average + below - above
    return f"Three parcels weigh {a} kg, {b} kg and {c} kg. What is their mean weight in kg?", average


def seats(draw: Draw, level: Level) -> tuple[str, int]:
    """Subtract from a product."""
    rows, each, place = (
        draw.number(3, level.factor + 1),
        draw.number(3, level.factor + 1),
        draw.one(("cinema", "theatre", "concert hall")),
    )
    taken = draw.number(2, rows * each - 2)
    question = f"A {place} has {rows} rows of {each} seats. {taken} seats are taken. "
    return question + "How many seats are free?", rows * each - taken


def two_baskets(draw: Draw, level: Level) -> tuple[str, int]:
    """Add once, for two people."""
    (one, other), thing = draw.some(NAMES, 2), draw.one(THINGS)
    a, b = draw.number(2, level.term), draw.number(2, level.term)
    return f"{one} has {a} {thing} and {other} has {b} {thing}. How many {thing} do they have together?", a + b


def difference(draw: Draw, level: Level) -> tuple[str, int]:
    """Subtract once, for two people."""
    (one, other), thing = draw.some(NAMES, 2), draw.one(THINGS)
    b, gap = draw.number(2, level.term), draw.number(2, level.term)
    question = f"{one} has {b + gap} {thing} and {other} has {b} {thing}. "
    return question + f"How many more {thing} does {one} have than {other}?", gap


def tickets(draw: Draw, level: Level) -> tuple[str, int]:
    """Multiply once, for money."""
    count, price, place = draw.number(2, level.factor), draw.number(2, level.factor), draw.one(PLACES)
    return f"A ticket for the {place} costs {price} dollars. How many dollars do {count} tickets cost?", count * price


def twice(draw: Draw, level: Level) -> tuple[str, int]:
    """Double once."""
    (one, other), thing, a = draw.some(NAMES, 2), draw.one(THINGS), draw.number(2, level.term)
    return f"{one} has {a} {thing}. {other} has twice as many. How many {thing} does {other} have?", 2 * a


# One step and several steps in turn, so that the first items are a fair sample of all.
TEMPLATES: tuple[Callable[[Draw, Level], tuple[str, int]], ...] = (
    gain, gain_and_loss, groups, left_over, loss, prices, two_baskets, change, share, ages,
    tickets, together, difference, ride, twice, saving, perimeter, journey, mean, seats,
)  # fmt: skip


def english_item(draw: Draw, number: int) -> Item:
    """Make the item ``number``; the templates take turns, and after a round of them the levels."""
    template = TEMPLATES[number % len(TEMPLATES)]
    question, answer = template(draw, LEVELS[number // len(TEMPLATES) % len(LEVELS)])
    return Item(kind=template.__name__, question=question, answer=str(answer))
