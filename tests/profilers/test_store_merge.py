from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, Round, RoundsDone
from profilers.store_merge import Absorbed, absorb, merge
from profilers.store_records import EnvironmentRecord, RoundRecord, records
from profilers.tables import rounds
from targets.errors import UsageError, WorkspaceError

KEEP = Protocol()
GOLDEN = Path(__file__).with_name("store_1.sqlite")


@pytest.fixture
def store(where: str) -> Iterator[CostStore]:
    with CostStore(where) as store:
        yield store


@pytest.fixture
def file(tmp_path: Path, environment: Environment) -> Path:
    """Another store: two rounds and a sentinel of one process, and a model of another machine."""
    path = tmp_path / "other.sqlite"
    with CostStore(path) as other:
        for key, index in (("a", 0), ("a", 1), ("b", 0)):
            done = Round(key, f"block {key}", index, (1.0 + index,), 0.1, session="other")
            other.add_round(environment, KEEP, replace(done, peak_bytes=2**40, joules=0.5))
        other.add_sentinel(environment, KEEP, "other", (1e-4,))
        elsewhere = replace(environment, cores=99)
        other.add_round(elsewhere, KEEP, Round("c", "block c", 0, (3.0,), 0.1, session="else"))
    return path


def content(store: CostStore) -> Counter[str]:
    """Everything in a store but the indices of its rounds, each as often as it is there."""
    with store.transaction() as connection:
        return Counter(
            each.fingerprint if isinstance(each, EnvironmentRecord) else repr(each)
            for each in records(connection)
        )


def test_what_another_store_has_is_taken_over(
    store: CostStore, environment: Environment, file: Path
) -> None:
    done = merge(store, file)

    assert done == Absorbed(rounds=4, known=0, models=3, environments=2, sentinels=1)
    found = store.measurements(environment)
    assert {key: cost.rounds for key, cost in found.items()} == {
        "a": ((1.0,), (2.0,)),
        "b": ((1.0,),),
    }
    assert (found["a"].peak_bytes, found["a"].joules, found["a"].name) == (2**40, 0.5, "block a")
    with CostStore(file) as other:
        assert content(store) == content(other)


def test_merging_again_changes_nothing(store: CostStore, file: Path) -> None:
    merge(store, file)
    before = content(store)

    again = merge(store, file)

    assert again == Absorbed(known=4)
    assert content(store) == before


def test_what_is_in_both_is_counted_once_and_the_rest_gets_new_indices(
    store: CostStore, environment: Environment, file: Path, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, round_of_a)
    store.add_round(
        environment, KEEP, Round("a", "block a", 1, (2.0,), 0.1, session="other", joules=0.5)
    )

    done = merge(store, file)

    assert (done.rounds, done.known) == (3, 1)
    assert store.rounds_done(environment, KEEP, "ab") == {
        "a": RoundsDone(0, 3, 3),
        "b": RoundsDone(0, 1, 1),
    }


def test_merging_in_both_directions_makes_both_alike(
    store: CostStore, environment: Environment, file: Path, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, round_of_a)
    store.add_sentinel(environment, KEEP, "one", (2e-4,))

    merge(store, file)
    with CostStore(file) as other:
        back = merge(other, store.where)
        assert content(other) == content(store)

    assert (back.rounds, back.known, back.sentinels) == (1, 4, 1)
    assert merge(store, file) == Absorbed(known=5)


def test_a_store_merged_with_itself_stays_as_it_is(store: CostStore, file: Path) -> None:
    merge(store, file)
    before = content(store)

    assert merge(store, store.where) == Absorbed(known=4)
    assert content(store) == before


def test_a_dry_merge_only_counts(store: CostStore, file: Path) -> None:
    done = merge(store, file, dry=True)

    assert done == Absorbed(rounds=4, known=0, models=3, environments=2, sentinels=1)
    assert content(store) == Counter()


def test_a_merge_leaves_an_older_generation_behind_the_newest(
    store: CostStore, environment: Environment, file: Path, round_of_a: Round
) -> None:
    store.add_round(environment, KEEP, replace(round_of_a, generation=1, index=0))

    merge(store, file)

    assert store.measurements(environment)["a"].rounds == ((1e-3, 2e-3, 3e-3),)
    assert store.rounds_done(environment, KEEP, "a") == {"a": RoundsDone(1, 1, 3)}


def measured_on(
    path: str | Path, environment: Environment, days: list[tuple[int, int]], sample: float
) -> None:
    """Rounds of one model, each of a generation and measured on a day of November."""
    with CostStore(path) as store:
        for index, (generation, day) in enumerate(days):
            session = f"{sample} {day}"
            done = Round("a", "a", index, (sample,), 0.1, generation=generation, session=session)
            store.add_round(environment, KEEP, done)
            time = rounds.update().values(measured=datetime(2026, 11, day, tzinfo=UTC))
            with store.transaction() as connection:
                connection.execute(time.where(rounds.c.session == session))


@pytest.mark.parametrize(
    ("here", "there", "wanted"),
    [
        # A fresh measurement of long ago does not win over one of today, nor does it mix with it.
        ([(0, 1), (1, 2)], [(0, 9)], {(1.0, 0): 1, (1.0, 1): 1, (2.0, 1): 1}),
        ([(0, 9)], [(0, 1), (1, 2)], {(2.0, 0): 1, (2.0, 1): 1, (1.0, 1): 1}),
        # What was measured before it is replaced.
        ([(0, 3), (1, 5)], [(0, 4)], {(1.0, 0): 1, (2.0, 0): 1, (1.0, 1): 1}),
        # Two fresh ones of one number are two.
        ([(0, 1), (1, 3)], [(1, 5)], {(1.0, 0): 1, (1.0, 1): 1, (2.0, 2): 1}),
        # Generations that were cleaned away leave their numbers.
        ([(7, 3)], [(0, 1)], {(1.0, 7): 1, (2.0, 6): 1}),
        ([(0, 1)], [(0, 2)], {(1.0, 0): 1, (2.0, 0): 1}),
    ],
)
def test_the_newest_generation_of_a_merge_is_what_was_measured_last(
    tmp_path: Path,
    environment: Environment,
    where: str,
    here: list[tuple[int, int]],
    there: list[tuple[int, int]],
    wanted: dict[tuple[float, int], int],
) -> None:
    measured_on(where, environment, here, sample=1.0)
    measured_on(tmp_path / "there.sqlite", environment, there, sample=2.0)

    with CostStore(where) as store:
        merge(store, tmp_path / "there.sqlite")
        merged = generations(store)
        merge(store, tmp_path / "there.sqlite")
        again = generations(store)
        with CostStore(tmp_path / "there.sqlite") as other:
            merge(other, where)
            back = generations(other)

    assert merged == again == back == wanted


def generations(store: CostStore) -> dict[tuple[float, int], int]:
    """How many rounds there are by sample and generation."""
    with store.transaction() as connection:
        found = connection.execute(select(rounds.c.samples, rounds.c.generation)).all()
    return dict(Counter((samples[0], generation) for samples, generation in found))


def test_without_a_protocol_what_was_measured_last_counts_not_what_was_merged_last(
    store: CostStore, environment: Environment, file: Path, round_of_a: Round
) -> None:
    store.add_round(environment, Protocol.quick(), round_of_a)

    merge(store, file)

    assert store.measurements(environment)["a"].rounds == ((1e-3, 2e-3, 3e-3),)


def test_an_old_store_is_read_from_a_copy_and_stays_old(store: CostStore) -> None:
    before = GOLDEN.read_bytes()

    done = merge(store, GOLDEN)

    assert done == Absorbed(rounds=8, known=0, models=3, environments=2, sentinels=9)
    assert GOLDEN.read_bytes() == before
    assert not GOLDEN.with_name(f"{GOLDEN.name}-wal").exists()


def test_a_store_that_is_not_there_is_not_made(store: CostStore, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"There is no cost store at"):
        merge(store, tmp_path / "nothing.sqlite")

    assert not (tmp_path / "nothing.sqlite").exists()


def test_what_is_no_store_is_not_merged(store: CostStore, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear reader " * 100)

    with pytest.raises(
        WorkspaceError, match=r"Cannot read the cost store '.*letter\.txt': file is"
    ):
        merge(store, tmp_path / "letter.txt")


def test_a_damaged_row_stops_the_merge_and_nothing_is_taken_over(
    store: CostStore, environment: Environment, file: Path
) -> None:
    with CostStore(file) as other, other.transaction() as connection:
        last = connection.scalar(select(rounds.c.id).where(rounds.c.key == "c"))
        connection.execute(rounds.update().where(rounds.c.id == last).values(samples=[-1.0]))

    with pytest.raises(UsageError, match=r"A round of the store is no measurement: .*samples.0"):
        merge(store, file)

    assert content(store) == Counter()


def test_a_record_of_an_environment_that_is_not_described_is_refused(
    store: CostStore, file: Path
) -> None:
    with CostStore(file) as other, other.transaction() as connection:
        found = [each for each in records(connection) if isinstance(each, RoundRecord)]

    with pytest.raises(UsageError, match=r"names the environment '\w{16}', which is not described"):
        absorb(store, found)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.lists(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(1, 2)), max_size=5
        ),
        min_size=2,
        max_size=3,
    ),
    random=st.randoms(use_true_random=False),
)
def test_stores_hold_the_same_whichever_way_they_are_merged(
    tmp_path_factory: pytest.TempPathFactory,
    environment: Environment,
    data: list[list[tuple[str, int, int]]],
    random: Random,
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    paths = [folder / f"{number}.sqlite" for number in range(len(data))]
    for path, rows in zip(paths, data, strict=True):
        with CostStore(path) as store:
            for index, (key, session, sample) in enumerate(rows):
                done = Round(key, key, index, (float(sample),), 0.1, False, session, str(session))
                store.add_round(environment, KEEP, done)
    shuffled = random.sample(paths, len(paths))

    with CostStore(folder / "one") as one, CostStore(folder / "two") as two:
        for path in paths:
            merge(one, path)
        for path in [*shuffled, *reversed(shuffled)]:
            merge(two, path)
        kept = [rows_of(one), rows_of(two)]

    # A round that several stores have is there as often as in the one that has it most often.
    most: Counter[tuple[str, int, int]] = Counter()
    for rows in data:
        most |= Counter(rows)
    assert kept == [most, most]


def rows_of(store: CostStore) -> Counter[tuple[str, int, int]]:
    columns = (rounds.c.key, rounds.c.session, rounds.c.samples, rounds.c.index)
    with store.transaction() as connection:
        rows = connection.execute(select(*columns)).all()
    assert len({(row[0], row[3]) for row in rows}) == len(rows)
    return Counter((key, int(session), int(samples[0])) for key, session, samples, _ in rows)
