from knotwork_ops import Choice, SearchSpace
from knotwork_search import seeded
from knotwork_search._sampling import extremes

from .toy import PER_LAYER


def test_numbers_are_the_ends_and_names_are_drawn():
    assert extremes(PER_LAYER) == (PER_LAYER.largest, PER_LAYER.smallest)
    space = SearchSpace((Choice("width", (2, 4)), Choice("kind", ("a", "b")), Choice("kinds", ("a", "b", "c"), layers=2)))
    seen = []
    for seed in range(40):
        with seeded("extremes", seed):
            seen.append(extremes(space))
    assert {(large["width"], small["width"]) for large, small in seen} == {(4, 2)}
    for end in (0, 1):
        assert {pair[end]["kind"] for pair in seen} == {"a", "b"}
        assert len({tuple(pair[end].as_dict()["kinds"]) for pair in seen}) == 9
