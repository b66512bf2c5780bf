"""`ConvShape`: a convolution without its numbers, and when two in a row are one.

That is decided by shapes alone, so that the cost of a stitch is known before any network is built:
the rewrite of graphs and the prediction of latencies ask the same question here.
"""

from dataclasses import dataclass, replace
from math import prod


@dataclass(frozen=True, slots=True)
class ConvShape:
    """A two-dimensional convolution that is not grouped and pads by numbers.

    Attributes:
        outputs: channels that go out.
        inputs: channels that come in.
        kernel: height and width.
        positions: of its output's grid.
        strides: of height and width.
        pads: top, left, bottom, right.
        dilations: of height and width.
        biased: whether its bias is anything but zeros.
    """

    outputs: int
    inputs: int
    kernel: tuple[int, int]
    positions: int
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    biased: bool = True

    @property
    def pointwise(self) -> bool:
        """Whether each answer comes from one position, and there is one for each it steps on."""
        return self.kernel == (1, 1) and not any(self.pads)

    @property
    def weights(self) -> int:
        """Numbers of its kernel."""
        return self.outputs * self.inputs * prod(self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.weights * self.positions


def product(first: ConvShape, second: ConvShape) -> ConvShape | None:
    """Both in a row as one, or None where that is not exact, or more work or more weights."""
    if not _exact(first, second):
        return None
    larger = first if second.pointwise else second
    made = replace(
        second,
        inputs=first.inputs,
        kernel=larger.kernel,
        strides=(first.strides[0] * second.strides[0], first.strides[1] * second.strides[1]),
        pads=larger.pads,
        dilations=larger.dilations,
        biased=first.biased or second.biased,
    )
    more = made.macs > first.macs + second.macs or made.weights > first.weights + second.weights
    return None if more else made


def _exact(first: ConvShape, second: ConvShape) -> bool:
    if second.pointwise:
        return True
    padded = any(second.pads) and first.biased
    return first.pointwise and first.strides == (1, 1) and not padded


def folded(row: tuple[ConvShape, ...]) -> tuple[ConvShape, ...]:
    """What is left of convolutions in a row, each read by the next alone."""
    left: list[ConvShape] = []
    for shape in row:
        made = product(left[-1], shape) if left else None
        if made is None:
            left.append(shape)
        else:
            left[-1] = made
    return tuple(left) if len(left) == len(row) else folded(tuple(left))
