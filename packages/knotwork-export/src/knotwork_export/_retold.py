"""A model card that was there already, after its model was trained: only what training changed is told anew."""

from __future__ import annotations

TRAINING, RESULTS, LOADING = "How it was trained", "Results", "Loading it"
"""Titles, in the order of a card."""
CHANGED = (TRAINING, RESULTS)
_HEADING, _FENCE = "## ", "```"
_Section = tuple[str, str]
"""Title and text, the heading's own line included. What stands before the first heading has the title ''."""


def retold(previous: str, new: str) -> str:
    """The previous card with the new one's sections on training and results, in place of its own where it has them.

    Args:
        previous: the card of the folder that the model was trained from, whoever wrote it.
        new: the card of the trained model.

    Returns:
        The card, everything else as it was: license, language and all that people wrote.
    """
    kept, told = _sections(previous), dict(_sections(new))
    for title in CHANGED:
        if title in told:
            kept = _with(kept, title, told[title])
    return "\n\n".join(text.strip("\n") for _, text in kept if text.strip()) + "\n"


def _with(sections: list[_Section], title: str, text: str) -> list[_Section]:
    titles = [name for name, _ in sections]
    if title in titles:
        return [(name, text if name == title else own) for name, own in sections]
    place = next((titles.index(later) for later in (RESULTS, LOADING) if later in titles and later != title), len(sections))
    return [*sections[:place], (title, text), *sections[place:]]


def _sections(card: str) -> list[_Section]:
    """The parts of a card, cut at its headings of the second level; what looks like one inside a block of code is none."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    in_code = False
    for line in card.splitlines():
        if line.startswith(_FENCE):
            in_code = not in_code
        if line.startswith(_HEADING) and not in_code:
            sections.append((line.removeprefix(_HEADING).strip(), []))
        sections[-1][1].append(line)
    return [(title, "\n".join(lines)) for title, lines in sections]
