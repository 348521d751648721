// Crops regions of a frame into a network's input. Without barriers and includes, so that NVRTC can
// compile it for any GPU and a C++ compiler for the tests.

enum Format { BGR = 0, YUYV = 1, NV12 = 2 };

// The arguments that change from run to run, in device memory so that a captured graph can be replayed.
struct Job {
    const unsigned char *frame;
    int width, height;  // pixels
    int format;
    float regions[1][4];  // one for each blockIdx.z; xyxy in pixels of the frame
};

// An engine's input: (value 0..255 - mean) * scale for each plane, in its colour order.
struct Input {
    int width, height;
    int rgb;   // else BGR
    int half;  // else float32
    float mean[3], scale[3];
};

struct Pixel {
    float b, g, r;
};

__device__ inline float clamp(float value, float low, float high) {
    return value > low ? (value < high ? value : high) : low;
}

// BT.601, limited range, as cameras send it; rounded to whole levels.
__device__ inline Pixel from_yuv(float y, float u, float v) {
    float luma = (y - 16.0f) * (255.0f / 219.0f);
    u = (u - 128.0f) * (255.0f / 224.0f);
    v = (v - 128.0f) * (255.0f / 224.0f);
    Pixel pixel;
    pixel.b = rintf(clamp(luma + 1.772f * u, 0.0f, 255.0f));
    pixel.g = rintf(clamp(luma - 0.344136f * u - 0.714136f * v, 0.0f, 255.0f));
    pixel.r = rintf(clamp(luma + 1.402f * v, 0.0f, 255.0f));
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

// The mean of a cell of 2^level_x by 2^level_y pixels. Cells outside the frame are black; in a cell
// across the frame's edge the last pixels are repeated.
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
            // The last pixels count for the missing ones, too.
            float weight = (float)((x < last_x ? 1 : right - last_x) *
                                  (y < last_y ? 1 : bottom - last_y));
            sum.b += weight * pixel.b;
            sum.g += weight * pixel.g;
            sum.r += weight * pixel.r;
        }
    }
    float share = 1.0f / (float)(1 << (level_x + level_y));
    // Round ties to even, but up in means of 2 by 2, as OpenCV does on the CPU.
    bool up = level_x == 1 && level_y == 1;
    sum.b = up ? floorf(sum.b * share + 0.5f) : rintf(sum.b * share);
    sum.g = up ? floorf(sum.g * share + 0.5f) : rintf(sum.g * share);
    sum.r = up ? floorf(sum.r * share + 0.5f) : rintf(sum.r * share);
    return sum;
}

// How many halvings it takes until a side shrinks no more than twofold.
__device__ inline int level_of(float length, int target) {
    int level = 0;
    while (length > 2.0f * (float)target && level < 14) {
        length *= 0.5f;
        ++level;
    }
    return level;
}

// Convert to float16, rounding ties to even (IEEE 754-2008).
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

// Write region blockIdx.z, resized bilinearly, to the network's input (N, 3, height, width).
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
        // Pixel i covers i..i+1 and has its centre at i + 0.5.
        float x = (region[0] + ((float)u + 0.5f) * length_x / (float)input.width) /
                      (float)(1 << level_x) - 0.5f;
        float y = (region[1] + ((float)v + 0.5f) * length_y / (float)input.height) /
                      (float)(1 << level_y) - 0.5f;
        // Everything beyond is black; larger values would not fit an int.
        x = clamp(x, -2.0f, (float)job.width + 1.0f);
        y = clamp(y, -2.0f, (float)job.height + 1.0f);
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
    // Round to whole levels, as on the CPU and in the training images: a quarter of a level on
    // average is enough to change the top label.
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
