/* devices.gpu.exclusive: a lock per GPU, and per part of one that MIG keeps to itself, among all launches of the machine,
 * whoever starts them. The files are root's and empty, and out of every sandbox's sight: a workload can neither take nor keep a
 * lock. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fds.h"
#include "gpu.h"
#include "path.h"
#include "paths.h"
#include "refuse.h"

#define NO_LOCK "as root: fleetbox-host gpu makes the locks of this machine's GPUs"

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

/* A second descriptor of ours would be another's to the kernel: two instances in one part of a GPU, or a node that is chosen
 * and named as well, are one lock. */
static bool is_ours(const char *name) {
    static struct strings ours;
    for (size_t i = 0; i < ours.count; i++) {
        if (strcmp(ours.item[i], name) == 0) {
            return true;
        }
    }
    strings_add(&ours, name);
    return false;
}

/* The descriptor stays open until this process ends, and the sandbox ends with it. */
static void lock(const char *name, bool exclusive, bool wanted_alone) {
    if (*name && is_ours(name)) {
        return;
    }
    int fd = *name ? open(path_join(FLEETBOX_GPU_LOCKS, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    if (fd < 0 && !wanted_alone && (!*name || errno == ENOENT)) {
        return; /* who wants it alone is refused here */
    }
    if (fd < 0) {
        refuse(NO_LOCK, "%s for the GPU %s", errno == ENOENT || !*name ? "devices.gpu.exclusive: there is no lock"
                                                                       : "cannot open the lock",
               *name ? name : "that was found");
    }
    if (flock(fd_high(fd), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) {
        return;
    }
    if (errno != EWOULDBLOCK) {
        refuse(NO_LOCK, "cannot lock the GPU %s: %s", name, strerror(errno));
    }
    refuse_busy(name, exclusive);
}

static void lock_parts(const char *pci, const struct strings *parts, bool exclusive) {
    for (size_t i = 0; i < parts->count; i++) {
        lock(mem_text("%s-%s", pci, parts->item[i]), exclusive, exclusive);
    }
}

/* Part of a GPU taken alone leaves its other parts free; the whole of it, together with others, is together with whoever has
 * a part. */
static void lock_gpu(const struct gpu *gpu, bool exclusive) {
    bool in_parts = gpu->parts.count > 0;
    lock(name_of(gpu), exclusive && !in_parts, exclusive);
    if (in_parts) {
        lock_parts(gpu->pci, &gpu->parts, exclusive);
    } else if (!exclusive && gpu->minor >= 0 && *gpu->pci) {
        struct strings parts = mig_gpu_instances(gpu->minor);
        lock_parts(gpu->pci, &parts, false);
    }
}

static bool is_chosen(const struct gpus *gpus, const char *pci) {
    for (size_t i = 0; i < gpus->count; i++) {
        if (gpus->item[i].chosen && !gpus->item[i].cdi && strcmp(gpus->item[i].pci, pci) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_cdi(const struct gpus *gpus) {
    for (size_t i = 0; i < gpus->count; i++) {
        if (gpus->item[i].chosen && gpus->item[i].cdi) {
            return true;
        }
    }
    return false;
}

/* By number: a node can have further names. */
static bool is_shown(const struct launch *launch, const char *node) {
    struct stat wanted, st;
    if (lstat(node, &wanted) != 0) {
        return false;
    }
    for (size_t i = 0; i < launch->devices.count; i++) {
        if (lstat(launch->devices.item[i], &st) == 0 && st.st_rdev == wanted.st_rdev) {
            return true;
        }
    }
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        if (entry->kind == ENTRY_DEVICE && lstat(entry->path, &st) == 0 && st.st_rdev == wanted.st_rdev) {
            return true;
        }
    }
    return false;
}

static bool shows_any(const struct launch *launch, const struct strings *nodes) {
    for (size_t i = 0; i < nodes->count; i++) {
        if (is_shown(launch, nodes->item[i])) {
            return true;
        }
    }
    return false;
}

/* GPUs of which somebody named a node, the policy one by one or a CDI specification. Returns how many. */
static size_t lock_named(const struct launch *launch, const struct gpus *chosen, bool exclusive) {
    struct gpus all = {0};
    for (enum vendor vendor = 0; vendor < VENDOR_CDI; vendor++) {
        if (gpu_is_here(launch, vendor)) {
            gpu_find(launch, &all, vendor);
        }
    }
    size_t count = 0;
    for (size_t i = 0; i < all.count; i++) {
        const struct gpu *gpu = &all.item[i];
        bool shown = shows_any(launch, &gpu->nodes) || shows_any(launch, &gpu->rendering);
        if (shown && !(*gpu->pci && is_chosen(chosen, gpu->pci))) {
            lock_gpu(gpu, exclusive);
            count++;
        }
    }
    return count;
}

void gpu_lock(const struct launch *launch, const struct gpus *gpus, bool exclusive, bool named) {
    for (size_t i = 0; i < gpus->count; i++) {
        if (gpus->item[i].chosen && !gpus->item[i].cdi) {
            lock_gpu(&gpus->item[i], exclusive);
        }
    }
    bool cdi = has_cdi(gpus);
    size_t found = named || cdi ? lock_named(launch, gpus, exclusive) : 0;
    if (cdi && exclusive && found == 0) {
        refuse("leave devices.gpu.exclusive out", "devices.gpu.exclusive: no GPU is known by the nodes of the CDI device");
    }
}
