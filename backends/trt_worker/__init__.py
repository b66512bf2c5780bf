"""The process that TensorRT and pycuda live in; `backends.trt_process` starts it.

It runs on an interpreter of its own, of Python 3.8 to 3.13, which need not have derycc: it imports
the standard library, numpy, TensorRT, pycuda and ctypes alone. Of TensorRT it calls what 8.6, 10
and 11 have in common; everything else is asked for by name first.
"""
