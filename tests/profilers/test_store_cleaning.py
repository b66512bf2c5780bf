from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from profilers.environment import Environment
from profilers.protocol import Protocol
from profilers.store import CostStore, Round, RoundsDone
from profilers.store_cleaning import Cleaned, Cleaning, clean
from profilers.store_summary import find_environment, models_of, summarize
from profilers.tables import environments, models, rounds, sentinels
from targets.errors import UnknownNameError, UsageError

KEEP = Protocol()


@pytest.fixture
def store(where: str) -> Iterator[CostStore]:
    with CostStore(where) as store:
        yield store


def fill(store: CostStore, environment: Environment, key: str, generations: int) -> None:
    """One round a generation, each by a process of its own with one sentinel."""
    for number in range(generations):
        session = f"{key}{number}"
        store.add_sentinel(environment, KEEP, session, (1e-4,))
        samples = (1.0 + number,)
        done = Round(key, f"block {key}", number, samples, 0.1, generation=number, session=session)
        store.add_round(environment, KEEP, done)


def age(store: CostStore, key: str, days: float) -> None:
    with store.transaction() as connection:
        then = datetime.now(UTC) - timedelta(days=days)
        connection.execute(update(rounds).where(rounds.c.key == key).values(measured=then))


def counts(store: CostStore) -> tuple[int, ...]:
    """Rounds, models, environments, sentinels."""
    with store.transaction() as connection:
        return tuple(
            connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (rounds, models, environments, sentinels)
        )


def test_older_generations_go_and_with_them_their_sentinels(
    store: CostStore, environment: Environment
) -> None:
    fill(store, environment, "a", 3)
    fill(store, environment, "b", 1)

    done = clean(store, Cleaning())

    assert (done.rounds, done.models, done.environments, done.sentinels) == (2, 0, 0, 2)
    assert done.freed_bytes is not None and done.freed_bytes >= 0
    assert store.measurements(environment)["a"].rounds == ((3.0,),)
    assert store.rounds_done(environment, KEEP, "ab") == {
        "a": RoundsDone(2, 1, 3),
        "b": RoundsDone(0, 1, 1),
    }
    assert counts(store) == (2, 2, 1, 2)


def test_as_many_generations_stay_as_are_to_be_kept(
    store: CostStore, environment: Environment
) -> None:
    fill(store, environment, "a", 3)

    assert clean(store, Cleaning(keep_generations=2)).rounds == 1
    assert clean(store, Cleaning(keep_generations=2)).rounds == 0
    assert counts(store) == (2, 1, 1, 2)


def test_a_dry_cleaning_only_counts(store: CostStore, environment: Environment) -> None:
    fill(store, environment, "a", 4)
    size = store.size_bytes()

    done = clean(store, Cleaning(), dry=True)

    assert size is not None
    assert done == Cleaned(3, 0, 0, 3, round(size * 3 / 4))
    assert counts(store) == (4, 1, 1, 4)


def test_a_model_that_nobody_measures_any_more_goes_with_all_generations(
    store: CostStore, environment: Environment
) -> None:
    fill(store, environment, "a", 2)
    fill(store, environment, "b", 1)
    age(store, "a", 40)

    done = clean(store, Cleaning(2, older_than=timedelta(days=30)))

    assert (done.rounds, done.models, done.environments, done.sentinels) == (2, 1, 0, 2)
    assert store.measurements(environment).keys() == {"b"}
    assert clean(store, Cleaning(2, older_than=timedelta(days=50))).rounds == 0


def test_an_environment_goes_altogether_and_nothing_else(
    store: CostStore, environment: Environment
) -> None:
    other = replace(environment, threads=8)
    fill(store, environment, "a", 3)
    fill(store, other, "a", 2)
    fill(store, other, "b", 1)
    store.add_sentinel(other, KEEP, "running", (1e-4,))

    done = clean(store, Cleaning(environment=other))

    assert (done.rounds, done.models, done.environments, done.sentinels) == (3, 1, 1, 4)
    assert store.environments() == (environment,)
    assert counts(store) == (3, 1, 1, 3)


def test_the_sentinel_of_a_process_that_has_measured_nothing_yet_stays(
    store: CostStore, environment: Environment
) -> None:
    store.add_sentinel(environment, KEEP, "running", (1e-4,))

    assert clean(store, Cleaning()).sentinels == 0
    assert counts(store) == (0, 0, 1, 1)


def test_a_file_becomes_smaller(tmp_path: Path, environment: Environment) -> None:
    with CostStore(tmp_path / "costs.sqlite") as store:
        for number in range(30):
            samples = tuple(1.0 + i / 7 for i in range(1000))
            done = Round("a", "a", number, samples, 0.1, generation=number)
            store.add_round(environment, KEEP, done)
        done = clean(store, Cleaning())

    assert done.freed_bytes is not None and done.freed_bytes > 400_000
    assert (tmp_path / "costs.sqlite").stat().st_size < 120_000


@pytest.mark.parametrize(
    "wrong", [{"keep_generations": 0}, {"older_than": timedelta()}, {"older_than": -timedelta(1)}]
)
def test_a_cleaning_that_would_empty_the_store_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"Cannot (keep 0 generations|remove what is older)"):
        Cleaning(**wrong)  # type: ignore[arg-type]


def test_a_store_is_counted(store: CostStore, environment: Environment) -> None:
    other = replace(environment, threads=8)
    fill(store, environment, "a", 3)
    fill(store, environment, "b", 1)
    store.add_sentinel(other, KEEP, "running", (1e-4,))

    found = summarize(store)

    first, second = found.environments
    assert found.where == store.where
    assert found.size_bytes is not None and found.size_bytes > 10_000
    assert (first.environment, first.models, first.rounds) == (environment, 2, 4)
    assert first.last_measured is not None
    assert datetime.now(UTC) - first.last_measured < timedelta(minutes=5)
    assert first.sample_bytes == 4 * len("[1.0]")
    assert (second.environment, second.models, second.rounds) == (other, 0, 0)
    assert second.last_measured is None


def test_an_environment_is_found_by_the_beginning_of_its_fingerprint(
    store: CostStore, environment: Environment
) -> None:
    other = replace(environment, threads=8)
    fill(store, environment, "a", 1)

    assert find_environment(store, None) == environment
    fill(store, other, "a", 1)
    assert find_environment(store, other.fingerprint[:8]) == other
    with pytest.raises(UsageError, match=r"The store holds 2 environments: .*Name one of them"):
        find_environment(store, None)
    with pytest.raises(UsageError, match=r"'' fits 2 environments"):
        find_environment(store, "")
    with pytest.raises(UnknownNameError, match=r"Unknown environment 'xyz'"):
        find_environment(store, "xyz")


def test_a_store_without_measurements_says_what_to_do(store: CostStore) -> None:
    with pytest.raises(UsageError, match=r"holds no measurements yet. Run 'derycc profile' first"):
        find_environment(store, None)


def test_models_are_found_by_name_or_key(store: CostStore, environment: Environment) -> None:
    for key, name in (("k1", "layer2"), ("k2", "layer1"), ("k3", "stem")):
        store.add_round(environment, KEEP, Round(key, name, 0, (1.0,), 0.1))

    assert list(models_of(store, environment)) == ["k2", "k1", "k3"]
    assert list(models_of(store, environment, "layer")) == ["k2", "k1"]
    assert list(models_of(store, environment, "k3")) == ["k3"]
    assert models_of(store, environment, "nothing") == {}
