/* Stands in for libamdhip64.so where there is no driver: the node of all GPUs, and the render node of each. */
#include "standin.h"

enum { SUCCESS = 0, NO_DEVICE = 100 };

int hipInit(unsigned flags) {
    find("/dev/dri/renderD");
    return flags || closed("/dev/kfd") || count == 0 ? NO_DEVICE : SUCCESS;
}

const char *hipGetErrorName(int number) {
    return number == NO_DEVICE ? "hipErrorNoDevice" : "hipErrorUnknown";
}

int hipDriverGetVersion(int *version) {
    *version = 60342131;
    return SUCCESS;
}

int hipGetDeviceCount(int *found) {
    *found = count;
    return SUCCESS;
}

int hipDeviceGetName(char *name, int size, int device) {
    return say(name, size, gpus[device].name);
}

int hipDeviceGetPCIBusId(char *pci, int size, int device) {
    return say(pci, size, gpus[device].pci);
}

int hipDeviceTotalMem(size_t *bytes, int device) {
    *bytes = device < count ? MEMORY : 0;
    return SUCCESS;
}

int hipSetDevice(int device) {
    return device < count ? SUCCESS : NO_DEVICE;
}

int hipMalloc(void **place, size_t size) {
    *place = malloc(size);
    return SUCCESS;
}

int hipMemcpy(void *to, const void *from, size_t size, int kind) {
    memcpy(to, from, size);
    return kind == 1 || kind == 2 ? SUCCESS : 1;
}

int hipFree(void *place) {
    free(place);
    return SUCCESS;
}
