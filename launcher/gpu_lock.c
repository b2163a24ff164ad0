/* devices.gpu.exclusive: a lock per GPU and MIG instance, among all launches of the machine, whoever starts them. The files
 * are root's and empty, and out of every sandbox's sight: a workload can neither take nor keep a lock. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fds.h"
#include "gpu.h"
#include "gpumap.h"
#include "path.h"
#include "paths.h"
#include "refuse.h"

/* "" for what has no lock of its own. */
static const char *name_of(const struct gpu *gpu) {
    return gpu->vendor == VENDOR_WSL ? "dxg" : gpu->vendor == VENDOR_JETSON ? "tegra" : gpu->pci;
}

static _Noreturn void refuse_busy(const char *name, bool exclusive) {
    refuse("wait for it to end, or choose another GPU with devices.gpu.select",
           exclusive ? "another sandbox has the GPU %s, which the policy wants for itself"
                     : "another sandbox has the GPU %s for itself",
           name);
}

/* The descriptor stays open until this process ends, and the sandbox ends with it. */
static void lock(const char *name, bool exclusive, bool wanted_alone) {
    int fd = *name ? open(path_join(FLEETBOX_GPU_LOCKS, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    if (fd < 0 && !wanted_alone) {
        return; /* nobody can have it alone either */
    }
    if (fd < 0) {
        refuse("as root: fleetbox-host gpu makes the locks of this machine's GPUs",
               "devices.gpu.exclusive: there is no lock for the GPU %s", *name ? name : "that was found");
    }
    if (flock(fd_high(fd), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        refuse_busy(name, exclusive);
    }
}

/* MIG keeps instances apart: one that is taken alone leaves the others of its GPU free. */
static void lock_instances(const struct launch *launch, const struct gpu *gpu, bool exclusive) {
    lock(gpu->pci, false, exclusive);
    for (size_t i = 0; i < gpu->instances.count; i++) {
        struct mig_place place;
        if (gpumap_mig(launch, gpu->instances.item[i], &place)) {
            lock(mem_text("%s-gi%d-ci%d", place.pci, place.gpu_instance, place.compute_instance), exclusive, exclusive);
        }
    }
}

void gpu_lock(const struct launch *launch, const struct gpus *gpus, bool exclusive) {
    for (size_t i = 0; i < gpus->count; i++) {
        const struct gpu *gpu = &gpus->item[i];
        if (gpu->chosen && gpu->instances.count) {
            lock_instances(launch, gpu, exclusive);
        } else if (gpu->chosen) {
            lock(name_of(gpu), exclusive, exclusive);
        }
    }
}
