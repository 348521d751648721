// The kernels that the fake driver can launch; add new ones to the list below.
#include "shim.h"

#include "trial.cu"

#include "kernels.cu"

#include "kernels.h"

#include <tuple>
#include <type_traits>
#include <utility>

namespace {

template <class... T, size_t... I>
std::tuple<T...> load(void **arguments, std::index_sequence<I...>) {
    return {*static_cast<T *>(arguments[I])...};
}

template <auto kernel, class... T>
void run(void **arguments, const unsigned grid[3], const unsigned block[3]) {
    auto values = load<T...>(arguments, std::index_sequence_for<T...>());
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
                for (threadIdx.z = 0; threadIdx.z < block[2]; ++threadIdx.z)
                    for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
                        for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x)
                            std::apply(kernel, values);
}

template <auto kernel, class... T> Kernel describe(const char *name, void (*)(T...)) {
    return {name, {{sizeof(T), alignof(T), std::is_pointer_v<T>}...}, run<kernel, T...>};
}

#define KERNEL(NAME) describe<&NAME>(#NAME, &NAME)

const Kernel kernels[] = {
    KERNEL(fake_cuda_line),
    KERNEL(fake_cuda_stray),
    KERNEL(crop_resize),
};

}  // namespace

const Kernel *find_kernel(const char *name) {
    for (const Kernel &kernel : kernels)
        if (std::strcmp(kernel.name, name) == 0)
            return &kernel;
    return nullptr;
}
