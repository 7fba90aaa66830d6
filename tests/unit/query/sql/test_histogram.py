"""Histograms: what the store leaves open."""

from itertools import permutations

from parsec.query.sql.histogram import ranked


def test_values_of_a_bucket_have_one_order_however_the_store_gives_them() -> None:
    counts = [("web", 2), ("api", 2), ("db", 5), ("", 1)]
    for given in permutations(counts):
        assert list(ranked(dict(given)).items()) == [("db", 5), ("api", 2), ("web", 2), ("", 1)]
