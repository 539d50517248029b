"""A conversation as a Markdown file."""

from wordup import keys
from wordup.turns import Conversation, Turn


def conversation(found: Conversation, turns: list[Turn]) -> str:
    title = found.title.replace("\\", "\\\\").replace("#", "\\#")
    parts = [f"# {title}\n\n{found.turns} turns, {keys.rfc3339(found.created)} to {keys.rfc3339(found.updated)}\n"]
    for turn in turns:
        parts.append(f"\n## You\n\n{turn.question}\n\n## Word Up! Bot ({turn.model})\n\n{turn.answer}\n")
        if turn.sources:
            listed = [f"{n}. {source.title} {source.url}".rstrip() for n, source in enumerate(turn.sources, 1)]
            parts.append("\nSources:\n\n" + "\n".join(listed) + "\n")
    return "".join(parts)
