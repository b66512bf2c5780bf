"""Donors: zoo models, loaded and dissected once each, at the input sizes asked for."""

import torch
from torch import nn

from compiler.dissection import Dissection, dissect
from compiler.preprocessing import Preprocessing
from compiler.zoo import Zoo, ZooModel


class Donors:
    """The zoo's models, loaded and cut on first use and kept for the process."""

    def __init__(self, zoo: Zoo) -> None:
        self.zoo = zoo
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
            module = self.zoo.find(name).load().eval().requires_grad_(False)
            self._modules[name] = module.to(memory_format=torch.channels_last)
        return self._modules[name]

    def preprocessing(self, name: str, size: int) -> Preprocessing:
        """How the donor wants its input, at a size that need not be its own."""
        return self.zoo.find(name).preprocessing.at(size)

    def dissection(self, name: str, size: int) -> Dissection:
        """The donor's cuts at an input size."""
        if (name, size) not in self._dissections:
            self._dissections[name, size] = dissect(self.module(name), size, name)
        return self._dissections[name, size]
