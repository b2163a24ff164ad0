/* GPUs of this machine as a launch sees them: found, chosen, bound. */
#ifndef FLEETBOX_GPU_H
#define FLEETBOX_GPU_H

#include <stdbool.h>
#include <stddef.h>

#include "launch.h"
#include "mem.h"

/* In the order in which they are looked for: only the first one's GPUs are taken unless the policy names others. */
enum vendor { VENDOR_WSL, VENDOR_JETSON, VENDOR_NVIDIA, VENDOR_AMD, VENDOR_INTEL, VENDOR_CDI, VENDORS };

struct cdi_device;

struct gpu {
    enum vendor vendor;
    const struct cdi_device *cdi; /* its name is `uuid` */
    const char *pci;          /* 0000:65:00.0; "" where it has no address */
    const char *uuid;         /* GPU-…; "" where nothing says it */
    int minor;                /* the number in /dev/nvidiaN, which is no index; -1 for all others */
    struct strings nodes;     /* its own, whether they are there or not */
    struct strings rights;    /* the capability nodes of its MIG instances */
    struct strings rendering; /* render nodes that only graphics needs */
    bool chosen;              /* whole, or at least an instance of it */
    struct strings instances; /* UUIDs of its MIG instances, where only these are chosen */
    struct strings parts;     /* the names of the GPU instances that these are in: gi1 */
    struct strings granted;   /* those of `rights` that the choice includes */
};

struct gpus {
    struct gpu *item;
    size_t count;
    size_t room;
};

const char *gpu_vendor_name(enum vendor vendor);

/* A character device itself, not a link to one: /dev could hold a link out of it. */
bool gpu_is_node(const char *path);

/* Nodes that every GPU of the vendor shares: those that it cannot do without, then those that are bound where they are. */
const char *const *gpu_shared(enum vendor vendor);
const char *const *gpu_shared_more(enum vendor vendor, bool graphics);

/* Whether one shows here, with its driver or a node that is left of one. */
bool gpu_is_here(const struct launch *launch, enum vendor vendor);

/* Adds those of one vendor in PCI order, which is the order of indices. */
void gpu_find(const struct launch *launch, struct gpus *gpus, enum vendor vendor);

/* Why none of the vendors shows here. */
const char *gpu_absence(const bool *allowed, bool wsl2);

/* The first thing that keeps the account from using what was chosen, or NULL. With `thorough` nodes are opened, but for
 * those that would wake a GPU; else only their permissions are looked at. */
const char *gpu_problem(const struct gpus *gpus, bool thorough);

/* Marks those that the policy chooses; `first` is the vendor whose GPUs indices count. Refuses what is unknown or fits
 * several. */
void gpu_choose(const struct launch *launch, struct gpus *gpus, enum vendor first);

/* Whether the policy chooses some; and whether it does by what may be a GPU of that vendor, which no index is. */
bool gpu_selects(const struct plan *plan);
bool gpu_names(const struct plan *plan, enum vendor vendor);

/* The access capabilities of one MIG instance, or with -1 for both of all that exist on a GPU, by /proc alone. Returns
 * how many instances these are of. */
size_t mig_rights(int minor, int gpu_instance, int compute_instance, struct strings *nodes);

/* The names of the GPU instances that exist: gi1, gi2. What computes in one of them shares its memory. */
struct strings mig_gpu_instances(int minor);

/* Refuses a CDI device that cannot be used, or that this machine has become another one than its specification says. */
void cdi_check(const struct cdi_device *device);

/* What a CDI device has beside its nodes. */
void cdi_use(struct launch *launch, const struct cdi_device *device);

/* Keeps other launches off every GPU of which a node is bound, or joins them, until this one ends
 * (devices.gpu.exclusive). `named`: the policy names device nodes, which may be of a GPU as well. */
void gpu_lock(const struct launch *launch, const struct gpus *gpus, bool exclusive, bool named);

/* What the environment must say of the chosen ones, into `launch->gpu_env`. */
void gpu_environment(struct launch *launch, const struct gpus *gpus);

#endif
