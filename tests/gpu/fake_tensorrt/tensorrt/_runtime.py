"""Running plans on the CPU, in the order of a CUDA stream."""

from __future__ import annotations

import ctypes
import itertools
import sys
import weakref

import numpy as np

from ._driver import driver, require_context, require_driver
from ._network import dims, openvino_module, ports, read_model
from ._plans import unpack
from ._types import DataType, Dims, ILogger, TensorIOMode, TensorLocation, checked, fits, nptype
from ._versions import has


class Runtime:
    def __init__(self, logger):
        require_driver()
        self.logger = checked(logger)

    def deserialize_cuda_engine(self, serialized_engine):
        require_context()
        try:
            header, onnx_bytes = unpack(bytes(serialized_engine))
        except ValueError as error:
            self.logger.log(ILogger.ERROR, f"IRuntime::deserializeCudaEngine: {error}")
            return None
        return ICudaEngine(header, onnx_bytes, self.logger)


class ICudaEngine:
    def __init__(self, header, onnx_bytes, logger):
        self.name = header["name"]
        self._logger = logger
        # Whether contexts may share a profile, and which context uses which profile.
        self._shared = header["shared"]
        self._users = weakref.WeakValueDictionary()
        self._profiles = [
            {name: [Dims(shape) for shape in shapes] for name, shapes in profile.items()}
            for profile in header["profiles"]
        ] or [{}]
        inputs, outputs = ports(onnx_bytes)
        self._inputs = {port.name: port for port in inputs}
        self._outputs = {port.name: port for port in outputs}
        self._tensors = self._inputs | self._outputs
        self._model = read_model(onnx_bytes)
        self._compiled = (
            openvino_module()
            .Core()
            .compile_model(
                self._model,
                "CPU",
                {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
            )
        )

    num_io_tensors = property(lambda self: len(self._tensors))
    num_optimization_profiles = property(lambda self: len(self._profiles))
    if has("ICudaEngine.device_memory_size"):
        device_memory_size = property(lambda self: 0)
    if has("ICudaEngine.device_memory_size_v2"):
        device_memory_size_v2 = property(lambda self: 0)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        if name in self._inputs:
            return TensorIOMode.INPUT
        return TensorIOMode.OUTPUT if name in self._outputs else TensorIOMode.NONE

    def get_tensor_location(self, name):
        return TensorLocation.DEVICE

    def get_tensor_shape(self, name):
        return self._tensors[name].shape if name in self._tensors else Dims()

    def get_tensor_dtype(self, name):
        return self._tensors[name].dtype if name in self._tensors else DataType.FLOAT

    def get_tensor_profile_shape(self, name, profile_index):
        shapes = self._profiles[profile_index].get(name)
        return shapes or [self._inputs[name].shape] * 3

    def create_execution_context(self):
        require_context()
        return IExecutionContext(self)

    def _output_shapes(self, shapes):
        model = self._model.clone()
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        return {name: dims(model.output(name).partial_shape) for name in self._outputs}


class IExecutionContext:
    def __init__(self, engine):
        self.engine = engine
        self.name = ""
        self._request = engine._compiled.create_infer_request()
        self._addresses = {}
        self._profile = 0
        self._shapes = {}
        self._known_outputs = {}

    active_optimization_profile = property(lambda self: self._profile)
    all_binding_shapes_specified = property(lambda self: not self.infer_shapes())

    def _error(self, text):
        self.engine._logger.log(ILogger.ERROR, f"IExecutionContext::{text}")
        return False

    def set_optimization_profile_async(self, profile_index, stream_handle):
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            return self._error(f"setOptimizationProfileAsync: there is no {profile_index}")
        self._profile, self._shapes = profile_index, {}
        return True

    def set_input_shape(self, name, shape):
        if name not in self.engine._inputs:
            return self._error(f"setInputShape: Error Code 3: API Usage Error (no input {name})")
        shape = Dims(map(int, shape))
        least, _, most = self.engine.get_tensor_profile_shape(name, self._profile)
        template = self.engine._inputs[name].shape
        bounded = -1 not in least
        if not fits(shape, template) or (
            bounded and not all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))
        ):
            return self._error(
                f"setInputShape: Error Code 3: API Usage Error ({name}: {shape} does not satisfy "
                f"any optimization profiles: {least} to {most})"
            )
        user = self.engine._users.setdefault(self._profile, self)
        if user is not self and not self.engine._shared:
            return self._error(
                f"setInputShape: Error Code 3: API Usage Error (profile {self._profile} is used by "
                "another context)"
            )
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name):
        if name in self.engine._inputs:
            return self._shapes.get(name, self.engine._inputs[name].shape)
        if self.infer_shapes() or name not in self.engine._outputs:
            return self.engine.get_tensor_shape(name)
        shapes = tuple(self._input_shapes().items())
        if shapes not in self._known_outputs:
            self._known_outputs[shapes] = self.engine._output_shapes(dict(shapes))
        return self._known_outputs[shapes][name]

    def _input_shapes(self):
        return {name: self.get_tensor_shape(name) for name in self.engine._inputs}

    def infer_shapes(self):
        return [name for name, shape in self._input_shapes().items() if -1 in shape]

    def set_tensor_address(self, name, memory):
        if name not in self.engine._tensors:
            return self._error(f"setTensorAddress: no tensor {name}")
        memory = int(memory)
        if memory % 256:
            return self._error(f"setTensorAddress: {name} is not aligned to 256 bytes")
        self._addresses[name] = memory
        return True

    def get_tensor_address(self, name):
        return self._addresses.get(name, 0)

    def execute_async_v3(self, stream_handle):
        missing = self.infer_shapes()
        if missing:
            return self._error(f"enqueueV3: Error Code 3: API Usage Error (no shape of {missing})")
        bindings = {}
        for name, port in self.engine._tensors.items():
            shape, address = self.get_tensor_shape(name), self._addresses.get(name, 0)
            binding = _Binding(address, shape, nptype(port.dtype))
            if not address or not binding.valid():
                return self._error(
                    f"enqueueV3: Error Code 3: API Usage Error (address of {name} is not set, or "
                    f"not that of {binding.size} bytes of the GPU's memory)"
                )
            bindings[name] = binding
        status = ctypes.c_int()
        stream = ctypes.c_void_p(int(stream_handle))
        if driver().cuStreamIsCapturing(stream, ctypes.byref(status)):
            return self._error("enqueueV3: Error Code 1: Cuda Runtime (invalid resource handle)")
        job = next(_numbers)
        _jobs[job] = _Job(self, bindings, recorded=status.value != 0)
        code = driver().cuLaunchHostFunc(stream, _run_job, ctypes.c_void_p(job))
        if code:
            del _jobs[job]
            return self._error(f"enqueueV3: Error Code 1: Cuda Runtime ({code})")
        return True


class _Binding:
    def __init__(self, address, shape, dtype):
        self.address, self.shape, self.dtype = address, shape, dtype
        self.size = int(np.prod(shape)) * np.dtype(dtype).itemsize

    def valid(self):
        return driver().fake_cuda_covers(self.address, self.size) == 1

    def array(self):
        content = (ctypes.c_char * self.size).from_address(self.address)
        return np.frombuffer(content, self.dtype).reshape(self.shape)


class _Job:
    """One call of execute_async_v3; the driver refers to it by its number."""

    def __init__(self, context, bindings, recorded):
        # Work in a stream does not keep its context alive, as in the real library.
        self.context, self.bindings, self.recorded = weakref.ref(context), bindings, recorded

    def run(self):
        context = self.context()
        if context is None:
            raise RuntimeError("the execution context is gone")
        if not all(binding.valid() for binding in self.bindings.values()):
            raise RuntimeError("a tensor's memory is gone")
        engine = context.engine
        context._request.infer(
            {name: self.bindings[name].array().copy() for name in engine._inputs}
        )
        for name in engine._outputs:
            self.bindings[name].array()[...] = context._request.get_tensor(name).data


_numbers = itertools.count(1)
_jobs: dict[int, _Job] = {}


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _run_job(number):
    job = _jobs[number]
    try:
        job.run()
    except Exception as error:  # only C is above
        print(f"[TRT] fake: {error}", file=sys.stderr)
        driver().fake_cuda_poison(700)
    if not job.recorded:
        del _jobs[number]
