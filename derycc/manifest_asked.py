"""The parts of a manifest that say what was asked for, and by what it was answered."""

from dataclasses import field

from pydantic.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constraint:
    """One resource: what was asked, predicted and measured, side by side.

    Attributes:
        resource: latency_us, latency_us@TARGET, stitches, params, macs, weight_bytes,
            memory_bytes, energy_j or donors.
        asked: the most that was allowed; None: it was not limited.
        predicted: what the solver took it to be; None: it did not look.
        measured: what it is: counted of the network, or measured on the target (of latency and
            memory the upper end); None: nobody could measure it.
    """

    resource: str
    asked: float | None
    predicted: float | None
    measured: float | None

    @property
    def kept(self) -> bool:
        """Whether what was measured is within what was asked."""
        return self.asked is None or self.measured is None or self.measured <= self.asked


@dataclass(frozen=True, slots=True)
class Demands:
    """What was asked for that is no amount of a resource.

    Attributes:
        min_quality: least quality, with the least latency; None: the best quality was looked for.
        required: donors that had to lend a block.
        excluded: donors that must not, those of an excluded licence with them.
        licences: texts of licences that were excluded.
    """

    min_quality: float | None
    required: tuple[str, ...]
    excluded: tuple[str, ...]
    licences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Session:
    """The options that the command was given, as far as its answer depends on them.

    Attributes:
        sizes: input sizes in pixels that networks could have.
        views: crops and flips of each calibration photograph.
        quick: whether it measured with the quick protocol.
        data: folder or file of the photographs; None: the demo photographs.
        judge_data: photographs that judged; None: half of `data`.
        precision: what networks were asked for in.
        max_drop: most score that int8 might cost; None where there was none.
    """

    sizes: tuple[int, ...]
    views: int
    quick: bool
    data: str | None
    judge_data: str | None
    precision: str = "fp32"
    max_drop: float | None = None


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What the prediction of the chosen network was made by.

    Attributes:
        drop_slope: of builds before `drop_weights`: quality that a stitch costs, per share of
            variance that it leaves unexplained; None since.
        observations: networks that the drops of stitches were learned from.
        stitch_us: latency of a stitch beyond its own layer, median.
        stitch_upper_us: upper end.
        excess: factors by which resources were taken to exceed their prediction.
        elsewhere: `stitch_us` and `stitch_upper_us` on other targets, by target.
        drop_weights: quality that a stitch costs, by term of the drop model; empty in old builds.
        drop_error: mean absolute error of the drops of those networks, each left out of the fit;
            None where it is not known.
        int8_latency: factor on the latency of int8 blocks.
        int8_errors: factors on their errors, by donor.
        int8_barred: whether none could be chosen any more.
    """

    drop_slope: float | None
    observations: int
    stitch_us: float
    stitch_upper_us: float
    excess: dict[str, float]
    elsewhere: dict[str, tuple[float, float]] = field(default_factory=dict)
    drop_weights: dict[str, float] = field(default_factory=dict)
    drop_error: float | None = None
    int8_latency: float = 1.0
    int8_errors: dict[str, float] = field(default_factory=dict)
    int8_barred: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What a network was chosen by.

    Attributes:
        score: quality, similarity, or the name of a zero-cost proxy.
        value: the network's; of quality what was measured on the calibration photographs; None:
            minus infinity.
        proven: no network scores better within the limits as predicted, but for those tried before.
        enumerated: networks that were scored one by one; None: the solver did without.
        complete: whether these were all within the limits.
        correlation: Spearman's, of score and measured quality of the networks tried; of quality
            that of expected and measured.
    """

    score: str
    value: float | None
    proven: bool
    enumerated: int | None
    complete: bool | None
    correlation: float | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """A network that was built again from a lock, beside the lock's.

    Attributes:
        model_sha256: of the lock's `model.onnx`.
        identical: whether the same came out, bit for bit.
        verdict: the same in words; if not, what the likely reason is.
    """

    model_sha256: str
    identical: bool
    verdict: str
