// Regions of a frame, straight into the input of a network. Barrier-free and without includes, so
// that NVRTC compiles it for any card and a C++ compiler for the tests.

enum Format { BGR = 0, YUYV = 1, NV12 = 2 };

// What changes from run to run; lies in device memory, so that a recorded graph can be replayed.
struct Job {
    const unsigned char *frame;
    int width, height;  // pixels
    int format;
    float regions[1][4];  // as many as blockIdx.z reaches; x0, y0, x1, y1 in pixels of the frame
};

// What an engine expects: input = (value 0..255 - mean) * scale, for each plane in its order.
struct Input {
    int width, height;
    int rgb;   // else bgr
    int half;  // else float
    float mean[3], scale[3];
};

struct Pixel {
    float b, g, r;
};

__device__ inline float within(float value, float low, float high) {
    return value > low ? (value < high ? value : high) : low;
}

// BT.601 in the video range, as cameras send it, to whole levels.
__device__ inline Pixel from_yuv(float y, float u, float v) {
    float grey = (y - 16.0f) * (255.0f / 219.0f);
    u = (u - 128.0f) * (255.0f / 224.0f);
    v = (v - 128.0f) * (255.0f / 224.0f);
    Pixel pixel;
    pixel.b = rintf(within(grey + 1.772f * u, 0.0f, 255.0f));
    pixel.g = rintf(within(grey - 0.344136f * u - 0.714136f * v, 0.0f, 255.0f));
    pixel.r = rintf(within(grey + 1.402f * v, 0.0f, 255.0f));
    return pixel;
}

__device__ inline Pixel pixel_at(const Job &job, int x, int y) {
    size_t at = (size_t)y * job.width + x;
    if (job.format == YUYV) {
        const unsigned char *pair = job.frame + 2 * (at & ~(size_t)1);
        return from_yuv(job.frame[2 * at], pair[1], pair[3]);
    }
    if (job.format == NV12) {
        const unsigned char *chroma =
            job.frame + ((size_t)job.height + y / 2) * job.width + (x & ~1);
        return from_yuv(job.frame[at], chroma[0], chroma[1]);
    }
    const unsigned char *bgr = job.frame + 3 * at;
    Pixel pixel;
    pixel.b = bgr[0];
    pixel.g = bgr[1];
    pixel.r = bgr[2];
    return pixel;
}

// The mean of a cell of 2^level_x by 2^level_y pixels. Cells outside the frame are black; one that
// the frame's edge cuts through goes on as its last pixels do.
__device__ inline Pixel cell_at(const Job &job, int column, int row, int level_x, int level_y) {
    Pixel sum = {0.0f, 0.0f, 0.0f};
    int left = column << level_x, top = row << level_y;
    if (column < 0 || row < 0 || left >= job.width || top >= job.height) return sum;
    int right = left + (1 << level_x), bottom = top + (1 << level_y);
    int last_x = (right < job.width ? right : job.width) - 1;
    int last_y = (bottom < job.height ? bottom : job.height) - 1;
    for (int y = top; y <= last_y; ++y) {
        for (int x = left; x <= last_x; ++x) {
            Pixel pixel = pixel_at(job, x, y);
            // The last pixels stand for those beyond them, too.
            float times = (float)((x < last_x ? 1 : right - last_x) *
                                  (y < last_y ? 1 : bottom - last_y));
            sum.b += times * pixel.b;
            sum.g += times * pixel.g;
            sum.r += times * pixel.r;
        }
    }
    float share = 1.0f / (float)(1 << (level_x + level_y));
    // Ties go to the even level, but up in the mean of two by two: so OpenCV has it on the CPU.
    bool up = level_x == 1 && level_y == 1;
    sum.b = up ? floorf(sum.b * share + 0.5f) : rintf(sum.b * share);
    sum.g = up ? floorf(sum.g * share + 0.5f) : rintf(sum.g * share);
    sum.r = up ? floorf(sum.r * share + 0.5f) : rintf(sum.r * share);
    return sum;
}

// How often to halve before a side shrinks no more than twofold.
__device__ inline int level_of(float length, int target) {
    int level = 0;
    while (length > 2.0f * (float)target && level < 14) {
        length *= 0.5f;
        ++level;
    }
    return level;
}

// Round to the nearest half, ties to even (IEEE 754-2008).
__device__ inline unsigned short to_half(float value) {
    union {
        float number;
        unsigned int bits;
    } in;
    in.number = value;
    unsigned int sign = (in.bits >> 16) & 0x8000u;
    unsigned int magnitude = in.bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);
    if (magnitude < 0x33000000u) return (unsigned short)sign;
    unsigned int lost = 13, kept = magnitude - 0x38000000u;
    if (magnitude < 0x38800000u) {
        lost = 126u - (magnitude >> 23);
        kept = (magnitude & 0x7fffffu) | 0x800000u;
    }
    unsigned int rest = kept & ((1u << lost) - 1u), middle = 1u << (lost - 1u);
    kept >>= lost;
    if (rest > middle || (rest == middle && (kept & 1u))) ++kept;
    return (unsigned short)(sign | kept);
}

// Write region blockIdx.z, bilinear, as planes of the network's input (N, 3, height, width).
extern "C" __global__ void crop_resize(const Job *__restrict__ jobs, void *__restrict__ planes, Input input) {
    int u = blockIdx.x * blockDim.x + threadIdx.x;
    int v = blockIdx.y * blockDim.y + threadIdx.y;
    if (u >= input.width || v >= input.height) return;
    const Job &job = *jobs;
    const float *region = job.regions[0] + 4 * blockIdx.z;
    float length_x = region[2] - region[0], length_y = region[3] - region[1];
    Pixel mixed = {0.0f, 0.0f, 0.0f};
    if (length_x > 0.0f && length_y > 0.0f) {
        int level_x = level_of(length_x, input.width), level_y = level_of(length_y, input.height);
        // Pixel i covers i..i+1, its centre is at i + 0.5: hence the halves.
        float x = (region[0] + ((float)u + 0.5f) * length_x / (float)input.width) /
                      (float)(1 << level_x) - 0.5f;
        float y = (region[1] + ((float)v + 0.5f) * length_y / (float)input.height) /
                      (float)(1 << level_y) - 0.5f;
        // Beyond these lies nothing but black; integers could not hold what may come.
        x = within(x, -2.0f, (float)job.width + 1.0f);
        y = within(y, -2.0f, (float)job.height + 1.0f);
        int column = (int)floorf(x), row = (int)floorf(y);
        for (int i = 0; i < 4; ++i) {
            float weight_x = x - (float)column, weight_y = y - (float)row;
            float weight = (i & 1 ? weight_x : 1.0f - weight_x) *
                           (i & 2 ? weight_y : 1.0f - weight_y);
            Pixel cell = cell_at(job, column + (i & 1), row + (i >> 1), level_x, level_y);
            mixed.b += weight * cell.b;
            mixed.g += weight * cell.g;
            mixed.r += weight * cell.r;
        }
    }
    // Whole grey levels, as on the CPU and in the pictures that networks learned from: a quarter
    // of a level on average is enough to bring another word to the top.
    float blue = rintf(mixed.b), green = rintf(mixed.g), red = rintf(mixed.r);
    float values[3] = {input.rgb ? red : blue, green, input.rgb ? blue : red};
    size_t area = (size_t)input.width * input.height;
    size_t at = 3 * area * blockIdx.z + (size_t)v * input.width + u;
#pragma unroll
    for (int plane = 0; plane < 3; ++plane) {
        float value = (values[plane] - input.mean[plane]) * input.scale[plane];
        if (input.half)
            ((unsigned short *)planes)[at + plane * area] = to_half(value);
        else
            ((float *)planes)[at + plane * area] = value;
    }
}
