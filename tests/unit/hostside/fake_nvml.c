/* A stand-in for libnvidia-ml.so.1, for tests alone: three GPUs, of which the second has two MIG instances, GI_0/0 and
 * GI_1/1. It shows that the questions are asked as NVIDIA's header says and that the answers are understood; it is
 * no driver. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef BEHAVIOUR
#define BEHAVIOUR 0
#endif
#ifndef BUS
#define BUS 0x66
#define GI_0 13
#define GI_1 3
#endif
enum { WELL, HANGS, FAILS, LIES, LOSES_ONE };
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15, UNKNOWN = 999 };

struct pci {
    char legacy[16];
    unsigned domain, bus, device, pci_device, pci_subsystem;
    char address[32];
};
struct device {
    int gpu, instance;
};
static struct device gpus[] = {{0, -1}, {1, -1}, {2, -1}};
static struct device instances[] = {{1, 0}, {1, 1}};
static int ready;

int nvmlInit_v2(void) {
    if (BEHAVIOUR == HANGS) {
        sleep(1000);
    }
    ready = 1;
    return BEHAVIOUR == FAILS ? UNKNOWN : SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = 3;
    return ready ? SUCCESS : UNKNOWN;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device) {
    *device = &gpus[index];
    return index < 3 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetPciInfo_v3(struct device *device, struct pci *pci) {
    if (BEHAVIOUR == LOSES_ONE && device->gpu == 0) {
        return GPU_IS_LOST;
    }
    memset(pci, 0, sizeof *pci);
    pci->domain = device->gpu == 2 ? 0x10000 : 0;
    pci->bus = BUS - 1 + (unsigned)device->gpu;
    snprintf(pci->address, sizeof pci->address, "%08X:%02X:00.0", pci->domain, pci->bus);
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *count) {
    *count = device->gpu == 1 ? 7 : 0;
    return device->gpu == 2 ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index, struct device **instance) {
    if (device->gpu != 1 || index > 2 || index == 1) {
        return NOT_FOUND;
    }
    *instance = &instances[index / 2];
    return SUCCESS;
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned size) {
    if (BEHAVIOUR == LIES) {
        return snprintf(uuid, size, "MIG-\033[2J") < 0;
    }
    return snprintf(uuid, size, "MIG-00000000-0000-0000-0000-00000000000%d", device->instance) < 0;
}

int nvmlDeviceGetGpuInstanceId(struct device *device, unsigned *id) {
    *id = device->instance == 0 ? GI_0 : GI_1;
    return SUCCESS;
}

int nvmlDeviceGetComputeInstanceId(struct device *device, unsigned *id) {
    *id = (unsigned)device->instance;
    return SUCCESS;
}
