// Kernels that test the fake driver itself.

struct Line {
    float slope, offset;
};

extern "C" __global__ void fake_cuda_line(const float *__restrict__ from, float *__restrict__ to,
                                        Line line, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        to[i] = line.slope * from[i] + line.offset;
}

extern "C" __global__ void fake_cuda_stray(float *to, long long where) {
    to[where] = 1;
}
