/* Stands in for libze_loader.so.1 where there is no driver: one driver, and the render node of each GPU. */
#include "standin.h"

#include <stdint.h>

enum { SUCCESS = 0, UNINITIALIZED = 0x78000001, TYPE_GPU = 1, TYPE_NPU = 5 };

int zeInit(unsigned flags) {
    find("/dev/");
    return flags || count == 0 ? UNINITIALIZED : SUCCESS;
}

int zeDriverGet(uint32_t *found, void **drivers) {
    *found = 1;
    if (drivers) {
        drivers[0] = gpus;
    }
    return SUCCESS;
}

int zeDeviceGet(void *driver, uint32_t *found, void **devices) {
    *found = driver == gpus ? (uint32_t)count : 0;
    for (int i = 0; devices && i < count; i++) {
        devices[i] = &gpus[i];
    }
    return SUCCESS;
}

/* ze_device_properties_t, of which only this is read. */
struct properties {
    int stype;
    void *next;
    int type;
    uint32_t numbers[5];
    uint64_t largest;
    uint32_t more[7];
    uint64_t resolution;
    uint32_t bits[2];
    uint8_t uuid[16];
    char name[256];
};

int zeDeviceGetProperties(struct gpu *device, struct properties *said) {
    said->type = strncmp(device->node, "/dev/accel", 10) == 0 ? TYPE_NPU : TYPE_GPU;
    return said->stype == 3 ? say(said->name, sizeof said->name, device->name) : 0x78000004;
}
