"""Words that are nearly alike: names are mistyped more often than anything else in a question."""

# Words of at least this many letters are looked for with one letter wrong, or two.
ONE_TYPO, TWO_TYPOS = 5, 8
# And of at most so many: of longer ones there are too many ways to leave two letters out.
MOST_LETTERS = 13


def cuts(word: str) -> set[str]:
    """The word, and it less one letter, or two where it is long enough: words near each other share a cut."""
    found = {word}
    for _ in range(typos(word)):
        found |= {each[:at] + each[at + 1 :] for each in found for at in range(len(each))}
    return found


def typos(word: str) -> int:
    """How many may be in a word."""
    return (len(word) >= ONE_TYPO) + (len(word) >= TWO_TYPOS)


def distance(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with their neighbour, to make one word of the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, before, row = before, row, [i]
        for j, its in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]
