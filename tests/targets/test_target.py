import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.errors import UnknownNameError, UsageError
from targets.machine import usable_cores
from targets.target import Target, get_target, list_targets


@st.composite
def targets(draw: st.DrawFn) -> Target:
    threads = draw(st.integers(1, 6))
    cores = st.lists(st.integers(0, 99), min_size=threads, max_size=threads, unique=True)
    known = st.sampled_from(["fp32", "fp16", "int8", "bf16"])
    return Target(
        name=draw(st.sampled_from(["cpu", "cuda", "reference"])),
        backend=draw(st.sampled_from(["ort", "reference", "my.backend-2"])),
        threads=threads,
        precisions=tuple(draw(st.lists(known, min_size=1, unique=True))),
        spinning=draw(st.booleans()),
        affinity=tuple(draw(st.one_of(st.just([]), cores))),
        power_mode=draw(st.sampled_from([None, "MAXN", "mode 0", "15W+"])),
    )


@given(targets())
def test_a_target_prints_as_a_text_that_parses_to_it(target: Target) -> None:
    assert get_target(str(target)) == target


def test_a_shipped_target_prints_as_its_name() -> None:
    assert [str(target) for target in list_targets()] == ["cpu", "cuda", "reference"]


def test_the_cpu_target_uses_every_core_that_it_may() -> None:
    assert get_target("cpu") == Target("cpu", "ort", usable_cores())
    assert get_target(" reference ") == Target("reference", "reference", 1)


def test_options_change_a_shipped_target() -> None:
    target = get_target("reference: threads=2, spinning=off, affinity=3+1, precisions=fp32+int8")

    assert target == Target(
        name="reference",
        backend="reference",
        threads=2,
        precisions=("fp32", "int8"),
        spinning=False,
        affinity=(3, 1),
    )
    assert str(target) == "reference:threads=2,precisions=fp32+int8,spinning=off,affinity=3+1"


def test_affinity_any_is_no_affinity() -> None:
    assert get_target("reference:affinity=any") == get_target("reference")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cpuu",
            "Unknown target 'cpuu'. Did you mean 'cpu' or 'cuda'? Known: cpu, cuda, reference.",
        ),
        (
            "cpu:thread=2",
            "Unknown target option 'thread'. Did you mean 'threads'? Known: affinity, backend, "
            "power_mode, precisions, spinning, threads, transport.",
        ),
        ("cpu:precisions=fp23", "Unknown precision 'fp23'."),
        ("cpu:transport=pigeon", "Unknown transport 'pigeon'. Known: local."),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_target(text)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpu:", "Cannot read '' in the target 'cpu:'. Write options as NAME=VALUE"),
        ("cpu:threads", "Cannot read 'threads' in the target"),
        ("cpu:threads=", "Cannot read 'threads=' in the target"),
        ("cpu:threads=0", "Cannot use 0 threads."),
        ("cpu:threads=two", "Cannot read 'two' as a number of threads."),
        ("cpu:threads=-1", "Cannot read '-1' as a number of threads."),
        ("cpu:threads=1,threads=2", "The target 'cpu:threads=1,threads=2' sets 'threads' twice."),
        ("cpu:spinning=maybe", "Cannot read 'maybe' as a switch. Use on or off"),
        ("cpu:threads=2,affinity=1", "Cannot pin 2 threads to the processors [1]."),
        ("cpu:threads=2,affinity=1+1", "Cannot pin 2 threads to the processors [1, 1]."),
        ("cpu:affinity=x", "Cannot read 'x' as an affinity."),
        ("cpu:precisions=fp32+fp32", "Cannot use the precisions ('fp32', 'fp32')."),
        ("cpu:backend=O R T", "Cannot use 'O R T' as a backend's name."),
        ("cpu:power_mode=a:b", "Cannot use 'a:b' as a power mode. Use the name that the machine"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        get_target(text)

    assert str(caught.value).startswith(message)


def test_a_target_must_have_a_precision() -> None:
    with pytest.raises(UsageError, match=r"at least one"):
        Target("cpu", "ort", 1, precisions=())


def test_a_target_must_have_a_name_that_can_be_asked_for() -> None:
    with pytest.raises(UsageError, match=r"Cannot use 'My Box' as a target's name"):
        Target("My Box", "ort", 1)


def test_a_power_mode_is_asked_for_or_not() -> None:
    target = get_target("reference:power_mode=MAXN SUPER")

    assert target.power_mode == "MAXN SUPER"
    assert str(target) == "reference:power_mode=MAXN SUPER"
    assert get_target("reference:power_mode=any") == get_target("reference")
