"""Donors: zoo models, loaded and dissected once each, at the input sizes asked for."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from compiler.architectures import outline
from compiler.dissection import Dissection, dissect
from compiler.input_sizes import sized_copies
from compiler.preprocessing import Preprocessing
from compiler.zoo import Zoo, ZooModel
from targets.errors import ZooError


class Donors:
    """The zoo's models, loaded and cut on first use and kept for the process."""

    def __init__(self, zoo: Zoo, shapes_only: bool = False) -> None:
        """Take the zoo.

        Args:
            zoo: the donors.
            shapes_only: make the donors on the meta device, without weights: enough to cut and to
                count, in a fraction of the time and memory.
        """
        self.zoo = zoo
        self.shapes_only = shapes_only
        self._modules: dict[str, nn.Module] = {}
        self._dissections: dict[tuple[str, int], Dissection] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Every donor's full name, in the zoo's order."""
        return tuple(model.name for model in self.zoo.models)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The donors' own input sizes in pixels, each once, ascending."""
        return tuple(sorted({model.preprocessing.input_size for model in self.zoo.models}))

    def model(self, name: str) -> ZooModel:
        """The zoo's description of a donor."""
        return self.zoo.find(name)

    def module(self, name: str) -> nn.Module:
        """The donor itself: eval mode, parameters frozen."""
        if name not in self._modules:
            module = self._load(self.zoo.find(name)).eval().requires_grad_(False)
            self._modules[name] = module.to(memory_format=torch.channels_last)
        return self._modules[name]

    def preprocessing(self, name: str, size: int) -> Preprocessing:
        """How the donor wants its input, at a size that need not be its own."""
        return self.zoo.find(name).preprocessing.at(size)

    def dissection(self, name: str, size: int) -> Dissection:
        """The donor's cuts at an input size.

        An architecture that refuses other sizes than its own is asked to change (as timm's vision
        transformers can); its parameters are then copies.

        Raises:
            ZooError: the donor does not take this size, or cannot be cut.
        """
        if (name, size) not in self._dissections:
            self._dissections[name, size] = self._dissect(name, size)
        return self._dissections[name, size]

    def _load(self, model: ZooModel) -> nn.Module:
        return outline(model.architecture, model.options) if self.shapes_only else model.load()

    def _dissect(self, name: str, size: int) -> Dissection:
        try:
            return dissect(self.module(name), size, name)
        except ZooError as refused:
            for resized in self._resized(name, size):
                try:
                    return dissect(resized, size, name)
                except ZooError:
                    continue
            raise refused

    def _resized(self, name: str, size: int) -> Iterator[nn.Module]:
        """The donor changed to another input size, in every way that it offers."""
        model = self.zoo.find(name)
        if size == model.preprocessing.input_size:
            return
        yield from sized_copies(self.module(name), size)
        if model.weights_path is None and not model.weights_sha256:
            # Trained weights would not fit what is made anew; random ones are as good as others.
            made = replace(model, options=(*model.options, ("img_size", size)))
            try:
                yield self._load(made).float().eval().requires_grad_(False)
            except ZooError:
                return
