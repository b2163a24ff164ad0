/* The GPU map (docs/gpu-map.md): what a launch must know of GPUs and cannot look up itself, because it asks no library
 * and reads no YAML. The host program writes it; it is read when a policy first needs it. */
#ifndef FLEETBOX_GPUMAP_H
#define FLEETBOX_GPUMAP_H

#include <stdbool.h>

#include "launch.h"

/* Where a MIG instance is. */
struct mig_place {
    const char *pci;
    int gpu_instance;
    int compute_instance;
};

/* One device of the machine's CDI specifications. */
struct cdi_device {
    const char *name;       /* vendor.com/gpu=0 */
    const char *refused;    /* why it cannot be used, or NULL */
    struct strings nodes;   /* host path, path inside, major, minor; "-" for numbers that are not said */
    struct strings mounts;  /* host path, path inside */
    struct strings env;     /* NAME=VALUE */
    struct strings groups;  /* numbers, of which the caller needs every one */
};

struct cdi_devices {
    struct cdi_device *item;
    size_t count;
    size_t room;
};

/* False where the map has no such UUID, or where there is no map. */
bool gpumap_mig(const struct launch *launch, const char *uuid, struct mig_place *place);

/* Those of the map, in the order of their names; refuses a map that is older than the specifications it was made from. */
const struct cdi_devices *gpumap_cdi(const struct launch *launch);

#endif
