"""A stand-in for TensorRT that runs networks on the CPU, through OpenVINO.

It has the named-tensor interface, as version STANDIN_TENSORRT (10.3.0 unless told otherwise) has
it: what came later or is gone by then is missing here too. A plan is a small container around the
ONNX file. Work goes through the driver as a host function on the caller's stream, so that it comes
in its turn and can be recorded into a graph; it reads the memory when it is its turn.

Where the real one crashes or computes nonsense, this one raises SystemError, answers False or
breaks the GPU. STANDIN_TENSORRT_FAIL=n: the first n builds run out of memory.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import hashlib
import itertools
import json
import os
import sys
import types
import weakref

import numpy as np
import onnx

__version__ = os.environ.get("STANDIN_TENSORRT", "10.3.0")
_MAJOR = int(__version__.partition(".")[0])


# ------------------------------------------------------------------------------------ the driver


@functools.cache
def _driver():
    driver = ctypes.CDLL("libcuda.so.1")
    driver.standin_covers.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    return driver


def _need_driver():
    if not _driver().standin_live(b"driver"):
        raise SystemError("Segmentation fault: cuInit was not called before TensorRT was used")


def _need_context():
    _need_driver()
    current = ctypes.c_void_p()
    _driver().cuCtxGetCurrent(ctypes.byref(current))
    if not current:
        raise SystemError("Segmentation fault: no CUDA context is current on this thread")


def _compute_capability():
    return os.environ.get("STANDIN_CC") or "8.6"


# ----------------------------------------------------------------------------------------- types


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    if _MAJOR >= 10:
        INT64 = 8

    @property
    def itemsize(self):
        return np.dtype(nptype(self)).itemsize


float32, float16, int8, int32 = DataType.FLOAT, DataType.HALF, DataType.INT8, DataType.INT32
bool, uint8 = DataType.BOOL, DataType.UINT8  # noqa: A001
if _MAJOR >= 10:
    int64 = DataType.INT64

_NUMPY = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "INT64": np.int64,
}
# As onnx.TensorProto numbers them.
_ONNX_TYPES = {1: DataType.FLOAT, 10: DataType.HALF, 3: DataType.INT8, 9: DataType.BOOL}
_OPENVINO = {
    "f32": "FLOAT",
    "f16": "HALF",
    "i8": "INT8",
    "i32": "INT32",
    "boolean": "BOOL",
    "u8": "UINT8",
    "i64": "INT64",
}


def nptype(dtype):
    return _NUMPY[dtype.name]


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.IntEnum):
    DEVICE = 0
    HOST = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0
    DLA_MANAGED_SRAM = 1
    DLA_LOCAL_DRAM = 2
    DLA_GLOBAL_DRAM = 3
    TACTIC_DRAM = 4


def _flags(name, *members):
    return enum.IntEnum(name, {member: value for value, member in members})


# (number, name) of what this version has.
NetworkDefinitionCreationFlag = _flags(
    "NetworkDefinitionCreationFlag",
    *[(0, "EXPLICIT_BATCH")] * (_MAJOR < 11),
    *[(1, "STRONGLY_TYPED")] * (_MAJOR >= 10),
    *[(2, "PREFER_AOT_PYTHON_PLUGINS")] * (_MAJOR >= 11),
)
BuilderFlag = _flags(
    "BuilderFlag",
    *[(0, "FP16"), (1, "INT8")] * (_MAJOR < 11),
    (2, "DEBUG"),
    (3, "GPU_FALLBACK"),
    (4, "REFIT"),
    (5, "DISABLE_TIMING_CACHE"),
    (7, "TF32"),
    *[(12, "PREFER_PRECISION_CONSTRAINTS")] * (_MAJOR < 11),
)
if _MAJOR == 8:
    PreviewFeature = _flags("PreviewFeature", (2, "PROFILE_SHARING_0806"))


class Dims(tuple):
    __slots__ = ()


class IHostMemory(bytes):
    @property
    def nbytes(self):
        return len(self)


# --------------------------------------------------------------------------------------- logging


class _Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


def _not_overridden(method):
    """Return what the real bindings raise when a class of the caller's lacks a method."""
    return RuntimeError(f'Tried to call pure virtual function "{method}"')


class ILogger:
    Severity = _Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = _Severity

    def __init__(self):
        self._initialised = True

    def log(self, severity, msg):
        raise _not_overridden("ILogger::log")


class Logger(ILogger):
    def __init__(self, min_severity=_Severity.WARNING):
        super().__init__()
        self.min_severity = min_severity

    def log(self, severity, msg):
        if severity <= self.min_severity:
            print(f"[TRT] [{severity.name}] {msg}", file=sys.stderr)


def _checked(logger):
    if not isinstance(logger, ILogger):
        raise TypeError(f"incompatible constructor arguments: {logger!r} is no ILogger")
    if not getattr(logger, "_initialised", False):
        raise TypeError("tensorrt.ILogger.__init__() must be called when overriding __init__")
    return logger


def init_libnvinfer_plugins(logger, namespace):
    return True


# ------------------------------------------------------------------------------------- OpenVINO


@functools.cache
def _openvino():
    # As in the installation itself: nobody's telemetry, and no remarks on containers.
    os.environ.setdefault("HWLOC_HIDE_ERRORS", "2")
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


def _read(onnx_bytes):
    return _openvino().Core().read_model(onnx_bytes, b"")


class _Port:
    """What is known of an input or output of a network."""

    def __init__(self, port, name):
        self.name = name
        kind = port.element_type.get_type_name()
        if not hasattr(DataType, _OPENVINO.get(kind, "")):
            raise ValueError(f"{name}: TensorRT {__version__} has no type for {kind}")
        self.dtype = DataType[_OPENVINO[kind]]
        self.shape = _dims(port.partial_shape)


def _dims(partial_shape):
    return Dims(-1 if d.is_dynamic else d.get_length() for d in partial_shape)


def _ports(onnx_bytes):
    """Return inputs and outputs in the order and by the names of the file."""
    import onnx

    graph = onnx.load_from_string(onnx_bytes).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in constants]
    model = _read(onnx_bytes)
    return (
        [_Port(model.input(name), name) for name in inputs],
        [_Port(model.output(value.name), value.name) for value in graph.output],
    )


# -------------------------------------------------------------------------------------- building


class ITensor:
    __slots__ = ("dtype", "is_network_input", "name", "shape")

    def __init__(self, port, is_input):
        self.name, self.dtype, self.shape = port.name, port.dtype, port.shape
        self.is_network_input = is_input


class INetworkDefinition:
    def __init__(self, flags):
        self._flags, self._onnx, self._inputs, self._outputs = flags, None, [], []
        self.name = "Unnamed Network 0"

    def get_flag(self, flag):
        return self._flags >> int(flag) & 1 == 1

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]

    @functools.cached_property
    def _layers(self):
        graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(self._onnx)).graph
        kinds = {
            tensor.name: tensor.type.tensor_type.elem_type
            for tensor in (*graph.value_info, *graph.output)
        }
        return [ILayer([kinds.get(name, 1) for name in node.output]) for node in graph.node]

    num_layers = property(lambda self: len(self._layers))

    def get_layer(self, index):
        return self._layers[index]


class ILayer:
    """A node, as far as its precision is concerned."""

    def __init__(self, kinds):
        self._kinds = kinds
        self.num_outputs = len(kinds)
        self.precision = None

    def get_output(self, index):
        return types.SimpleNamespace(dtype=_ONNX_TYPES.get(self._kinds[index], DataType.INT32))


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text

    def code(self):
        return 6  # MODEL_DESERIALIZE_FAILED

    def node(self):
        return -1

    def __str__(self):
        return f"In node -1 with name:  and operator:  (parse): {self._text}"


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._logger, self._errors = network, _checked(logger), []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def clear_errors(self):
        self._errors.clear()

    def parse(self, model, path=None):
        if _MAJOR < 10 and not self._network.get_flag(0):
            return self._refuse("This version of the ONNX parser only supports explicit batch")
        try:
            inputs, outputs = _ports(bytes(model))
        except Exception as error:  # of protobuf, of OpenVINO: whatever they make of bad bytes
            return self._refuse(f"Failed to parse the ONNX model: {str(error).splitlines()[0]}")
        self._network._onnx = bytes(model)
        self._network._inputs = [ITensor(port, True) for port in inputs]
        self._network._outputs = [ITensor(port, False) for port in outputs]
        return True

    def parse_from_file(self, model):
        if not isinstance(model, str):
            raise TypeError(f"parse_from_file(): incompatible arguments: {model!r} is no str")
        import onnx

        try:
            # With weights that lie beside the file.
            content = onnx.load(model).SerializeToString()
        except OSError:
            return self._refuse(f"Failed to open file: {model}")
        except Exception as error:
            return self._refuse(f"Failed to parse ONNX model from file: {model}: {error}")
        return self.parse(content)

    def _refuse(self, text):
        self._errors.append(ParserError(text))
        self._logger.log(ILogger.ERROR, text)
        return False


class IOptimizationProfile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):  # noqa: A002
        shapes = [Dims(shape) for shape in (min, opt, max)]
        if len({len(shape) for shape in shapes}) != 1 or not all(
            0 <= a <= b <= c for a, b, c in zip(*shapes, strict=True)
        ):
            raise ValueError(f"Shape provided for min is inconsistent with other shapes: {shapes}")
        self._shapes[input] = shapes

    def get_shape(self, input):  # noqa: A002
        return self._shapes.get(input, [])


class ITimingCache:
    def __init__(self, entries):
        self._entries = entries

    def serialize(self):
        header = f"standin-timing {__version__} {_compute_capability()}\n"
        return IHostMemory((header + "\n".join(sorted(self._entries or ()))).encode())

    def combine(self, other, ignore_mismatch):
        self._entries |= other._entries
        return True


class IBuilderConfig:
    __slots__ = (
        "_cache",
        "_flags",
        "_pools",
        "_profiles",
        "avg_timing_iterations",
        "builder_optimization_level",
        "profiling_verbosity",
        *["progress_monitor"] * (_MAJOR >= 10),
        "_previews",
    )

    def __init__(self):
        self._cache, self._flags, self._pools, self._profiles = None, {BuilderFlag.TF32}, {}, []
        self.avg_timing_iterations, self.builder_optimization_level = 1, 3
        self.profiling_verbosity = 0
        self._previews = set()
        if _MAJOR >= 10:
            self.progress_monitor = None

    def set_memory_pool_limit(self, pool, pool_size):
        self._pools[MemoryPoolType(pool)] = int(pool_size)

    def get_memory_pool_limit(self, pool):
        return self._pools.get(pool, 8 << 30)

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    num_optimization_profiles = property(lambda self: len(self._profiles))

    def set_flag(self, flag):
        self._flags.add(BuilderFlag(flag))

    def clear_flag(self, flag):
        self._flags.discard(flag)

    def get_flag(self, flag):
        return flag in self._flags

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(_timing_entries(bytes(serialized_timing_cache)))

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._entries is None and not ignore_mismatch:
            return False
        cache._entries = cache._entries or set()
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

    if _MAJOR == 8:

        def set_preview_feature(self, feature, enable):
            (self._previews.add if enable else self._previews.discard)(feature)


def _timing_entries(content):
    """Return what was timed; none if the content is of another version or card, or spoilt."""
    header, _, entries = content.decode(errors="replace").partition("\n")
    if content and header != f"standin-timing {__version__} {_compute_capability()}":
        return None
    return set(entries.split())


if _MAJOR >= 10:

    class IProgressMonitor:
        def __init__(self):
            pass

        def phase_start(self, phase_name, parent_phase, num_steps):
            raise _not_overridden("IProgressMonitor::phaseStart")

        def step_complete(self, phase_name, step):
            raise _not_overridden("IProgressMonitor::stepComplete")

        def phase_finish(self, phase_name):
            raise _not_overridden("IProgressMonitor::phaseFinish")


_builds = itertools.count()


class Builder:
    def __init__(self, logger):
        _need_driver()
        self.logger = _checked(logger)

    def create_network(self, flags=0):
        return INetworkDefinition(int(flags))

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    if _MAJOR < 11:
        platform_has_fast_fp16 = True

    def build_serialized_network(self, network, config):
        problem = self._problem(network, config)
        if problem:
            self.logger.log(ILogger.ERROR, f"IBuilder::buildSerializedNetwork: {problem}")
            return None
        if not self._show_progress(getattr(config, "progress_monitor", None)):
            self.logger.log(ILogger.ERROR, "Error Code 1: Cancelled by the progress monitor")
            return None
        if config._cache is not None:
            config._cache._entries.add(hashlib.sha256(network._onnx).hexdigest())
        profiles = [profile._shapes for profile in config._profiles]
        shared = _MAJOR >= 10 or PreviewFeature.PROFILE_SHARING_0806 in config._previews
        return IHostMemory(_pack(network._onnx, profiles, network.name, shared))

    def _problem(self, network, config):
        if next(_builds) < int(os.environ.get("STANDIN_TENSORRT_FAIL") or 0):
            self.logger.log(
                ILogger.WARNING,
                "Requested amount of GPU memory (1073741824 bytes) could not be allocated. "
                "There may not be enough free memory for allocation to succeed.",
            )
            return (
                "Error Code 10: Internal Error (Could not find any implementation for node "
                "{ForeignNode[Conv_0]} due to insufficient workspace. OutOfMemory.)"
            )
        if network._onnx is None:
            return "Error Code 4: API Usage Error (Network must have at least one output)"
        strongly = hasattr(NetworkDefinitionCreationFlag, "STRONGLY_TYPED") and network.get_flag(
            NetworkDefinitionCreationFlag.STRONGLY_TYPED
        )
        if strongly and any(flag.name in ("FP16", "INT8") for flag in config._flags):
            return "Error Code 3: API Usage Error (precision flags on a strongly typed network)"
        if _MAJOR < 10:
            flags = {flag.name for flag in config._flags}
            if b"QuantizeLinear" in network._onnx and "INT8" not in flags:
                return "Error Code 4: Internal Error (int8 is not configured in the builder)"
            halves = any(tensor.dtype == DataType.HALF for tensor in network._inputs)
            if halves and "FP16" not in flags:
                return "Error Code 4: Internal Error (fp16 precision has not been set)"
        for tensor in network._inputs:
            if -1 in tensor.shape and not config._profiles:
                return (
                    "Error Code 4: API Usage Error (Network has dynamic or shape inputs, but no "
                    "optimization profile has been defined.)"
                )
            for number, profile in enumerate(config._profiles):
                shapes = profile._shapes.get(tensor.name)
                if shapes is None and -1 in tensor.shape:
                    return f"Error Code 4: API Usage Error ({tensor.name}: not in profile {number})"
                if shapes and not all(_fits(shape, tensor.shape) for shape in shapes):
                    return (
                        f"Error Code 4: API Usage Error ({tensor.name}: profile {number} does not "
                        f"fit the network's {tensor.shape})"
                    )
        return None

    def _show_progress(self, monitor):
        if monitor is None:
            return True
        try:
            for phase, parent in (("Building Engine", None), ("Tactics", "Building Engine")):
                monitor.phase_start(phase, parent, 4)
                for step in range(4):
                    if not monitor.step_complete(phase, step):
                        return False
                monitor.phase_finish(phase)
        except Exception as error:  # the real one swallows it likewise, in C++
            self.logger.log(ILogger.ERROR, f"progress monitor: {error}")
            return False
        return True


def _fits(shape, template):
    return len(shape) == len(template) and all(
        b in (-1, a) for a, b in zip(shape, template, strict=True)
    )


# ----------------------------------------------------------------------------------------- plans

_MAGIC = b"ptrt-standin\n"


def _pack(onnx_bytes, profiles, name, shared):
    header = {
        "version": __version__,
        "compute": _compute_capability(),
        "sha256": hashlib.sha256(onnx_bytes).hexdigest(),
        "profiles": profiles,
        "name": name,
        "shared": shared,
    }
    return _MAGIC + json.dumps(header).encode() + b"\n" + onnx_bytes


def _unpack(plan):
    """Return header and ONNX; raise ValueError with the words of the real one."""
    magic, rest = plan[: len(_MAGIC)], plan[len(_MAGIC) :]
    if magic != _MAGIC:
        raise ValueError(
            "Error Code 1: Serialization (Serialization assertion plan->header.magicTag == "
            "rt::kPLAN_MAGIC_TAG failed.Trying to load an engine created with incompatible "
            "serialization version.)"
        )
    header, _, onnx_bytes = rest.partition(b"\n")
    try:
        header = json.loads(header)
    except ValueError:
        raise ValueError("Error Code 1: Serialization (the plan is cut short)") from None
    if header["version"] != __version__:
        raise ValueError(
            "Error Code 6: API Usage Error (The engine plan file is not compatible with this "
            f"version of TensorRT, expecting library version {__version__} got "
            f"{header['version']}, please rebuild.)"
        )
    if header["compute"] != _compute_capability():
        raise ValueError(
            "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible "
            f"device, expecting compute {_compute_capability()} got compute {header['compute']}, "
            "please rebuild.)"
        )
    if header["sha256"] != hashlib.sha256(onnx_bytes).hexdigest():
        raise ValueError("Error Code 1: Serialization (the plan is cut short or spoilt)")
    return header, onnx_bytes


# --------------------------------------------------------------------------------------- running


class Runtime:
    def __init__(self, logger):
        _need_driver()
        self.logger = _checked(logger)

    def deserialize_cuda_engine(self, serialized_engine):
        _need_context()
        try:
            header, onnx_bytes = _unpack(bytes(serialized_engine))
        except ValueError as error:
            self.logger.log(ILogger.ERROR, f"IRuntime::deserializeCudaEngine: {error}")
            return None
        return ICudaEngine(header, onnx_bytes, self.logger)


class ICudaEngine:
    def __init__(self, header, onnx_bytes, logger):
        self.name = header["name"]
        self._logger = logger
        # Whether several contexts may use one profile, and which context uses which.
        self._shared = header["shared"]
        self._users = weakref.WeakValueDictionary()
        self._profiles = [
            {name: [Dims(shape) for shape in shapes] for name, shapes in profile.items()}
            for profile in header["profiles"]
        ] or [{}]
        inputs, outputs = _ports(onnx_bytes)
        self._inputs = {port.name: port for port in inputs}
        self._outputs = {port.name: port for port in outputs}
        self._tensors = self._inputs | self._outputs
        self._model = _read(onnx_bytes)
        self._compiled = (
            _openvino()
            .Core()
            .compile_model(
                self._model,
                "CPU",
                {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
            )
        )

    num_io_tensors = property(lambda self: len(self._tensors))
    num_optimization_profiles = property(lambda self: len(self._profiles))
    if _MAJOR < 11:
        device_memory_size = property(lambda self: 0)
    if _MAJOR >= 10:
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
        _need_context()
        return IExecutionContext(self)

    def _output_shapes(self, shapes):
        model = self._model.clone()
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        return {name: _dims(model.output(name).partial_shape) for name in self._outputs}


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
        if not _fits(shape, template) or (
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
        if _driver().cuStreamIsCapturing(stream, ctypes.byref(status)):
            return self._error("enqueueV3: Error Code 1: Cuda Runtime (invalid resource handle)")
        job = next(_numbers)
        _jobs[job] = _Job(self, bindings, recorded=status.value != 0)
        code = _driver().cuLaunchHostFunc(stream, _run_job, ctypes.c_void_p(job))
        if code:
            del _jobs[job]
            return self._error(f"enqueueV3: Error Code 1: Cuda Runtime ({code})")
        return True


class _Binding:
    def __init__(self, address, shape, dtype):
        self.address, self.shape, self.dtype = address, shape, dtype
        self.size = int(np.prod(shape)) * np.dtype(dtype).itemsize

    def valid(self):
        return _driver().standin_covers(self.address, self.size) == 1

    def array(self):
        content = (ctypes.c_char * self.size).from_address(self.address)
        return np.frombuffer(content, self.dtype).reshape(self.shape)


class _Job:
    """One call of execute_async_v3: the driver comes back to it by its number."""

    def __init__(self, context, bindings, recorded):
        # What is on its way does not keep its context alive, nor does it in the real one.
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
    except Exception as error:  # nobody is above us but C
        print(f"[TRT] stand-in: {error}", file=sys.stderr)
        _driver().standin_poison(700)
    if not job.recorded:
        del _jobs[number]
