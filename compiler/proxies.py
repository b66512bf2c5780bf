"""Zero-cost proxies: how promising a network is, from a few batches and no training.

Each proxy scores one batch; over several batches the scores are averaged, and no batch knows of
another. More is better, for all of them. Scores of one proxy rank networks of one task, shown the
same batches; they mean nothing across proxies.

| name | batch-norm | labels | source |
|---|---|---|---|
| `naswot` | of the batch | no | Mellor et al. 2021, as DeRy normalizes it |
| `jacov` | of the batch | no | Mellor et al. 2021, first version |
| `grad_norm` | of the batch | yes | Abdelfattah et al. 2021 |
| `snip` | of the batch | yes | Lee et al. 2019, summed as by Abdelfattah et al. |
| `synflow` | left out | no | Tanaka et al. 2020, summed as by Abdelfattah et al. |

"Of the batch" means that batch-norms normalize by the batch, as in train mode. Everything else is
in eval mode: dropout and stochastic depth are off, so that a score is the same every time. Scoring
leaves a network as it was: modes, parameters, gradients, running statistics, what asks for
gradients, and torch's global random state.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import BaseTorchFunctionMode

from compiler.observation import (
    ActivationCodes,
    DoublePrecision,
    WeightsUsed,
    WithoutBatchNorm,
    agreements,
    leaves,
    modes,
    run,
)
from targets.errors import DataError, UnknownNameError, UsageError

__all__ = [
    "PROXIES",
    "Proxy",
    "get_proxy",
    "grad_norm",
    "jacov",
    "naswot",
    "naswot_score",
    "snip",
    "synflow",
]

Float = NDArray[np.float64]
BatchScore = Callable[[nn.Module, Tensor, Tensor | None], float]

_JACOV_SHIFT = 1e-5
"""k of Mellor et al., which keeps eigenvalues of zero finite."""


def naswot(codes: Sequence[ArrayLike | Tensor], per_image: bool = True) -> float:
    """Log-determinant of how alike a batch's images switch a network's activations.

    With the codes z of B images, K = sum of z zᵀ + (1 - z)(1 - z)ᵀ over all matrices, and the score
    is log |det K| (Mellor, Turner, Storkey and Crowley, "Neural Architecture Search without
    Training", ICML 2021), divided by B as DeRy does.

    Args:
        codes: matrices (B, d) of zeros and ones, one per activation; d may differ.
        per_image: divide by B. False gives the paper's own score.

    Returns:
        The score; minus infinity where K is singular to float64, as with two equal images.

    Raises:
        UsageError: no matrices, no common number of rows, or other values than zero and one.
    """
    matrices = [torch.as_tensor(np.asarray(code)) for code in codes]
    if not matrices or any(m.dim() != 2 or len(m) != len(matrices[0]) for m in matrices):
        shapes = [tuple(matrix.shape) for matrix in matrices]
        raise UsageError(
            f"Codes must be matrices (images, activations) of the same images; these are {shapes}. "
            "Flatten every activation to one row an image."
        )
    if any(not ((matrix == 0) | (matrix == 1)).all() for matrix in matrices):
        raise UsageError("Codes must be zeros and ones. Compare activations with zero first.")
    kernels = [agreements(matrix.bool()) for matrix in matrices]
    return _log_determinant(torch.stack(kernels).sum(0), per_image)


@torch.no_grad()
def naswot_score(network: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """`naswot` of every activation of a network, as a module or as a function.

    Codes are taken behind the activations that `ActivationCodes` lists. DeRy also takes the signs
    of linear layers, dropout and attention; they are no activations and are not taken here.
    Batch-norm: of the batch.

    Args:
        network: a module or an exported graph, (B, 3, S, S) to (B, classes).
        images: (B, 3, S, S), normalized; B at least 2.
        labels: not used.

    Returns:
        log |det K| / B; minus infinity where K is singular, as with two equal images.

    Raises:
        UsageError: fewer than two images, or a network without activations.
    """
    images = _checked(network, images)
    codes = ActivationCodes(len(images))
    # The function mode changes nothing, but keeps PyTorch from running fused encoder layers.
    with modes(network, batch_statistics=True), BaseTorchFunctionMode(), codes:
        run(network, images)
    if not codes.kernel.any():
        raise UsageError(
            "The network has no activation that naswot knows (ReLU, GELU, SiLU, Hardswish and "
            "their like). Rank it by 'jacov' or 'synflow' instead."
        )
    return _log_determinant(codes.kernel, per_image=True)


def jacov(network: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """How little the gradients of different images by their pixels resemble each other.

    J has a row for every image: the gradient of the sum of its logits by its pixels. With the
    eigenvalues v of the correlation matrix of the rows and k = 1e-5, the score is
    -sum(log(v + k) + 1 / (v + k)) (Mellor et al., first version, arXiv 2006.04647v1). A row without
    variance correlates with none. Batch-norm: of the batch, whose other images then move a row too,
    as in the authors' code.

    Args:
        network: (B, 3, S, S) to (B, classes).
        images: (B, 3, S, S), normalized; B at least 2.
        labels: not used.

    Raises:
        UsageError: fewer than two images.
    """
    pixels = _checked(network, images).detach().clone().requires_grad_()
    with torch.enable_grad(), modes(network, batch_statistics=True):
        (rows,) = torch.autograd.grad(run(network, pixels, leaves(network)).sum(), pixels)
    eigenvalues = np.linalg.eigvalsh(_correlations(rows.flatten(1).double().cpu().numpy()))
    shifted = np.maximum(eigenvalues, 0) + _JACOV_SHIFT
    return -float((np.log(shifted) + 1 / shifted).sum())


def grad_norm(network: nn.Module, images: Tensor, labels: Tensor | None) -> float:
    """Sum over convolutions and linear layers of the Euclidean norm of the weight's gradient.

    The loss is the batch's mean cross-entropy (Abdelfattah, Mehrotra, Dudziak and Lane, "Zero-Cost
    Proxies for Lightweight NAS", ICLR 2021). Biases and norms are left out.
    Batch-norm: of the batch.

    Args:
        network: (B, 3, S, S) to (B, classes).
        images: (B, 3, S, S), normalized; B at least 2.
        labels: (B,) class numbers.

    Raises:
        DataError: no labels, or not of these images and classes.
        UsageError: fewer than two images.
    """
    pairs = _weights_and_gradients(network, images, labels, "grad_norm")
    return float(sum(gradient.double().norm().item() for _, gradient in pairs))


def snip(network: nn.Module, images: Tensor, labels: Tensor | None) -> float:
    """Sum over convolutions and linear layers of |w · dL/dw|: what leaving weights out would cost.

    The connection sensitivity of Lee, Ajanthan and Torr, "SNIP: Single-shot Network Pruning based
    on Connection Sensitivity", ICLR 2019, not normalized, summed to one score as by Abdelfattah et
    al. 2021. L is the batch's mean cross-entropy. Batch-norm: of the batch.

    Args:
        network: (B, 3, S, S) to (B, classes).
        images: (B, 3, S, S), normalized; B at least 2.
        labels: (B,) class numbers.

    Raises:
        DataError: no labels, or not of these images and classes.
        UsageError: fewer than two images.
    """
    pairs = _weights_and_gradients(network, images, labels, "snip")
    return float(sum((weight * grad).double().abs().sum().item() for weight, grad in pairs))


def synflow(network: nn.Module, images: Tensor, labels: Tensor | None = None) -> float:
    """Sum over convolutions and linear layers of |w · dR/dw|: how much flows through all weights.

    R is the sum of the logits that an image of ones gets when every parameter is replaced by its
    absolute value (Tanaka, Kunin, Yamins and Ganguli, "Pruning neural networks without any data by
    iteratively conserving synaptic flow", NeurIPS 2020), with batch-norm left out and
    float64, and summed to one score, as by Abdelfattah et al. 2021. The theory is that of
    convolutional networks: layer-norms stay, and conserve nothing; attention without them
    multiplies activations until they overflow.

    Args:
        network: (1, 3, S, S) to (1, classes).
        images: (B, 3, S, S); their shape alone counts.
        labels: not used.

    Raises:
        UsageError: `images` are no images.
    """
    ones = torch.ones_like(_checked(network, images, at_least=1)[:1], dtype=torch.float64)
    parameters = leaves(network, lambda weight: weight.double().abs())
    with torch.enable_grad(), modes(network, batch_statistics=False):
        with DoublePrecision(), WithoutBatchNorm(), WeightsUsed() as used:
            flow = run(network, ones, parameters).sum()
        gradients = _gradients(flow, used.tensors)
    pairs = zip(used.tensors, gradients, strict=True)
    return float(sum((weight * gradient).abs().sum().item() for weight, gradient in pairs))


@dataclass(frozen=True, slots=True)
class Proxy:
    """A zero-cost proxy: called with a network and batches, it gives a score; more is better.

    Attributes:
        name: in `PROXIES` and on the command line.
        score_batch: of (network, images, labels).
        needs_labels: whether it cannot do without.
    """

    name: str
    score_batch: BatchScore
    needs_labels: bool = False

    def __call__(
        self,
        network: nn.Module,
        batches: Sequence[Tensor],
        labels: Sequence[Tensor] | None = None,
    ) -> float:
        """Mean of the scores of the batches, each by itself.

        Args:
            network: (B, 3, S, S) to (B, classes); a torch module or an exported graph.
            batches: images (B, 3, S, S), normalized; at least one batch.
            labels: (B,) class numbers of every batch.

        Raises:
            DataError: labels are needed and not there, or do not belong to the images.
            UsageError: no batch, or one that this proxy cannot use; or the score is not finite.
                Only `naswot` may be minus infinity.
        """
        score = self.value(network, batches, labels)
        if np.isnan(score) or score == float("inf"):
            raise UsageError(
                f"The proxy '{self.name}' gives this network no finite score: a value inside is "
                "too large or not a number. Check its weights, or rank by another proxy."
            )
        return score

    def value(
        self,
        network: nn.Module,
        batches: Sequence[Tensor],
        labels: Sequence[Tensor] | None = None,
    ) -> float:
        """The same, whatever number comes out: to rank networks of which some have no score.

        Raises:
            DataError, UsageError: as a call does, but for scores that are not finite.
        """
        if not batches:
            raise UsageError(f"The proxy '{self.name}' needs at least one batch of images.")
        if labels is not None and len(labels) != len(batches):
            raise DataError(
                f"{len(batches)} batches of images have {len(labels)} batches of labels. Give one "
                "for each."
            )
        of_batches = labels if labels is not None else [None] * len(batches)
        pairs = zip(batches, of_batches, strict=True)
        return float(np.mean([self.score_batch(network, *pair) for pair in pairs]))


PROXIES: Mapping[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        Proxy("grad_norm", grad_norm, needs_labels=True),
        Proxy("jacov", jacov),
        Proxy("naswot", naswot_score),
        Proxy("snip", snip, needs_labels=True),
        Proxy("synflow", synflow),
    )
}
"""By name; each is called with (network, batches of images, batches of labels or None)."""


def get_proxy(name: str) -> Proxy:
    """The proxy of this name; raises UnknownNameError where there is none."""
    if name not in PROXIES:
        raise UnknownNameError("zero-cost proxy", name, PROXIES)
    return PROXIES[name]


def _checked(network: nn.Module, images: Tensor, at_least: int = 2) -> Tensor:
    """The images on the network's device."""
    if images.dim() != 4 or len(images) < at_least or not images.is_floating_point():
        raise UsageError(
            f"A batch must be (images, channels, height, width) numbers of at least {at_least} "
            f"images; this one is {images.dtype} {tuple(images.shape)}. Give larger batches."
        )
    device = next((parameter.device for parameter in network.parameters()), images.device)
    return images.to(device)


def _log_determinant(kernel: Tensor, per_image: bool) -> float:
    matrix = kernel.cpu().numpy()
    if np.linalg.matrix_rank(matrix, hermitian=True) < len(matrix):
        return float("-inf")
    score = float(np.linalg.slogdet(matrix).logabsdet)
    return score / len(matrix) if per_image else score


def _correlations(rows: Float) -> Float:
    """Pearson's correlation of all pairs of rows; a constant row correlates with itself alone."""
    centred = rows - rows.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    found: Float = unit @ unit.T
    np.fill_diagonal(found, 1)
    return found


def _weights_and_gradients(
    network: nn.Module, images: Tensor, labels: Tensor | None, name: str
) -> list[tuple[Tensor, Tensor]]:
    images = _checked(network, images)
    if labels is None:
        raise DataError(
            f"The proxy '{name}' needs labels, and the images have none. Give labelled images, or "
            "rank by 'naswot', 'jacov' or 'synflow'."
        )
    with torch.enable_grad(), modes(network, batch_statistics=True):
        with WeightsUsed() as used:
            answers = run(network, images, leaves(network))
        loss = F.cross_entropy(answers, _fitting(labels, answers))
        gradients = _gradients(loss, used.tensors)
    return [(w.detach(), grad) for w, grad in zip(used.tensors, gradients, strict=True)]


def _fitting(labels: Tensor, answers: Tensor) -> Tensor:
    classes = answers.shape[-1]
    if labels.shape != answers.shape[:1] or not ((labels >= 0) & (labels < classes)).all():
        raise DataError(
            f"Labels must be {len(answers)} class numbers from 0 to {classes - 1}, one an image; "
            f"these are {labels.tolist()}. Give the labels of the task that the network answers."
        )
    return labels.to(answers.device, torch.int64)


def _gradients(value: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Of `value` by every weight; zeros where it does not depend on one."""
    if not weights:
        return ()
    return torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
