"""The thousand classes of ImageNet-1k, in the order in which classifiers number them."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from timm.data.imagenet_info import ImageNetInfo


@lru_cache(maxsize=1)
def class_names() -> tuple[str, ...]:
    """What each class shows, e.g. "tench, Tinca tinca" for 0; two of the thousand names repeat."""
    return tuple(str(name) for name in ImageNetInfo().label_descriptions())


@lru_cache(maxsize=1)
def wnids() -> tuple[str, ...]:
    """The WordNet name of each class, e.g. "n01440764" for 0."""
    return tuple(str(name) for name in ImageNetInfo().label_names())  # type: ignore[no-untyped-call]  # timm


@lru_cache(maxsize=1)
def wnid_to_index() -> Mapping[str, int]:
    """From WordNet name to class number: {"n01440764": 0, ...}."""
    return MappingProxyType({name: index for index, name in enumerate(wnids())})
