// CUDA's dialect of C++, as far as self-contained kernels without barriers speak it. A kernel is an
// ordinary function here, called once for each thread; __shared__ and __syncthreads are left out
// so that a kernel that needs them does not compile rather than compute nonsense.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };

// Of this one source file only: the threads that run kernels do not see each other's.
static thread_local uint3 threadIdx, blockIdx;
static thread_local dim3 blockDim, gridDim;

#define FAKE_CUDA_VECTOR(T, NAME)                                                            \
    struct NAME##2 { T x, y; };                                                            \
    struct NAME##3 { T x, y, z; };                                                         \
    struct alignas(4 * sizeof(T)) NAME##4 { T x, y, z, w; };                               \
    [[maybe_unused]] static NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }            \
    [[maybe_unused]] static NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }    \
    [[maybe_unused]] static NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
FAKE_CUDA_VECTOR(float, float)
FAKE_CUDA_VECTOR(int, int)
FAKE_CUDA_VECTOR(unsigned char, uchar)
#undef FAKE_CUDA_VECTOR

#define FAKE_CUDA_EXTREMES(T)                                                                \
    [[maybe_unused]] static inline T min(T a, T b) { return b < a ? b : a; }               \
    [[maybe_unused]] static inline T max(T a, T b) { return a < b ? b : a; }
FAKE_CUDA_EXTREMES(int)
FAKE_CUDA_EXTREMES(unsigned)
FAKE_CUDA_EXTREMES(long)
FAKE_CUDA_EXTREMES(long long)
FAKE_CUDA_EXTREMES(unsigned long)
FAKE_CUDA_EXTREMES(unsigned long long)
FAKE_CUDA_EXTREMES(float)
FAKE_CUDA_EXTREMES(double)
#undef FAKE_CUDA_EXTREMES

template <class To, class From> static inline To fake_cuda_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

#define FAKE_CUDA_INTRINSIC(TO, NAME, FROM, VALUE) \
    [[maybe_unused]] static inline TO NAME(FROM v) { return VALUE; }
FAKE_CUDA_INTRINSIC(unsigned, __float_as_uint, float, fake_cuda_bits<unsigned>(v))
FAKE_CUDA_INTRINSIC(int, __float_as_int, float, fake_cuda_bits<int>(v))
FAKE_CUDA_INTRINSIC(float, __uint_as_float, unsigned, fake_cuda_bits<float>(v))
FAKE_CUDA_INTRINSIC(float, __int_as_float, int, fake_cuda_bits<float>(v))
FAKE_CUDA_INTRINSIC(int, __float2int_rd, float, int(std::floor(v)))
FAKE_CUDA_INTRINSIC(int, __float2int_rn, float, int(std::nearbyint(v)))
FAKE_CUDA_INTRINSIC(int, __float2int_ru, float, int(std::ceil(v)))
FAKE_CUDA_INTRINSIC(int, __float2int_rz, float, int(v))
FAKE_CUDA_INTRINSIC(float, __saturatef, float, fminf(fmaxf(v, 0.f), 1.f))
#undef FAKE_CUDA_INTRINSIC

template <class T> static inline T __ldg(const T *pointer) { return *pointer; }
