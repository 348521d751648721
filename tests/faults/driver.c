/* A fake webcam driver, preloaded between a program and the kernel (LD_PRELOAD), so that OpenCV's own
 * V4L2 code runs.
 *
 * Files whose path ends in /dev/videoN are cameras that send YUYV of any size. The file videoN.fault
 * beside one names its fault; a file that is removed is a camera that is unplugged. Only the requests
 * of OpenCV and those that list modes are implemented.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES 1024
#define BUFFERS 4
#define SLOT (1 << 22)
#define PERIOD 0.01

struct camera {
    char path[200];
    ino_t inode;
    unsigned width, height, count, queued[BUFFERS];
    int streaming, failed;
    double due;
};

static struct camera *cameras[FILES];
static unsigned seed = 1;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int is_camera(const char *path) {
    const char *name = strrchr(path, '/');
    return name && strlen(path) < 190 && strstr(path, "/dev/video") == name - 4
        && !strncmp(name, "/video", 6) && !strchr(name, '.') && strncmp(path, "/dev/", 5);
}

static int fault(const struct camera *camera, const char *name) {
    char file[220], word[20] = "";
    snprintf(file, sizeof file, "%s.fault", camera->path);
    FILE *stream = fopen(file, "r");
    if (stream) {
        if (fscanf(stream, "%19s", word) != 1) word[0] = 0;
        fclose(stream);
    }
    return !strcmp(word, name);
}

static int gone(const struct camera *camera) {
    struct stat status;
    return stat(camera->path, &status) || status.st_ino != camera->inode || fault(camera, "dead");
}

static int opened(const char *path, int flags, int mode) {
    struct camera *camera = NULL;
    if (is_camera(path)) {
        struct stat status;
        camera = calloc(1, sizeof *camera);
        strcpy(camera->path, path);
        if (fault(camera, "forbidden")) {
            free(camera);
            errno = EACCES;
            return -1;
        }
        if (!stat(path, &status)) camera->inode = status.st_ino;
        camera->width = 640;
        camera->height = 480;
    }
    int file = NEXT(open64)(path, flags, mode);
    if (file >= 0 && file < FILES) cameras[file] = camera;
    return file;
}

#define OPEN(name)                                       \
    int name(const char *path, int flags, ...) {         \
        va_list rest;                                    \
        va_start(rest, flags);                           \
        int mode = va_arg(rest, int);                    \
        va_end(rest);                                    \
        return opened(path, flags, mode);                \
    }
OPEN(open)
OPEN(open64)

int close(int file) {
    if (file >= 0 && file < FILES && cameras[file]) {
        free(cameras[file]);
        cameras[file] = NULL;
    }
    return NEXT(close)(file);
}

static int refuse(int number) {
    errno = number;
    return -1;
}

static void form(struct camera *camera, struct v4l2_format *format) {
    struct v4l2_pix_format *pix = &format->fmt.pix;
    pix->width = camera->width;
    pix->height = camera->height;
    pix->pixelformat = V4L2_PIX_FMT_YUYV;
    pix->field = V4L2_FIELD_NONE;
    pix->bytesperline = camera->width * 2;
    pix->sizeimage = pix->bytesperline * camera->height;
}

static void expose(struct camera *camera, int file, unsigned index) {
    unsigned size = camera->width * camera->height * 2;
    unsigned char *picture = mmap(NULL, size, PROT_WRITE, MAP_SHARED, file, (off_t)index * SLOT);
    if (picture == MAP_FAILED) return;
    if (fault(camera, "green")) memset(picture, 0, size);
    else if (fault(camera, "covered"))
        for (unsigned i = 0; i < size; i++) picture[i] = i % 2 ? 128 : 16;
    else {
        unsigned noise = fault(camera, "frozen") ? 7 : (seed = seed * 1664525 + 1013904223);
        for (unsigned i = 0; i < size; i += 4) {
            noise = noise * 1664525 + 1013904223;
            memcpy(picture + i, &noise, 4);
        }
    }
    munmap(picture, size);
}

static int answer(struct camera *camera, int file, unsigned long request, void *argument) {
    struct v4l2_buffer *buffer = argument;
    if (gone(camera)) return refuse(ENODEV);
    switch (request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *capability = argument;
        memset(capability, 0, sizeof *capability);
        strcpy((char *)capability->card, "Acme Eye");
        strcpy((char *)capability->bus_info, "usb-0000:00:14.0-1");
        capability->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_META_CAPTURE
            | V4L2_CAP_STREAMING | V4L2_CAP_DEVICE_CAPS;
        capability->device_caps = V4L2_CAP_STREAMING
            | (fault(camera, "metadata") ? V4L2_CAP_META_CAPTURE : V4L2_CAP_VIDEO_CAPTURE);
        return 0;
    }
    case VIDIOC_ENUM_FMT: {
        struct v4l2_fmtdesc *format = argument;
        if (fault(camera, "shy")) return refuse(ENOTTY);
        if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || format->index > 1) return refuse(EINVAL);
        format->pixelformat = format->index ? V4L2_PIX_FMT_MJPEG : V4L2_PIX_FMT_YUYV;
        return 0;
    }
    case VIDIOC_ENUM_FRAMESIZES: {
        /* YUYV in two sizes, MJPEG in steps up to one. */
        struct v4l2_frmsizeenum *size = argument;
        if (size->pixel_format == V4L2_PIX_FMT_YUYV) {
            if (size->index > 1) return refuse(EINVAL);
            size->type = V4L2_FRMSIZE_TYPE_DISCRETE;
            size->discrete.width = size->index ? 640 : 1280;
            size->discrete.height = size->index ? 480 : 720;
        } else {
            if (size->index) return refuse(EINVAL);
            size->type = V4L2_FRMSIZE_TYPE_STEPWISE;
            size->stepwise = (struct v4l2_frmsize_stepwise){16, 1920, 8, 16, 1080, 8};
        }
        return 0;
    }
    case VIDIOC_ENUM_FRAMEINTERVALS: {
        struct v4l2_frmivalenum *interval = argument;
        if (interval->pixel_format == V4L2_PIX_FMT_YUYV) {
            static const unsigned rates[] = {10, 5};
            if (interval->index > (interval->width == 640)) return refuse(EINVAL);
            interval->type = V4L2_FRMIVAL_TYPE_DISCRETE;
            interval->discrete = (struct v4l2_fract){2, 2 * rates[interval->index]};
        } else {
            if (interval->index) return refuse(EINVAL);
            interval->type = V4L2_FRMIVAL_TYPE_CONTINUOUS;
            interval->stepwise.min = (struct v4l2_fract){1001, 60000};
            interval->stepwise.max = (struct v4l2_fract){1, 1};
        }
        return 0;
    }
    case VIDIOC_S_FMT: {
        struct v4l2_format *format = argument;
        if (fault(camera, "busy") || camera->count) return refuse(EBUSY);
        camera->width = format->fmt.pix.width & ~1u;
        camera->height = format->fmt.pix.height & ~1u;
        form(camera, format);
        return 0;
    }
    case VIDIOC_G_FMT:
        form(camera, argument);
        return 0;
    case VIDIOC_S_PARM:
    case VIDIOC_G_PARM: {
        struct v4l2_streamparm *parameters = argument;
        parameters->parm.capture.timeperframe.numerator = 1;
        parameters->parm.capture.timeperframe.denominator = 30;
        return 0;
    }
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *wanted = argument;
        if (fault(camera, "busy")) return refuse(EBUSY);
        if (wanted->count > BUFFERS) wanted->count = BUFFERS;
        camera->count = wanted->count;
        memset(camera->queued, 0, sizeof camera->queued);
        return ftruncate(file, (off_t)BUFFERS * SLOT);
    }
    case VIDIOC_QUERYBUF:
        buffer->length = camera->width * camera->height * 2;
        buffer->m.offset = buffer->index * SLOT;
        return 0;
    case VIDIOC_QBUF:
        if (camera->failed) return refuse(EIO);
        if (buffer->index >= camera->count || camera->queued[buffer->index]) return refuse(EINVAL);
        camera->queued[buffer->index] = 1;
        return 0;
    case VIDIOC_STREAMON:
        if (fault(camera, "narrow")) return refuse(ENOSPC);
        camera->streaming = 1;
        camera->due = now() + PERIOD;
        return 0;
    case VIDIOC_STREAMOFF:
        camera->streaming = 0;
        memset(camera->queued, 0, sizeof camera->queued);
        return 0;
    case VIDIOC_DQBUF:
        if (fault(camera, "broken")) camera->failed = 1;
        if (camera->failed) return refuse(EIO);
        if (!camera->streaming) return refuse(EINVAL);
        if (fault(camera, "stalled") || now() < camera->due) return refuse(EAGAIN);
        for (unsigned index = 0; index < camera->count; index++)
            if (camera->queued[index]) {
                camera->queued[index] = 0;
                camera->due = now() + PERIOD;
                expose(camera, file, index);
                buffer->index = index;
                buffer->length = buffer->bytesused = camera->width * camera->height * 2;
                return 0;
            }
        return refuse(EAGAIN);
    }
    return refuse(ENOTTY);
}

int ioctl(int file, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (file >= 0 && file < FILES && cameras[file])
        return answer(cameras[file], file, request, argument);
    return NEXT(ioctl)(file, request, argument);
}

int select(int files, fd_set *in, fd_set *out, fd_set *odd, struct timeval *timeout) {
    struct camera *camera = files > 0 && files <= FILES ? cameras[files - 1] : NULL;
    if (!camera || !timeout) return NEXT(select)(files, in, out, odd, timeout);
    double until = now() + timeout->tv_sec + timeout->tv_usec / 1e6;
    while (now() < until) {
        if (gone(camera) || camera->failed || fault(camera, "broken")) return 1;
        if (!fault(camera, "stalled") && now() >= camera->due) return 1;
        usleep(2000);
    }
    return 0;
}
