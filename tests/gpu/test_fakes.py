"""The fakes themselves: if they are not strict, tests on them prove nothing."""

import shutil

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.gpu.fake_cuda_build import FakeBuildError, prepare

START = """
import atexit
import ctypes
import numpy as np
import pycuda.driver as cuda

cuda.init()
L = ctypes.CDLL("libcuda.so.1")
context = cuda.Device(0).retain_primary_context()
context.push()
atexit.register(lambda: L.fake_cuda_live(b"pushed") and cuda.Context.pop())
live = lambda: {
    kind: count
    for kind in ("device", "pinned", "stream", "event", "module", "graph", "exec", "context",
                 "pushed")
    if (count := L.fake_cuda_live(kind.encode()))
}
line = np.dtype([("slope", np.float32), ("offset", np.float32)])
stream = cuda.Stream(1)


def refused(code, what, *arguments, **named):
    try:
        what(*arguments, **named)
    except cuda.Error as error:
        assert code in str(error), error
    else:
        raise AssertionError(f"not refused: {what}")


def record(work, mode=1):
    graph, ready, handle = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p(stream.handle)
    assert L.cuStreamBeginCapture_v2(handle, mode) == 0
    try:
        work()
    finally:
        code = L.cuStreamEndCapture(handle, ctypes.byref(graph))
    if code:
        return code, None
    assert L.cuGraphInstantiateWithFlags(ctypes.byref(ready), graph, ctypes.c_ulonglong(0)) == 0
    assert L.cuGraphDestroy(graph) == 0
    return 0, ready
"""

LINE = (
    START
    + """
source, target = (cuda.pagelocked_empty(1000, np.float32) for _ in "ab")
there, back = cuda.mem_alloc(source.nbytes), cuda.mem_alloc(source.nbytes)
module = cuda.module_from_buffer(b"any image will do")
kernel = module.get_function("fake_cuda_line")


def launch(slope=2, offset=1):
    cuda.memcpy_htod_async(there, source, stream)
    kernel(there, back, np.array((slope, offset), line), np.int32(1000),
           block=(256, 1, 1), grid=(4, 1), stream=stream)
    cuda.memcpy_dtoh_async(target, back, stream)
"""
)


def test_work_runs_when_it_is_waited_for_and_not_before(run_on_fakes):
    run_on_fakes(
        LINE
        + """
source[:], target[:] = range(1000), -1
launch()
assert (target == -1).all()
stream.synchronize()
assert (target == 2 * np.arange(1000) + 1).all()
"""
    )


def test_a_graph_reads_memory_when_it_is_launched(run_on_fakes):
    run_on_fakes(
        LINE
        + """
target[:] = -1
code, graph = record(launch)
stream.synchronize()
assert code == 0 and (target == -1).all()
for start in (5, 7):
    source[:] = start
    assert L.cuGraphLaunch(graph, ctypes.c_void_p(stream.handle)) == 0
    stream.synchronize()
    assert (target == 2 * start + 1).all()
assert L.cuGraphExecDestroy(graph) == 0
assert L.cuGraphExecDestroy(graph) == 400
"""
    )


def test_synchronising_calls_invalidate_a_capture(run_on_fakes):
    run_on_fakes(
        LINE
        + """
pageable = np.empty(1000, np.float32)
for forbidden in (
    lambda: cuda.mem_alloc(4),
    lambda: cuda.memcpy_htod(there, source),
    lambda: cuda.memcpy_htod_async(there, pageable, stream),
    lambda: cuda.memcpy_dtoh_async(pageable, back, stream),
    stream.synchronize,
    context.synchronize,
):
    assert record(lambda: refused("", forbidden)) == (901, None)
assert record(lambda: launch())[0] == 0
"""
    )


def test_a_thread_without_a_context_is_rejected(run_on_fakes):
    run_on_fakes(
        START
        + """
from threading import Thread

errors = []


def work():
    try:
        cuda.mem_alloc(100)
    except cuda.Error as error:
        errors.append(str(error))


thread = Thread(target=work)
thread.start()
thread.join()
assert ["invalid device context" in error for error in errors] == [True], errors
"""
    )


def test_nothing_is_counted_after_everything_is_freed(run_on_fakes):
    run_on_fakes(
        LINE
        + """
event = cuda.Event()
event.record(stream)
code, graph = record(launch)
assert live() == {"device": 2, "pinned": 2, "stream": 1, "event": 1, "module": 1, "exec": 1,
                  "context": 1, "pushed": 1}
L.cuGraphExecDestroy(graph)
del launch, kernel, module, there, back, source, target, event, stream, record
cuda.Context.pop()
assert live() == {"context": 1}
context.detach()
assert live() == {}
assert L.fake_cuda_calls(b"cuMemFree") == 2
"""
    )


def test_leaks_are_counted(run_on_fakes):
    run_on_fakes(
        START
        + """
pointer = ctypes.c_uint64()
assert L.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(100)) == 0
del stream
cuda.Context.pop()
context.detach()
assert live() == {"device": 1}
"""
    )


def test_invalid_memory_is_rejected(run_on_fakes):
    run_on_fakes(
        START
        + """
memory, bytes = cuda.mem_alloc(100), np.zeros(101, np.uint8)
refused("invalid argument", cuda.memcpy_htod, memory, bytes)
fresh = np.zeros(100, np.uint8)
cuda.memcpy_dtoh(fresh, memory)
assert (fresh == 0xCD).all()
address = int(memory)
memory.free()
refused("invalid argument", cuda.memcpy_dtoh, fresh, address)
assert L.cuMemFree_v2(ctypes.c_uint64(address)) == 1
"""
    )


@pytest.mark.parametrize("place", ["len(source) * 1000", "-2000"])
def test_an_illegal_access_breaks_the_gpu(run_on_fakes, place):
    run_on_fakes(
        LINE
        + f"""
stray = module.get_function("fake_cuda_stray")
stray(there, np.int64({place}), block=(1, 1, 1), stream=stream)
refused("illegal", stream.synchronize)
refused("illegal", launch)
"""
    )


def test_a_write_just_past_the_end_is_detected(run_on_fakes):
    run_on_fakes(
        LINE
        + """
stray = module.get_function("fake_cuda_stray")
stray(back, np.int64(1000), block=(1, 1, 1), stream=stream)
stream.synchronize()
assert L.cuMemFree_v2(ctypes.c_uint64(int(back))) == 700
import os; os._exit(0)
"""
    )


def test_kernel_arguments_are_checked(run_on_fakes):
    run_on_fakes(
        LINE
        + """
refused("invalid argument", kernel, there, back, np.int32(1), block=(1, 1, 1))
refused("invalid argument", kernel, there, back, np.zeros((), line), np.int32(1),
        block=(2048, 1, 1))
refused("not found", module.get_function, "no_such_kernel")
"""
    )


def test_injected_failures(run_on_fakes):
    run_on_fakes(
        LINE
        + """
stream.synchronize()
refused("out of memory", cuda.mem_alloc, 4)
launch()
refused("launch", stream.synchronize)
refused("launch", launch)
L.fake_cuda_fail(b"")
launch()
stream.synchronize()
""",
        # pycuda collects garbage and asks again when memory runs out.
        FAKE_CUDA_FAIL="cuMemAlloc:3+:2,cuStreamSynchronize:2:719",
    )


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"FAKE_CUDA_DEVICES": "0"}, "no CUDA-capable device"),
        ({"FAKE_CUDA_INIT": "35"}, "cuInit failed"),
    ],
)
def test_a_machine_without_a_gpu(run_on_fakes, environment, words):
    said = run_on_fakes(
        """
        import pycuda.driver as cuda
        try:
            cuda.init()
        except cuda.Error as error:
            print(error)
        """,
        **environment,
    )
    assert words in said


def test_the_device_is_configurable(run_on_fakes):
    said = run_on_fakes(
        START + "d = cuda.Device(0); print(d.name(), d.compute_capability(), d.total_memory())",
        FAKE_CUDA_NAME="Orin",
        FAKE_CUDA_CC="8.7",
        FAKE_CUDA_MEMORY="1000000",
    )
    assert said == "Orin (8, 7) 1000000\n"


TENSORRT = (
    START
    + """
import tensorrt as trt


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()
        self.lines = []

    def log(self, severity, text):
        self.lines.append((severity, text))


log = Log()


def build(profile=((1, 3), (2, 3), (4, 3))):
    builder = trt.Builder(log)
    kinds = trt.NetworkDefinitionCreationFlag.__members__
    network = builder.create_network(sum(1 << int(kind) for kind in kinds.values()))
    parser = trt.OnnxParser(network, log)
    assert parser.parse_from_file("double.onnx"), parser.get_error(0)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 20)
    if "STRONGLY_TYPED" not in kinds:
        config.set_flag(trt.BuilderFlag.FP16)
    if profile:
        shapes = builder.create_optimization_profile()
        shapes.set_shape("x", *profile)
        assert config.add_optimization_profile(shapes) == 0
    return builder.build_serialized_network(network, config)


def load(plan):
    return trt.Runtime(log).deserialize_cuda_engine(plan)
"""
)


@pytest.fixture(params=[np.float32, np.float16])
def network(request, tmp_path):
    """y = 2 x, for any number of rows of three."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(request.param))
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", kind, ["n", 3])],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
        [numpy_helper.from_array(np.array(2, request.param), "two")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "double.onnx")
    return np.dtype(request.param).name


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.0.0"])
def test_tensorrt_runs_a_network_under_a_graph(run_on_fakes, network, version):
    run_on_fakes(
        TENSORRT
        + f"dtype = np.dtype('{network}')"
        + """
engine = load(bytes(build()))
names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
assert names == ["x", "y"] and engine.get_tensor_mode("y") == trt.TensorIOMode.OUTPUT
assert engine.get_tensor_shape("x") == (-1, 3)
assert engine.get_tensor_profile_shape("x", 0) == [(1, 3), (2, 3), (4, 3)]
assert trt.nptype(engine.get_tensor_dtype("x")) == dtype
run = engine.create_execution_context()
x, y = (cuda.pagelocked_empty((4, 3), dtype) for _ in "xy")
memory = {name: cuda.mem_alloc(x.nbytes) for name in names}
assert not run.set_input_shape("x", (5, 3)) and run.infer_shapes() == ["x"]
assert not run.execute_async_v3(stream.handle)
assert run.set_input_shape("x", (3, 3)) and run.get_tensor_shape("y") == (3, 3)
assert not run.execute_async_v3(stream.handle)
assert all(run.set_tensor_address(name, int(memory[name])) for name in names)


def work():
    cuda.memcpy_htod_async(memory["x"], x, stream)
    assert run.execute_async_v3(stream.handle)
    cuda.memcpy_dtoh_async(y, memory["y"], stream)


x[:], y[:] = 1, -1
work()
assert (y == -1).all()
stream.synchronize()
assert (y[:3] == 2).all()
code, graph = record(work)
for value in (5, 7):
    x[:] = value
    assert L.cuGraphLaunch(graph, ctypes.c_void_p(stream.handle)) == 0
    stream.synchronize()
    assert (y[:3] == 2 * value).all()
memory["x"].free()
assert not run.execute_async_v3(stream.handle)
""",
        FAKE_TENSORRT_VERSION=version,
    )


def test_tensorrt_rejects_foreign_and_damaged_plans(run_on_fakes, network):
    run_on_fakes(
        TENSORRT
        + """
import os

plan = bytes(build())
assert build(profile=None) is None and "no optimization profile" in log.lines[-1][1]
os.environ["FAKE_CUDA_CC"] = "8.9"
for bad in (plan, b"", b"ftrt" + plan, plan[:-1]):
    assert load(bad) is None
    assert log.lines[-1][0] == trt.ILogger.ERROR
del os.environ["FAKE_CUDA_CC"]
assert load(plan[:-1]) is None and load(plan) is not None
"""
    )


def test_tensorrt_runs_out_of_memory_as_often_as_configured(run_on_fakes, network):
    run_on_fakes(
        TENSORRT + "assert [build() is None for _ in range(3)] == [True, True, False]",
        FAKE_TENSORRT_FAIL="2",
    )


def test_tensorrt_before_cuda_is_a_crash(run_on_fakes):
    run_on_fakes(
        """
        import tensorrt as trt
        try:
            trt.Runtime(trt.Logger())
        except SystemError:
            raise SystemExit(0)
        raise AssertionError
        """
    )


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ("8.6.1", {"IProgressMonitor", "STRONGLY_TYPED"}),
        ("10.3.0", set()),
        ("11.0.0", {"EXPLICIT_BATCH", "FP16", "INT8", "device_memory_size"}),
    ],
)
def test_each_version_of_tensorrt_has_its_interface(run_on_fakes, version, missing):
    said = run_on_fakes(
        """
        import tensorrt as trt
        for place, name in (
            (trt, "IProgressMonitor"),
            (trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"),
            (trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"),
            (trt.BuilderFlag, "FP16"),
            (trt.BuilderFlag, "INT8"),
            (trt.ICudaEngine, "device_memory_size"),
        ):
            if not hasattr(place, name):
                print(name)
        """,
        FAKE_TENSORRT_VERSION=version,
    )
    assert set(said.split()) == missing


def test_without_a_compiler_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FakeBuildError, match=r"^g\+\+ is missing.*apt-get install[^\n]*$"):
        prepare(tmp_path)
