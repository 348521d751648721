# ruff: noqa: F401  # the names of the real package
"""A fake TensorRT that runs networks on the CPU, through OpenVINO.

It has the named-tensor interface of version 10, or that of FAKE_TENSORRT_VERSION; `_versions` lists
the differences. A plan is a small container around the ONNX file. Work goes through the driver as a
host function on the caller's stream, so that it runs in its turn and can be captured into a graph;
it reads the memory when it runs.

Where the real library crashes or computes nonsense, this one raises SystemError, returns False or
breaks the GPU. FAKE_TENSORRT_FAIL=n: the first n builds run out of memory.

It is kinder than the real library in this:

* It accepts every operator that OpenVINO does; the real parser knows fewer.
* Precisions are checked, not applied: everything is computed in float32, so that fp16 and int8 lose
  no more than the ONNX file itself does, and TF32 is ignored.
* Building takes no time and no workspace, whatever the limit; there are no tactics, and a timing
  cache changes nothing.
* A plan is bound to version and compute capability alone, not to the model of the GPU.
* Engines and contexts take no GPU memory, so that neither fails for lack of it.
* Work can be captured into a graph without a run before it that settles the shapes.
* Use of one context from several threads at once is not noticed.
* Error messages have the gist of the real ones, not always their words.
"""

from ._builder import Builder, IBuilderConfig, IOptimizationProfile, ITimingCache
from ._network import ILayer, INetworkDefinition, ITensor, OnnxParser, ParserError
from ._runtime import ICudaEngine, IExecutionContext, Runtime
from ._types import (
    BuilderFlag,
    DataType,
    Dims,
    IHostMemory,
    ILogger,
    Logger,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    TensorIOMode,
    TensorLocation,
    init_libnvinfer_plugins,
    nptype,
)
from ._versions import VERSION, has

__version__ = VERSION

float32, float16, int8, int32 = DataType.FLOAT, DataType.HALF, DataType.INT8, DataType.INT32
bool, uint8 = DataType.BOOL, DataType.UINT8  # noqa: A001
if has("DataType.INT64"):
    int64 = DataType.INT64
if has("PreviewFeature"):
    from ._types import PreviewFeature
if has("IProgressMonitor"):
    from ._builder import IProgressMonitor
