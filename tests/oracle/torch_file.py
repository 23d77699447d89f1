"""Reads the tensors of a PyTorch checkpoint without PyTorch.

In: a `.pth` file in the legacy (pre-1.6) format: five pickles in a row (magic number, protocol version, system
information, the object, the order of the storages), then for each storage its element count as a little-endian int64
and its raw elements. Out: a dictionary from parameter name to NumPy array.

The unpickler admits nothing but the few names that a state dictionary needs, so a hostile file cannot run code.
"""

import collections
import math
import pathlib
import pickle

import numpy

LEGACY_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL_VERSION = 1001
STORAGE_TYPES = {"FloatStorage": numpy.dtype("<f4"), "LongStorage": numpy.dtype("<i8")}


class _Storage:
    """A flat run of elements that tensors are views of; its elements are filled in after unpickling."""

    def __init__(self, dtype, length):
        self.dtype = dtype
        self.length = length
        self.elements = None


class _TensorView:
    """A tensor before its storage has been read."""

    def __init__(self, storage, offset, shape, strides):
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides

    def array(self):
        """The tensor as a dense row-major array; refuses views that reach outside their storage."""
        if len(self.shape) != len(self.strides) or min((self.offset, *self.shape, *self.strides)) < 0:
            raise ValueError(f"a tensor of shape {self.shape} with strides {self.strides} is malformed")
        if math.prod(self.shape) == 0:
            return numpy.zeros(self.shape, self.storage.dtype)
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        if last >= self.storage.length:
            raise ValueError(f"a tensor of shape {self.shape} reaches outside its storage of {self.storage.length}")
        byte_strides = [stride * self.storage.dtype.itemsize for stride in self.strides]
        view = numpy.lib.stride_tricks.as_strided(self.storage.elements[self.offset :], self.shape, byte_strides)
        return numpy.ascontiguousarray(view).reshape(self.shape)


def _rebuild_tensor(storage, offset, shape, strides, _requires_grad, _hooks):
    return _TensorView(storage, offset, shape, strides)


class _StateDictUnpickler(pickle.Unpickler):
    """Unpickles a state dictionary and collects the storages that it refers to."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state dictionary")

    def persistent_load(self, persistent_id):
        kind, dtype, key, _location, length, _view = persistent_id
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown persistent object {kind!r}")
        return self.storages.setdefault(key, _Storage(dtype, length))


def read_state_dict(path: pathlib.Path) -> dict[str, numpy.ndarray]:
    """Reads all tensors of the legacy checkpoint at `path`."""
    with open(path, "rb") as file:
        magic, protocol, _system = (_StateDictUnpickler(file).load() for _ in range(3))
        if magic != LEGACY_MAGIC_NUMBER or protocol != LEGACY_PROTOCOL_VERSION:
            raise ValueError(f"{path} is not a legacy PyTorch checkpoint")
        unpickler = _StateDictUnpickler(file)
        views = unpickler.load()
        for key in _StateDictUnpickler(file).load():
            storage = unpickler.storages[key]
            (length,) = numpy.fromfile(file, "<i8", 1)
            if length != storage.length:
                raise ValueError(f"{path}: storage {key} has {length} elements where {storage.length} were announced")
            storage.elements = numpy.fromfile(file, storage.dtype, storage.length)
            if storage.elements.size != storage.length:
                raise ValueError(f"{path} ends inside storage {key}")
    return {name: view.array() for name, view in views.items()}
