"""Architectures that timm does not have; importing this package registers them with timm."""

from compiler.models.mobilenext import MobileNeXt, SandglassBlock

__all__ = ["MobileNeXt", "SandglassBlock"]
