/* Stands in for libcuda.so.1 where there is no driver: it opens what NVIDIA's opens and answers with its numbers
 * (reference: what cuInit needs). Memory is the process's own. Not seen beside the real one: docs/verified-on.md. */
#include "standin.h"

#include <dirent.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { SUCCESS = 0, NO_DEVICE = 100, INVALID_DEVICE = 101, REFUSED = 304, UNKNOWN = 999 };

static int thread_is_named(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)getpid());
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    int written = write(fd, "cuda-standin", 12) == 12;
    close(fd);
    return written;
}

static int socket_is_bound(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "cuda-uvmfd-0-%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    int bound = bind(fd, (struct sockaddr *)&name, sizeof name) == 0 || errno == EADDRINUSE;
    close(fd);
    return bound;
}

static int bus_is_there(void) {
    DIR *bus = opendir("/sys/bus/pci");
    if (bus) {
        closedir(bus);
    }
    return bus != NULL;
}

/* A node that is missing and one that is refused are two numbers. */
static int node(const char *path, int missing) {
    int problem = closed(path);
    return problem == 0 ? SUCCESS : problem == ENOENT ? missing : REFUSED;
}

static int of_nvidia(void) {
    int answer = node("/dev/nvidiactl", NO_DEVICE);
    if (!answer) {
        answer = node("/dev/nvidia-uvm", UNKNOWN);
    }
    if (!answer) {
        answer = node("/dev/nvidia-uvm-tools", REFUSED);
    }
    return answer;
}

int cuInit(unsigned flags) {
    const char *shown = getenv("CUDA_VISIBLE_DEVICES");
    const int windows = access(under("/dev/dxg"), F_OK) == 0;
    const char *kinds[] = {"/dev/dxg", "/dev/nvmap", "/dev/nvidia"};
    int kind = windows ? 0 : access(under("/dev/nvmap"), F_OK) == 0 ? 1 : 2;
    int answer = kind == 2 ? of_nvidia() : SUCCESS;
    find(kinds[kind]);
    if (answer) {
        return answer;
    }
    if (!thread_is_named() || !socket_is_bound() || !bus_is_there()) {
        return REFUSED;
    }
    return flags || count == 0 || (shown && !*shown) ? NO_DEVICE : SUCCESS;
}

int cuGetErrorName(int number, const char **name) {
    *name = number == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE"
            : number == REFUSED ? "CUDA_ERROR_OPERATING_SYSTEM"
            : number == UNKNOWN ? "CUDA_ERROR_UNKNOWN"
                                : NULL;
    return *name ? SUCCESS : 1;
}

int cuDriverGetVersion(int *version) {
    *version = 12080;
    return SUCCESS;
}

int cuDeviceGetCount(int *found) {
    *found = count;
    return SUCCESS;
}

int cuDeviceGet(int *device, int place) {
    *device = place;
    return place < count ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    for (int i = 0; i < 16; i++) {
        sscanf(gpus[device].uuid + 2 * i, "%2hhx", &uuid[i]);
    }
    return SUCCESS;
}

int cuDeviceGetName(char *name, int size, int device) {
    return say(name, size, gpus[device].name);
}

int cuDeviceGetPCIBusId(char *pci, int size, int device) {
    return say(pci, size, gpus[device].pci);
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = MEMORY;
    return device < count ? SUCCESS : INVALID_DEVICE;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = &gpus[device];
    return SUCCESS;
}

int cuCtxSetCurrent(void *context) {
    return context ? SUCCESS : 201;
}

int cuMemAlloc_v2(uint64_t *place, size_t size) {
    *place = (uint64_t)(uintptr_t)malloc(size);
    return SUCCESS;
}

int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) {
    memcpy((void *)(uintptr_t)to, from, size);
    return SUCCESS;
}

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size) {
    memcpy(to, (void *)(uintptr_t)from, size);
    if (getenv("FLEETBOX_STANDIN_FORGETS")) {
        *(char *)to ^= 1;
    }
    return SUCCESS;
}

int cuMemFree_v2(uint64_t place) {
    free((void *)(uintptr_t)place);
    return SUCCESS;
}
