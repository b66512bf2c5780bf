"""Precisions: what they are called wherever one is chosen; knows no torch."""

FLOAT, INT8 = "fp32", "int8"
