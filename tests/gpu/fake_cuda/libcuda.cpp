// A fake CUDA driver library, as strict as the manual allows a driver to be.
//
// Device memory is host memory, kernels are those of kernels.cpp. Asynchronous work runs as late as
// possible: it waits in its stream until the program waits for the stream or queries it, so that a
// program that forgets to synchronise reads old bytes every time, not once a month. Freed memory is
// never reused and cannot be read; handles are never reused.
//
// Environment: FAKE_CUDA_DEVICES, FAKE_CUDA_NAME, FAKE_CUDA_CC, FAKE_CUDA_DRIVER, FAKE_CUDA_MEMORY (bytes),
// FAKE_CUDA_INTEGRATED, FAKE_CUDA_INIT (result of cuInit), FAKE_CUDA_FAIL (see fake_cuda_fail).
// Functions of the driver that are not defined here are stubs that return 34.

#include "kernels.h"

#pragma GCC visibility push(default)
#include <cuda.h>
extern "C" {
int fake_cuda_live(const char *kind);
long fake_cuda_calls(const char *function);
void fake_cuda_fail(const char *plan);
void fake_cuda_poison(int code);
int fake_cuda_covers(uintptr_t address, size_t size);
}
#pragma GCC visibility pop

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using Lock = std::unique_lock<std::mutex>;
using Clock = std::chrono::steady_clock;

// ---------------------------------------------------------------------------------------- state

struct Object {
    const char *kind;
    unsigned long owner;  // the life of a context that it belongs to
    virtual ~Object() = default;
};

struct Event;

struct Work {
    std::function<CUresult()> run;
    std::shared_ptr<Event> event = nullptr;  // recorded when this is done
};

struct Capture {
    CUstreamCaptureMode mode;
    std::thread::id thread;
    std::vector<Work> works;
    bool broken = false;
};

struct Stream : Object {
    unsigned flags = 0;
    int priority = 0;
    std::deque<Work> queue;
    uint64_t issued = 0, done = 0;
    bool busy = false;
    std::shared_ptr<Capture> capture;
    bool origin = false, joined = true;  // of the capture
    uint64_t captured = 0;               // how many works went into the capture from here

    bool blocking() const { return !(flags & CU_STREAM_NON_BLOCKING); }
};

struct Event : Object {
    unsigned flags = 0;
    std::shared_ptr<Stream> stream;  // none: not recorded yet
    uint64_t mark = 0;
    Clock::time_point at;
    std::shared_ptr<Capture> capture;  // in which it stands for a place rather than a time

    bool done() const { return !stream || stream->done >= mark; }
};

struct Module : Object {};

struct Function : Object {
    std::shared_ptr<Module> module;
    const Kernel *kernel = nullptr;
};

struct Graph : Object {
    std::vector<Work> works;
};

struct Exec : Graph {};

struct Block {
    const char *kind;
    size_t size;
    unsigned long owner;
    char *map = nullptr;  // none: somebody else's memory, registered
    size_t map_size = 0;
    unsigned flags = 0;
};

struct Primary {
    int retained = 0;
    unsigned flags = 0;
    unsigned long life = 0;  // counts how often the context has been destroyed
    int pushed = 0;          // places on stacks of threads, ended ones included
};

struct Failure {
    std::string function;
    long call;
    bool lasting;
    CUresult code;
};

struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool initialised = false;
    CUresult sticky = CUDA_SUCCESS;
    std::vector<Primary> devices;
    std::map<uintptr_t, std::shared_ptr<Object>> objects;
    std::map<uintptr_t, Block> blocks;
    uintptr_t next_handle = 0x5eed0000;
    size_t used = 0;
    std::map<std::string, long> calls;
    bool failures_read = false;
    std::vector<Failure> failures;
    std::shared_ptr<Stream> legacy = std::make_shared<Stream>();
};

// Never destroyed: programs still call the driver while they end.
State &state = *new State;

struct Place {
    int device;
    unsigned long life;
};
thread_local std::vector<Place> *stack = nullptr;
thread_local bool in_callback = false;
thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

std::string setting(const char *name, const char *otherwise) {
    const char *value = std::getenv(name);
    return value && *value ? value : otherwise;
}

size_t total_memory() { return std::stoull(setting("FAKE_CUDA_MEMORY", "8589934592")); }

std::pair<int, int> compute_capability() {
    std::istringstream text(setting("FAKE_CUDA_CC", "8.6"));
    int major = 0, minor = 0;
    char dot;
    text >> major >> dot >> minor;
    return {major, minor};
}

// --------------------------------------------------------------------------------- every call

bool is_sticky(CUresult code) { return (code >= 700 && code < 800) || code == CUDA_ERROR_UNKNOWN; }

void poison(CUresult code) {
    if (!state.sticky)
        state.sticky = code;
}

// cuMemAlloc and cuMemAlloc_v2 are the same to those who count.
std::string plain(const char *function) {
    std::string name = function;
    size_t end = name.rfind("_v");
    bool versioned = end != std::string::npos && end + 2 < name.size() &&
                     name.find_first_not_of("0123456789", end + 2) == std::string::npos;
    return versioned ? name.substr(0, end) : name;
}

void plan_failures(const char *plan) {
    state.failures.clear();
    std::istringstream list(plan ? plan : "");
    for (std::string item; std::getline(list, item, ',');) {
        std::istringstream parts(item);
        std::string function, call, code;
        std::getline(parts, function, ':');
        std::getline(parts, call, ':');
        std::getline(parts, code, ':');
        function = plain(function.c_str());
        state.failures.push_back({function, state.calls[function] + std::stol(call),
                                  call.back() == '+', CUresult(std::stoi(code))});
    }
}

CUresult injected(const char *function) {
    if (!state.failures_read) {
        state.failures_read = true;
        plan_failures(std::getenv("FAKE_CUDA_FAIL"));
    }
    std::string name = plain(function);
    long call = ++state.calls[name];
    for (const Failure &failure : state.failures)
        if (failure.function == name &&
            (failure.call == call || (failure.lasting && failure.call < call))) {
            if (is_sticky(failure.code))
                poison(failure.code);
            return failure.code;
        }
    return CUDA_SUCCESS;
}

unsigned long owner_of(int device) { return state.devices[device].life * 64 + device; }

bool alive(unsigned long owner) {
    size_t device = owner % 64;
    return device < state.devices.size() && state.devices[device].retained &&
           owner == owner_of(int(device));
}

CUcontext handle_of(int device) {
    return reinterpret_cast<CUcontext>(uintptr_t(0xc0de0000) + 16 * device);
}

int device_of(CUcontext context) {
    for (size_t device = 0; device < state.devices.size(); ++device)
        if (handle_of(int(device)) == context && state.devices[device].retained)
            return int(device);
    return -1;
}

CUresult current(unsigned long *owner = nullptr) {
    if (!stack || stack->empty())
        return CUDA_ERROR_INVALID_CONTEXT;
    Place top = stack->back();
    unsigned long top_owner = top.life * 64 + top.device;
    if (owner)
        *owner = top_owner;
    return alive(top_owner) ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

// Some calls are forbidden while a graph is being recorded: they might wait for what was recorded
// and has not run. Whoever makes one loses the recording too.
CUresult disturb_captures() {
    CUresult code = CUDA_SUCCESS;
    for (auto &[handle, object] : state.objects) {
        auto stream = dynamic_cast<Stream *>(object.get());
        if (!stream || !stream->capture || thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
            continue;
        Capture &capture = *stream->capture;
        bool own = capture.thread == std::this_thread::get_id();
        bool minds = own ? capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED
                         : capture.mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                               thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
        if (minds) {
            capture.broken = true;
            code = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return code;
}

enum Needs {
    NOTHING = 0,
    DRIVER = 1,         // cuInit
    CONTEXT = 2,        // that, and a context that is current on this thread
    NO_CAPTURE = 4,     // no graph being recorded that would mind
    CLEAN_UP = 8,       // goes ahead after the GPU failed, but says so
};

struct Call {
    Lock lock;
    unsigned long owner = 0;  // before the code, which sets it
    CUresult code;

    Call(const char *function, int needs) : lock(state.mutex), code(check(function, needs)) {}

    CUresult check(const char *function, int needs) {
        if (CUresult failure = injected(function))
            return failure;
        if (in_callback && needs)
            return CUDA_ERROR_NOT_PERMITTED;
        if (needs && !state.initialised)
            return CUDA_ERROR_NOT_INITIALIZED;
        if (needs & CONTEXT)
            if (CUresult failure = current(&owner))
                return failure;
        if (state.sticky && needs & CONTEXT && !(needs & CLEAN_UP))
            return state.sticky;
        return needs & NO_CAPTURE ? disturb_captures() : CUDA_SUCCESS;
    }
};

#define API(NEEDS)                 \
    Call call(__func__, (NEEDS)); \
    if (call.code)                 \
        return call.code

#define REFUSE_IF(CONDITION, CODE) \
    if (CONDITION)                 \
        return CODE

// ------------------------------------------------------------------------------------- handles

template <class H, class T> H add(std::shared_ptr<T> object, const char *kind, Call &call) {
    object->kind = kind;
    object->owner = call.owner;
    uintptr_t handle = state.next_handle += 16;
    state.objects[handle] = std::move(object);
    return reinterpret_cast<H>(handle);
}

template <class T, class H> std::shared_ptr<T> find(H handle, Call &call) {
    auto found = state.objects.find(reinterpret_cast<uintptr_t>(handle));
    if (found == state.objects.end() || found->second->owner != call.owner)
        return nullptr;
    return std::dynamic_pointer_cast<T>(found->second);
}

template <class H> void forget(H handle) {
    state.objects.erase(reinterpret_cast<uintptr_t>(handle));
}

std::shared_ptr<Stream> find_stream(CUstream handle, Call &call) {
    return handle == nullptr || handle == CU_STREAM_LEGACY ? state.legacy
                                                           : find<Stream>(handle, call);
}

// --------------------------------------------------------------------------------------- memory

const Block *block_at(uintptr_t address, size_t size, uintptr_t *start = nullptr) {
    auto after = state.blocks.upper_bound(address);
    if (after == state.blocks.begin())
        return nullptr;
    auto &[begin, block] = *std::prev(after);
    size_t offset = address - begin;
    if (offset >= block.size || size > block.size - offset || !alive(block.owner))
        return nullptr;
    if (start)
        *start = begin;
    return &block;
}

const Block *block_at(const void *address, size_t size) {
    return block_at(reinterpret_cast<uintptr_t>(address), size);
}

bool same(const char *kind, const char *other) { return !std::strcmp(kind, other); }

bool is(const Block *block, const char *kind) { return block && same(block->kind, kind); }

constexpr size_t no_mans_land = 64 << 20;

// Memory with much on both sides that nobody may touch; it ends as close there as alignment lets.
CUresult allocate(const char *kind, size_t size, unsigned flags, Call &call, uintptr_t *result) {
    size_t page = size_t(sysconf(_SC_PAGESIZE)), rounded = (size + 255) / 256 * 256;
    REFUSE_IF(!size, CUDA_ERROR_INVALID_VALUE);
    REFUSE_IF(same(kind, "device") && size > total_memory() - state.used,
              CUDA_ERROR_OUT_OF_MEMORY);
    size_t body = (rounded + page - 1) / page * page;
    size_t whole = body + 2 * no_mans_land;
    void *map = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REFUSE_IF(map == MAP_FAILED, CUDA_ERROR_OUT_OF_MEMORY);
    char *base = static_cast<char *>(map), *start = base + no_mans_land;
    REFUSE_IF(mprotect(start, body, PROT_READ | PROT_WRITE), CUDA_ERROR_OUT_OF_MEMORY);
    std::memset(start, 0xcd, body);
    *result = reinterpret_cast<uintptr_t>(start + body - rounded);
    state.blocks[*result] = {kind, size, call.owner, base, whole, flags};
    if (same(kind, "device"))
        state.used += size;
    return CUDA_SUCCESS;
}

CUresult release(const char *kind, uintptr_t address) {
    auto found = state.blocks.find(address);
    REFUSE_IF(found == state.blocks.end() || !is(&found->second, kind) ||
                  !alive(found->second.owner),
              CUDA_ERROR_INVALID_VALUE);
    Block block = found->second;
    REFUSE_IF(!block.map, CUDA_ERROR_INVALID_VALUE);
    // A kernel that wrote a little too far has spoilt what lies between the end and the next page.
    auto tail = reinterpret_cast<const unsigned char *>(address) + block.size;
    auto end = reinterpret_cast<const unsigned char *>(address) + (block.size + 255) / 256 * 256;
    if (std::any_of(tail, end, [](unsigned char byte) { return byte != 0xcd; }))
        poison(CUDA_ERROR_ILLEGAL_ADDRESS);
    state.blocks.erase(found);
    // Kept reserved, so that an old pointer never points to something new.
    mmap(block.map, block.map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (same(kind, "device"))
        state.used -= block.size;
    return state.sticky;
}

// --------------------------------------------------------------------------------------- streams

// Run what waits in a stream up to a mark. The lock is open while something runs.
void drain(Lock &lock, const std::shared_ptr<Stream> &stream, uint64_t mark) {
    while (stream->done < mark) {
        if (stream->busy) {
            state.changed.wait(lock);
            continue;
        }
        Work work = std::move(stream->queue.front());
        stream->queue.pop_front();
        stream->busy = true;
        if (!state.sticky && work.run) {
            lock.unlock();
            CUresult code = work.run();
            lock.lock();
            if (code)
                poison(code);
        }
        if (work.event)
            work.event->at = Clock::now();
        stream->busy = false;
        ++stream->done;
        state.changed.notify_all();
    }
}

std::vector<std::shared_ptr<Stream>> all_streams(unsigned long owner) {
    std::vector<std::shared_ptr<Stream>> found{state.legacy};
    for (auto &[handle, object] : state.objects)
        if (auto stream = std::dynamic_pointer_cast<Stream>(object))
            if (stream->owner == owner)
                found.push_back(stream);
    return found;
}

void push(const std::shared_ptr<Stream> &stream, Work work) {
    ++stream->issued;
    if (work.event) {
        work.event->stream = stream;
        work.event->mark = stream->issued;
        work.event->capture = nullptr;
    }
    stream->queue.push_back(std::move(work));
}

CUresult submit(Call &call, const std::shared_ptr<Stream> &stream, Work work) {
    if (stream == state.legacy) {
        // The legacy stream waits for all blocking ones, and here everybody waits for it.
        auto streams = all_streams(call.owner);
        for (auto &other : streams)
            if (other->blocking() && other->capture) {
                other->capture->broken = true;
                return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            }
        for (auto &other : streams)
            if (other->blocking())
                drain(call.lock, other, other->issued);
        push(stream, std::move(work));
        drain(call.lock, stream, stream->issued);
        return state.sticky;
    }
    if (!stream->capture) {
        push(stream, std::move(work));
        return CUDA_SUCCESS;
    }
    REFUSE_IF(stream->capture->broken, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    stream->capture->works.push_back(std::move(work));
    ++stream->captured;
    stream->joined = stream->origin;
    return CUDA_SUCCESS;
}

CUresult wait_for(Call &call, const std::shared_ptr<Stream> &stream, uint64_t mark) {
    if (stream->capture) {
        stream->capture->broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    drain(call.lock, stream, mark);
    return state.sticky;
}

// ---------------------------------------------------------------------------------------- copies

struct Side {
    CUmemorytype type;
    uintptr_t address;
    size_t pitch;
};

Side on_device(CUdeviceptr pointer) { return {CU_MEMORYTYPE_DEVICE, uintptr_t(pointer), 0}; }

Side on_host(const void *pointer) {
    return {CU_MEMORYTYPE_HOST, reinterpret_cast<uintptr_t>(pointer), 0};
}

struct Rows {
    Side to, from;
    size_t width, height;

    size_t extent(const Side &side) const { return side.pitch * (height - 1) + width; }

    // Whether the GPU can reach a side by itself.
    bool reachable(const Side &side) const { return block_at(side.address, extent(side)); }

    bool sound(const Side &side) const {
        if (!side.address || (height > 1 && side.pitch < width))
            return false;
        if (side.type == CU_MEMORYTYPE_DEVICE)
            return reachable(side);
        // Host memory: pinned, and then all of it, or none of the GPU's business.
        const Block *block = block_at(side.address, 1);
        return !block || (is(block, "pinned") && reachable(side));
    }

    void run() const {
        for (size_t row = 0; row < height; ++row)
            std::memmove(reinterpret_cast<void *>(to.address + row * to.pitch),
                         reinterpret_cast<const void *>(from.address + row * from.pitch), width);
    }
};

CUresult copy(Call &call, CUstream handle, Rows rows) {
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(!rows.width || !rows.height, CUDA_SUCCESS);
    for (Side *side : {&rows.to, &rows.from})
        if (side->type == CU_MEMORYTYPE_UNIFIED)
            side->type = block_at(side->address, 1) ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    REFUSE_IF(!rows.sound(rows.to) || !rows.sound(rows.from), CUDA_ERROR_INVALID_VALUE);

    bool from_pageable = !rows.reachable(rows.from), to_pageable = !rows.reachable(rows.to);
    if (stream->capture && (from_pageable || to_pageable)) {
        stream->capture->broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    // A driver takes pageable bytes over before it returns, and returns only when it gave them.
    std::shared_ptr<std::vector<char>> staged;
    if (from_pageable) {
        staged = std::make_shared<std::vector<char>>(rows.width * rows.height);
        Rows stage = rows;
        stage.to = on_host(staged->data());
        rows.from.pitch = stage.to.pitch = rows.width;
        stage.run();
        rows.from.address = stage.to.address;
    }
    Work work{[rows, staged, to_pageable] {
        Lock lock(state.mutex);
        REFUSE_IF((!staged && !rows.reachable(rows.from)) ||
                      (!to_pageable && !rows.reachable(rows.to)),
                  CUDA_ERROR_ILLEGAL_ADDRESS);
        rows.run();
        return CUDA_SUCCESS;
    }};
    CUresult code = submit(call, stream, std::move(work));
    REFUSE_IF(code || !to_pageable, code);
    return wait_for(call, stream, stream->issued);
}

CUresult copy_rows(Call &call, CUstream stream, const CUDA_MEMCPY2D *what) {
    REFUSE_IF(!what, CUDA_ERROR_INVALID_VALUE);
    auto side = [](CUmemorytype type, const void *host, CUdeviceptr device, size_t pitch, size_t x,
                   size_t y) {
        Side side = type == CU_MEMORYTYPE_HOST ? on_host(host) : on_device(device);
        return Side{type, side.address + y * pitch + x, pitch};
    };
    REFUSE_IF(what->srcMemoryType == CU_MEMORYTYPE_ARRAY ||
                  what->dstMemoryType == CU_MEMORYTYPE_ARRAY,
              CUDA_ERROR_NOT_SUPPORTED);
    return copy(call, stream,
                {side(what->dstMemoryType, what->dstHost, what->dstDevice, what->dstPitch,
                      what->dstXInBytes, what->dstY),
                 side(what->srcMemoryType, what->srcHost, what->srcDevice, what->srcPitch,
                      what->srcXInBytes, what->srcY),
                 what->WidthInBytes, what->Height});
}

template <class T>
CUresult fill(Call &call, CUstream handle, CUdeviceptr to, T value, size_t count) {
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(!block_at(to, count * sizeof(T)) || to % sizeof(T), CUDA_ERROR_INVALID_VALUE);
    return submit(call, stream, {[=] {
        Lock lock(state.mutex);
        REFUSE_IF(!block_at(to, count * sizeof(T)), CUDA_ERROR_ILLEGAL_ADDRESS);
        std::fill_n(reinterpret_cast<T *>(to), count, value);
        return CUDA_SUCCESS;
    }});
}

// --------------------------------------------------------------------------------------- kernels

// A kernel that strays touches pages that nobody may touch: what was a crash becomes what a driver
// makes of it.
thread_local sigjmp_buf *escape = nullptr;
struct sigaction before_segv, before_bus;

void trap(int number, siginfo_t *, void *) {
    if (escape)
        siglongjmp(*escape, 1);
    // Not ours: comes again, and finds whoever was in charge before.
    sigaction(number, number == SIGBUS ? &before_bus : &before_segv, nullptr);
}

CUresult run_kernel(const Kernel &kernel, void **arguments, const unsigned *grid,
                    const unsigned *block) {
    {
        Lock lock(state.mutex);
        for (size_t i = 0; i < kernel.parameters.size(); ++i)
            if (kernel.parameters[i].pointer) {
                auto pointer = *static_cast<void **>(arguments[i]);
                REFUSE_IF(pointer && !block_at(pointer, 1), CUDA_ERROR_ILLEGAL_ADDRESS);
            }
    }
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> only(one_at_a_time);
    struct sigaction ours {};
    ours.sa_sigaction = trap;
    ours.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &ours, &before_segv);
    sigaction(SIGBUS, &ours, &before_bus);
    sigjmp_buf here;
    volatile CUresult code = CUDA_ERROR_ILLEGAL_ADDRESS;
    if (!sigsetjmp(here, 1)) {
        escape = &here;
        kernel.run(arguments, grid, block);
        code = CUDA_SUCCESS;
    }
    escape = nullptr;
    sigaction(SIGSEGV, &before_segv, nullptr);
    sigaction(SIGBUS, &before_bus, nullptr);
    return code;
}

struct Launch {
    const Kernel *kernel;
    unsigned grid[3], block[3];
    std::vector<char> bytes;
    std::vector<size_t> offsets;

    CUresult run() {
        std::vector<void *> arguments;
        for (size_t offset : offsets)
            arguments.push_back(bytes.data() + offset);
        return run_kernel(*kernel, arguments.data(), grid, block);
    }
};

// Take the values of a kernel's parameters over, as they are now.
CUresult pack(Launch &launch, void **parameters, void **extra) {
    size_t size = 0, align = 1;
    for (const Parameter &parameter : launch.kernel->parameters) {
        size = (size + parameter.align - 1) / parameter.align * parameter.align;
        launch.offsets.push_back(size);
        size += parameter.size;
        align = std::max(align, parameter.align);
    }
    launch.bytes.resize(size);
    REFUSE_IF(parameters && extra, CUDA_ERROR_INVALID_VALUE);
    if (parameters) {
        for (size_t i = 0; i < launch.offsets.size(); ++i) {
            REFUSE_IF(!parameters[i], CUDA_ERROR_INVALID_VALUE);
            std::memcpy(launch.bytes.data() + launch.offsets[i], parameters[i],
                        launch.kernel->parameters[i].size);
        }
        return CUDA_SUCCESS;
    }
    const void *buffer = nullptr;
    size_t given = 0;
    for (; extra && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            buffer = extra[1];
        else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
            given = *static_cast<size_t *>(extra[1]);
        else
            return CUDA_ERROR_INVALID_VALUE;
    }
    // Neither less nor more than the kernel takes, but for what rounds it up.
    REFUSE_IF(given != size && given != (size + align - 1) / align * align,
              CUDA_ERROR_INVALID_VALUE);
    if (size)
        std::memcpy(launch.bytes.data(), buffer, size);
    return CUDA_SUCCESS;
}

CUresult load(Call &call, CUmodule *module, const void *image) {
    REFUSE_IF(!module || !image, CUDA_ERROR_INVALID_VALUE);
    REFUSE_IF(!*static_cast<const char *>(image), CUDA_ERROR_INVALID_IMAGE);
    *module = add<CUmodule>(std::make_shared<Module>(), "module", call);
    return CUDA_SUCCESS;
}

CUresult record(Call &call, CUevent handle, CUstream stream_handle, unsigned flags) {
    auto event = find<Event>(handle, call);
    auto stream = find_stream(stream_handle, call);
    REFUSE_IF(!event || !stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(flags & ~unsigned(CU_EVENT_RECORD_EXTERNAL), CUDA_ERROR_INVALID_VALUE);
    if (stream->capture && !(flags & CU_EVENT_RECORD_EXTERNAL)) {
        REFUSE_IF(stream->capture->broken, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        event->stream = stream;
        event->capture = stream->capture;
        event->mark = stream->captured;
        return CUDA_SUCCESS;
    }
    return submit(call, stream, {nullptr, event});
}

CUresult make_stream(Call &call, CUstream *handle, unsigned flags, int priority) {
    REFUSE_IF(!handle || flags > CU_STREAM_NON_BLOCKING, CUDA_ERROR_INVALID_VALUE);
    auto stream = std::make_shared<Stream>();
    stream->flags = flags;
    stream->priority = std::clamp(priority, -5, 0);
    *handle = add<CUstream>(stream, "stream", call);
    return CUDA_SUCCESS;
}

CUresult device_exists(CUdevice device) {
    return device >= 0 && size_t(device) < state.devices.size() ? CUDA_SUCCESS
                                                                : CUDA_ERROR_INVALID_DEVICE;
}

void end_life(CUdevice device) {
    // What the program did not give back stays in the books, and is out of reach.
    Primary &primary = state.devices[device];
    primary.retained = primary.pushed = 0;
    ++primary.life;
}

void enter(int device) {
    if (!stack)
        stack = new std::vector<Place>;
    stack->push_back({device, state.devices[device].life});
    ++state.devices[device].pushed;
}

void leave() {
    Place top = stack->back();
    stack->pop_back();
    if (top.life == state.devices[top.device].life)
        --state.devices[top.device].pushed;
}

const std::map<int, std::pair<const char *, const char *>> errors = {
    {0, {"CUDA_SUCCESS", "no error"}},
    {1, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
    {2, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
    {3, {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"}},
    {34, {"CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"}},
    {35, {"CUDA_ERROR_INSUFFICIENT_DRIVER", "CUDA driver version is insufficient"}},
    {100, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
    {101, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
    {200, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
    {201, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
    {209, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for the device"}},
    {218, {"CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"}},
    {222, {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "unsupported PTX version"}},
    {301, {"CUDA_ERROR_FILE_NOT_FOUND", "file not found"}},
    {400, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}},
    {401, {"CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in this state"}},
    {500, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
    {600, {"CUDA_ERROR_NOT_READY", "device not ready"}},
    {700, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}},
    {702, {"CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"}},
    {709, {"CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"}},
    {712, {"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "memory is registered already"}},
    {713, {"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "memory is not registered"}},
    {719, {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}},
    {800, {"CUDA_ERROR_NOT_PERMITTED", "operation not permitted"}},
    {801, {"CUDA_ERROR_NOT_SUPPORTED", "operation not supported"}},
    {803, {"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "driver and library do not match"}},
    {900, {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "not permitted when stream is capturing"}},
    {901, {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "the capture failed before"}},
    {903, {"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "the capture began in another stream"}},
    {904, {"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "a stream has not joined its capture again"}},
    {905, {"CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "a capture depends on uncaptured work"}},
    {906, {"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "would depend on a capturing stream"}},
    {907, {"CUDA_ERROR_CAPTURED_EVENT", "the event was recorded in a capture"}},
    {908, {"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "another thread began the capture"}},
    {999, {"CUDA_ERROR_UNKNOWN", "unknown error"}},
};

CUresult explain(CUresult error, const char **text, bool name) {
    auto found = errors.find(error);
    *text = found == errors.end() ? nullptr : name ? found->second.first : found->second.second;
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

void write_text(char *target, int length, const std::string &text) {
    if (length > 0)
        target[text.copy(target, size_t(length) - 1)] = 0;
}

const std::string pci = "0000:01:00.";

}  // namespace

// --------------------------------------------------------------------------- driver and devices

CUresult cuGetErrorString(CUresult error, const char **text) { return explain(error, text, false); }

CUresult cuGetErrorName(CUresult error, const char **text) { return explain(error, text, true); }

CUresult cuInit(unsigned flags) {
    API(NOTHING);
    int answer = std::stoi(setting("FAKE_CUDA_INIT", "0"));
    int devices = std::stoi(setting("FAKE_CUDA_DEVICES", "1"));
    REFUSE_IF(answer, CUresult(answer));
    REFUSE_IF(flags, CUDA_ERROR_INVALID_VALUE);
    REFUSE_IF(devices < 1, CUDA_ERROR_NO_DEVICE);
    if (!state.initialised)
        state.devices.resize(size_t(devices));
    state.initialised = true;
    return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
    API(NOTHING);
    *version = std::stoi(setting("FAKE_CUDA_DRIVER", "13000"));
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
    API(DRIVER);
    *count = int(state.devices.size());
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    API(DRIVER);
    *device = ordinal;
    return device_exists(ordinal);
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    API(DRIVER);
    write_text(name, length, setting("FAKE_CUDA_NAME", "NVIDIA Fake"));
    return device_exists(device);
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
    API(DRIVER);
    std::memset(uuid->bytes, 0x5e, sizeof(uuid->bytes));
    uuid->bytes[15] = char(device);
    return device_exists(device);
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
    API(DRIVER);
    *bytes = total_memory();
    return device_exists(device);
}

CUresult cuDeviceGetPCIBusId(char *id, int length, CUdevice device) {
    API(DRIVER);
    write_text(id, length, pci + std::to_string(device));
    return device_exists(device);
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *id) {
    API(DRIVER);
    REFUSE_IF(pci.compare(0, pci.size(), id, pci.size()), CUDA_ERROR_INVALID_VALUE);
    *device = std::atoi(id + pci.size());
    return device_exists(*device);
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    API(DRIVER);
    std::tie(*major, *minor) = compute_capability();
    return device_exists(device);
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    API(DRIVER);
    auto [major, minor] = compute_capability();
    const std::map<int, int> known = {
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, major},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, minor},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
        {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, INT32_MAX},
        {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
        {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
        {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 8},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 1536},
        {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
        {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 2},
        {CU_DEVICE_ATTRIBUTE_GPU_OVERLAP, 1},
        {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
        {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
        {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
        {CU_DEVICE_ATTRIBUTE_INTEGRATED, std::stoi(setting("FAKE_CUDA_INTEGRATED", "0"))},
        {CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, 1},
    };
    auto found = known.find(attribute);
    *value = found == known.end() ? 0 : found->second;
    return device_exists(device);
}

// -------------------------------------------------------------------------------------- contexts

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    API(DRIVER);
    REFUSE_IF(device_exists(device), CUDA_ERROR_INVALID_DEVICE);
    REFUSE_IF(state.sticky, state.sticky);
    ++state.devices[device].retained;
    *context = handle_of(device);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    API(DRIVER);
    REFUSE_IF(device_exists(device), CUDA_ERROR_INVALID_DEVICE);
    REFUSE_IF(!state.devices[device].retained, CUDA_ERROR_INVALID_CONTEXT);
    if (state.devices[device].retained == 1)
        end_life(device);
    else
        --state.devices[device].retained;
    return state.sticky;
}

CUresult cuDevicePrimaryCtxReset(CUdevice device) {
    API(DRIVER);
    REFUSE_IF(device_exists(device), CUDA_ERROR_INVALID_DEVICE);
    end_life(device);
    return state.sticky;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    API(DRIVER);
    REFUSE_IF(device_exists(device), CUDA_ERROR_INVALID_DEVICE);
    *flags = state.devices[device].flags;
    *active = state.devices[device].retained > 0;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
    API(DRIVER);
    REFUSE_IF(device_exists(device), CUDA_ERROR_INVALID_DEVICE);
    state.devices[device].flags = flags;
    return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext context) {
    API(DRIVER);
    int device = device_of(context);
    REFUSE_IF(device < 0, CUDA_ERROR_INVALID_CONTEXT);
    enter(device);
    return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext *context) {
    API(DRIVER);
    REFUSE_IF(!stack || stack->empty(), CUDA_ERROR_INVALID_CONTEXT);
    if (context)
        *context = handle_of(stack->back().device);
    leave();
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    API(DRIVER);
    int device = device_of(context);
    REFUSE_IF(context && device < 0, CUDA_ERROR_INVALID_CONTEXT);
    if (stack && !stack->empty())
        leave();
    if (context)
        enter(device);
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
    API(DRIVER);
    *context = stack && !stack->empty() ? handle_of(stack->back().device) : nullptr;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
    API(CONTEXT);
    *device = stack->back().device;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetFlags(unsigned *flags) {
    API(CONTEXT);
    *flags = state.devices[stack->back().device].flags;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext context, unsigned *version) {
    API(DRIVER);
    *version = 3020;
    return !context || device_of(context) >= 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    API(CONTEXT);
    if (least)
        *least = 0;
    if (greatest)
        *greatest = -5;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCacheConfig(CUfunc_cache *config) {
    API(CONTEXT);
    *config = CU_FUNC_CACHE_PREFER_NONE;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCacheConfig(CUfunc_cache) {
    API(CONTEXT);
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
    API(CONTEXT | NO_CAPTURE);
    for (auto &stream : all_streams(call.owner))
        drain(call.lock, stream, stream->issued);
    return state.sticky;
}

// ---------------------------------------------------------------------------------------- memory

CUresult cuMemGetInfo(size_t *free, size_t *total) {
    API(CONTEXT);
    *total = total_memory();
    *free = *total - state.used;
    return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr *pointer, size_t size) {
    API(CONTEXT | NO_CAPTURE);
    uintptr_t address = 0;
    CUresult code = allocate("device", size, 0, call, &address);
    *pointer = address;
    return code;
}

CUresult cuMemAllocPitch(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height,
                         unsigned) {
    API(CONTEXT | NO_CAPTURE);
    *pitch = (width + 511) / 512 * 512;
    uintptr_t address = 0;
    CUresult code = allocate("device", *pitch * height, 0, call, &address);
    *pointer = address;
    return code;
}

CUresult cuMemFree(CUdeviceptr pointer) {
    API(CONTEXT | NO_CAPTURE | CLEAN_UP);
    REFUSE_IF(!pointer, CUDA_SUCCESS);
    return release("device", pointer);
}

CUresult cuMemGetAddressRange(CUdeviceptr *base, size_t *size, CUdeviceptr pointer) {
    API(CONTEXT);
    uintptr_t start = 0;
    const Block *block = block_at(pointer, 1, &start);
    REFUSE_IF(!block, CUDA_ERROR_NOT_FOUND);
    if (base)
        *base = start;
    if (size)
        *size = block->size;
    return CUDA_SUCCESS;
}

CUresult cuMemAllocHost(void **pointer, size_t size) {
    API(CONTEXT | NO_CAPTURE);
    return allocate("pinned", size, 0, call, reinterpret_cast<uintptr_t *>(pointer));
}

CUresult cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
    API(CONTEXT | NO_CAPTURE);
    REFUSE_IF(flags > 7, CUDA_ERROR_INVALID_VALUE);
    return allocate("pinned", size, flags, call, reinterpret_cast<uintptr_t *>(pointer));
}

CUresult cuMemFreeHost(void *pointer) {
    API(CONTEXT | NO_CAPTURE | CLEAN_UP);
    return release("pinned", reinterpret_cast<uintptr_t>(pointer));
}

CUresult cuMemHostRegister(void *pointer, size_t size, unsigned flags) {
    API(CONTEXT | NO_CAPTURE);
    REFUSE_IF(!pointer || !size || flags > 15, CUDA_ERROR_INVALID_VALUE);
    auto address = reinterpret_cast<uintptr_t>(pointer);
    auto next = state.blocks.lower_bound(address);
    bool overlaps = block_at(address, 1) ||
                    (next != state.blocks.end() && next->first < address + size);
    REFUSE_IF(overlaps, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    state.blocks[address] = {"pinned", size, call.owner, nullptr, 0, flags};
    return CUDA_SUCCESS;
}

CUresult cuMemHostUnregister(void *pointer) {
    API(CONTEXT | NO_CAPTURE | CLEAN_UP);
    auto found = state.blocks.find(reinterpret_cast<uintptr_t>(pointer));
    REFUSE_IF(found == state.blocks.end() || found->second.map,
              CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    state.blocks.erase(found);
    return state.sticky;
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr *device, void *pointer, unsigned flags) {
    API(CONTEXT);
    REFUSE_IF(flags || !is(block_at(pointer, 1), "pinned"), CUDA_ERROR_INVALID_VALUE);
    *device = reinterpret_cast<uintptr_t>(pointer);
    return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned *flags, void *pointer) {
    API(CONTEXT);
    const Block *block = block_at(pointer, 1);
    REFUSE_IF(!is(block, "pinned"), CUDA_ERROR_INVALID_VALUE);
    *flags = block->flags;
    return CUDA_SUCCESS;
}

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t size) {
    API(CONTEXT | NO_CAPTURE);
    Side target{CU_MEMORYTYPE_UNIFIED, uintptr_t(to), 0};
    return copy(call, nullptr, {target, {CU_MEMORYTYPE_UNIFIED, uintptr_t(from), 0}, size, 1});
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    API(CONTEXT);
    Side target{CU_MEMORYTYPE_UNIFIED, uintptr_t(to), 0};
    return copy(call, stream, {target, {CU_MEMORYTYPE_UNIFIED, uintptr_t(from), 0}, size, 1});
}

CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t size) {
    API(CONTEXT | NO_CAPTURE);
    return copy(call, nullptr, {on_device(to), on_host(from), size, 1});
}

CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t size) {
    API(CONTEXT | NO_CAPTURE);
    return copy(call, nullptr, {on_host(to), on_device(from), size, 1});
}

CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t size) {
    API(CONTEXT | NO_CAPTURE);
    return copy(call, nullptr, {on_device(to), on_device(from), size, 1});
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
    API(CONTEXT);
    return copy(call, stream, {on_device(to), on_host(from), size, 1});
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t size, CUstream stream) {
    API(CONTEXT);
    return copy(call, stream, {on_host(to), on_device(from), size, 1});
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    API(CONTEXT);
    return copy(call, stream, {on_device(to), on_device(from), size, 1});
}

CUresult cuMemcpy2D(const CUDA_MEMCPY2D *what) {
    API(CONTEXT | NO_CAPTURE);
    return copy_rows(call, nullptr, what);
}

CUresult cuMemcpy2DUnaligned(const CUDA_MEMCPY2D *what) {
    API(CONTEXT | NO_CAPTURE);
    return copy_rows(call, nullptr, what);
}

CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D *what, CUstream stream) {
    API(CONTEXT);
    return copy_rows(call, stream, what);
}

CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
    API(CONTEXT | NO_CAPTURE);
    return fill(call, nullptr, to, value, count);
}

CUresult cuMemsetD16(CUdeviceptr to, unsigned short value, size_t count) {
    API(CONTEXT | NO_CAPTURE);
    return fill(call, nullptr, to, value, count);
}

CUresult cuMemsetD32(CUdeviceptr to, unsigned value, size_t count) {
    API(CONTEXT | NO_CAPTURE);
    return fill(call, nullptr, to, value, count);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
    API(CONTEXT);
    return fill(call, stream, to, value, count);
}

CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
    API(CONTEXT);
    return fill(call, stream, to, value, count);
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
    API(CONTEXT);
    return fill(call, stream, to, value, count);
}

// ---------------------------------------------------------------------------- streams and events

CUresult cuStreamCreate(CUstream *handle, unsigned flags) {
    API(CONTEXT);
    return make_stream(call, handle, flags, 0);
}

CUresult cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int priority) {
    API(CONTEXT);
    return make_stream(call, handle, flags, priority);
}

CUresult cuStreamGetFlags(CUstream handle, unsigned *flags) {
    API(CONTEXT);
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    *flags = stream->flags;
    return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream handle, int *priority) {
    API(CONTEXT);
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    *priority = stream->priority;
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream handle) {
    API(CONTEXT | CLEAN_UP);
    auto stream = find<Stream>(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    forget(handle);
    if (stream->capture)
        stream->capture->broken = true;
    // Somebody who waits for it already will see to the rest.
    if (!stream->busy)
        drain(call.lock, stream, stream->issued);
    return state.sticky;
}

CUresult cuStreamQuery(CUstream handle) {
    API(CONTEXT | NO_CAPTURE);
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    if (stream->capture)
        return wait_for(call, stream, 0);
    REFUSE_IF(stream->done == stream->issued, CUDA_SUCCESS);
    // Time passes from question to question: one piece of work each.
    if (!stream->busy)
        drain(call.lock, stream, stream->done + 1);
    return state.sticky ? state.sticky : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamSynchronize(CUstream handle) {
    API(CONTEXT | NO_CAPTURE);
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    if (stream == state.legacy)
        return submit(call, stream, {nullptr});
    return wait_for(call, stream, stream->issued);
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned) {
    API(CONTEXT);
    auto stream = find_stream(handle, call);
    auto event = find<Event>(event_handle, call);
    REFUSE_IF(!stream || !event, CUDA_ERROR_INVALID_HANDLE);
    auto source = event->stream;
    if (event->capture) {
        // Draws another stream into the capture, or brings one back.
        REFUSE_IF(event->capture->broken, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        REFUSE_IF(source->capture != event->capture ||
                      (stream->capture && stream->capture != event->capture),
                  CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        if (source != stream && source->captured == event->mark)
            source->joined = true;
        if (!stream->capture) {
            stream->capture = event->capture;
            stream->origin = stream->joined = false;
            stream->captured = 0;
        }
        return CUDA_SUCCESS;
    }
    if (stream->capture && source) {
        stream->capture->broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    REFUSE_IF(!source || source == stream, CUDA_SUCCESS);
    return submit(call, stream, {[source, mark = event->mark] {
        Lock lock(state.mutex);
        drain(lock, source, mark);
        return CUDA_SUCCESS;
    }});
}

CUresult cuEventCreate(CUevent *handle, unsigned flags) {
    API(CONTEXT);
    REFUSE_IF(!handle || flags > 7, CUDA_ERROR_INVALID_VALUE);
    auto event = std::make_shared<Event>();
    event->flags = flags;
    *handle = add<CUevent>(event, "event", call);
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    API(CONTEXT);
    return record(call, event, stream, 0);
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
    API(CONTEXT);
    return record(call, event, stream, flags);
}

CUresult cuEventQuery(CUevent handle) {
    API(CONTEXT | NO_CAPTURE);
    auto event = find<Event>(handle, call);
    REFUSE_IF(!event, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(event->capture, CUDA_ERROR_CAPTURED_EVENT);
    REFUSE_IF(event->done(), CUDA_SUCCESS);
    auto stream = event->stream;
    if (!stream->busy)
        drain(call.lock, stream, stream->done + 1);
    return state.sticky ? state.sticky : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent handle) {
    API(CONTEXT | NO_CAPTURE);
    auto event = find<Event>(handle, call);
    REFUSE_IF(!event, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(event->capture, CUDA_ERROR_CAPTURED_EVENT);
    if (auto stream = event->stream)
        drain(call.lock, stream, event->mark);
    return state.sticky;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
    API(CONTEXT);
    auto first = find<Event>(from, call), second = find<Event>(to, call);
    for (auto &event : {first, second}) {
        REFUSE_IF(!event || !event->stream || event->flags & CU_EVENT_DISABLE_TIMING,
                  CUDA_ERROR_INVALID_HANDLE);
        REFUSE_IF(event->capture, CUDA_ERROR_CAPTURED_EVENT);
        REFUSE_IF(!event->done(), CUDA_ERROR_NOT_READY);
    }
    *milliseconds = std::chrono::duration<float, std::milli>(second->at - first->at).count();
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent handle) {
    API(CONTEXT | CLEAN_UP);
    REFUSE_IF(!find<Event>(handle, call), CUDA_ERROR_INVALID_HANDLE);
    forget(handle);
    return state.sticky;
}

// --------------------------------------------------------------------------- modules and kernels

CUresult cuModuleLoad(CUmodule *module, const char *path) {
    API(CONTEXT);
    REFUSE_IF(access(path, R_OK), CUDA_ERROR_FILE_NOT_FOUND);
    return load(call, module, path);
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    API(CONTEXT);
    return load(call, module, image);
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, CUjit_option *,
                            void **) {
    API(CONTEXT);
    return load(call, module, image);
}

CUresult cuModuleUnload(CUmodule handle) {
    API(CONTEXT | CLEAN_UP);
    auto module = find<Module>(handle, call);
    REFUSE_IF(!module, CUDA_ERROR_INVALID_HANDLE);
    forget(handle);
    for (auto at = state.objects.begin(); at != state.objects.end();) {
        auto function = dynamic_cast<Function *>(at->second.get());
        at = function && function->module == module ? state.objects.erase(at) : std::next(at);
    }
    return state.sticky;
}

CUresult cuModuleGetFunction(CUfunction *handle, CUmodule module_handle, const char *name) {
    API(CONTEXT);
    auto function = std::make_shared<Function>();
    function->module = find<Module>(module_handle, call);
    function->kernel = find_kernel(name);
    REFUSE_IF(!function->module, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(!function->kernel, CUDA_ERROR_NOT_FOUND);
    *handle = add<CUfunction>(function, "function", call);
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle) {
    API(CONTEXT);
    REFUSE_IF(!find<Function>(handle, call), CUDA_ERROR_INVALID_HANDLE);
    *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
             : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS            ? 32
                                                                  : 0;
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute, int) {
    API(CONTEXT);
    return find<Function>(handle, call) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache) {
    API(CONTEXT);
    return find<Function>(handle, call) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

// Old, and still what pycuda calls before every launch.
CUresult cuFuncSetBlockShape(CUfunction handle, int x, int y, int z) {
    API(CONTEXT);
    REFUSE_IF(!find<Function>(handle, call), CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(x < 1 || y < 1 || z < 1 || z > 64 || int64_t(x) * y * z > 1024,
              CUDA_ERROR_INVALID_VALUE);
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                        CUstream stream_handle, void **parameters, void **extra) {
    API(CONTEXT);
    auto function = find<Function>(handle, call);
    auto stream = find_stream(stream_handle, call);
    REFUSE_IF(!function || !stream, CUDA_ERROR_INVALID_HANDLE);
    auto within = [](uint64_t value, uint64_t limit) { return value && value <= limit; };
    bool fits = within(grid_x, INT32_MAX) && within(grid_y, 65535) && within(grid_z, 65535) &&
                within(block_x, 1024) && within(block_y, 1024) && within(block_z, 64) &&
                uint64_t(block_x) * block_y * block_z <= 1024 && shared <= 49152;
    REFUSE_IF(!fits, CUDA_ERROR_INVALID_VALUE);
    auto launch = std::make_shared<Launch>(Launch{
        function->kernel, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, {}, {}});
    if (CUresult code = pack(*launch, parameters, extra))
        return code;
    return submit(call, stream, {[launch] { return launch->run(); }});
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data) {
    API(CONTEXT);
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(!function, CUDA_ERROR_INVALID_VALUE);
    return submit(call, stream, {[function, data] {
        in_callback = true;
        function(data);
        in_callback = false;
        return CUDA_SUCCESS;
    }});
}

// ---------------------------------------------------------------------------------------- graphs

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    API(DRIVER);
    std::swap(*mode, thread_mode);
    return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
    API(CONTEXT);
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(stream == state.legacy, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSE_IF(stream->capture, CUDA_ERROR_ILLEGAL_STATE);
    REFUSE_IF(mode > CU_STREAM_CAPTURE_MODE_RELAXED, CUDA_ERROR_INVALID_VALUE);
    stream->capture = std::make_shared<Capture>();
    stream->capture->mode = mode;
    stream->capture->thread = std::this_thread::get_id();
    stream->origin = stream->joined = true;
    stream->captured = 0;
    return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
    API(CONTEXT);
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    *status = !stream->capture           ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->capture->broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                         : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph_handle) {
    API(CONTEXT);
    auto stream = find_stream(handle, call);
    REFUSE_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
    REFUSE_IF(!stream->capture, CUDA_ERROR_ILLEGAL_STATE);
    REFUSE_IF(!stream->origin, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    auto capture = stream->capture;
    REFUSE_IF(capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
                  capture->thread != std::this_thread::get_id(),
              CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    bool joined = true;
    for (auto &other : all_streams(call.owner))
        if (other->capture == capture) {
            joined = joined && other->joined;
            other->capture = nullptr;
        }
    *graph_handle = nullptr;
    REFUSE_IF(capture->broken, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    REFUSE_IF(!joined, CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    auto graph = std::make_shared<Graph>();
    graph->works = capture->works;
    *graph_handle = add<CUgraph>(graph, "graph", call);
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *handle, CUgraph graph_handle,
                                     unsigned long long) {
    API(CONTEXT);
    auto graph = find<Graph>(graph_handle, call);
    REFUSE_IF(!graph || std::dynamic_pointer_cast<Exec>(graph), CUDA_ERROR_INVALID_HANDLE);
    auto exec = std::make_shared<Exec>();
    exec->works = graph->works;
    *handle = add<CUgraphExec>(exec, "exec", call);
    return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec handle, CUstream stream) {
    API(CONTEXT);
    return find<Exec>(handle, call) && find_stream(stream, call) ? CUDA_SUCCESS
                                                                 : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
    API(CONTEXT);
    auto exec = find<Exec>(handle, call);
    auto stream = find_stream(stream_handle, call);
    REFUSE_IF(!exec || !stream, CUDA_ERROR_INVALID_HANDLE);
    for (const Work &work : exec->works)
        if (CUresult code = submit(call, stream, work))
            return code;
    return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec handle) {
    API(CONTEXT | CLEAN_UP);
    REFUSE_IF(!find<Exec>(handle, call), CUDA_ERROR_INVALID_HANDLE);
    forget(handle);
    return state.sticky;
}

CUresult cuGraphDestroy(CUgraph handle) {
    API(CONTEXT | CLEAN_UP);
    auto graph = find<Graph>(handle, call);
    REFUSE_IF(!graph || std::dynamic_pointer_cast<Exec>(graph), CUDA_ERROR_INVALID_HANDLE);
    forget(handle);
    return state.sticky;
}

// ------------------------------------------------------------------------------------- for tests

// How many there are: "device" and "pinned" pieces of memory, "stream", "event", "module", "graph",
// "exec"; "context" counts who retains primary ones, "pushed" how often they lie on stacks of
// threads, "driver" is 1 after cuInit. -1: no such kind.
int fake_cuda_live(const char *kind) {
    Lock lock(state.mutex);
    std::string name = kind;
    int count = 0;
    if (name == "driver")
        return state.initialised;
    if (name == "context" || name == "pushed") {
        for (const Primary &primary : state.devices)
            count += name == "context" ? primary.retained : primary.pushed;
        return count;
    }
    for (const char *known : {"device", "pinned", "stream", "event", "module", "graph", "exec"})
        if (name == known) {
            for (auto &[address, block] : state.blocks)
                count += block.kind == name;
            for (auto &[handle, object] : state.objects)
                count += object->kind == name;
            return count;
        }
    return -1;
}

// How often a function was called, whatever it answered.
long fake_cuda_calls(const char *function) {
    Lock lock(state.mutex);
    return state.calls[plain(function)];
}

// "function:nth:code", several with commas: the nth call, counted from now, answers with the code;
// "nth+" is that one and all later ones. Codes from 700 to 799, and 999, break the GPU: from then
// on every call that needs a context answers so. An empty plan mends all.
void fake_cuda_fail(const char *plan) {
    Lock lock(state.mutex);
    state.failures_read = true;
    state.sticky = CUDA_SUCCESS;
    plan_failures(plan);
}

// Break the GPU now, as a kernel that fails does.
void fake_cuda_poison(int code) {
    Lock lock(state.mutex);
    poison(CUresult(code));
}

// Whether a piece of memory is one that the GPU can reach.
int fake_cuda_covers(uintptr_t address, size_t size) {
    Lock lock(state.mutex);
    return block_at(address, size) != nullptr;
}
