/* GPU nodes of this machine, found at launch: those of the policy's choice and no others. Never a display's master, a
 * right to configure MIG, or what moves memory past the processor. */
#include "gpu.h"

#include <string.h>
#include <unistd.h>

#include "collect.h"
#include "path.h"
#include "pci.h"
#include "refuse.h"

#define DOCTOR "`fleetbox doctor` shows what this machine lacks"

static bool has_word(const struct plan *plan, enum op_kind kind, const char *word) {
    for (size_t i = 0; i < plan->op_count; i++) {
        if (plan->op[i].kind == kind && strcmp(plan->op[i].arg[0], word) == 0) {
            return true;
        }
    }
    return false;
}

static void bind_node(struct launch *launch, const char *path) {
    for (size_t i = 0; i < launch->devices.count; i++) {
        if (strcmp(launch->devices.item[i], path) == 0) {
            return;
        }
    }
    if (gpu_is_node(path)) {
        strings_add(&launch->devices, path);
    }
}

static void bind_all(struct launch *launch, const char *const *paths) {
    for (; paths && *paths; paths++) {
        bind_node(launch, *paths);
    }
}

/* Level Zero looks for render nodes by the names that udev gives them. */
static void link_by_path(struct launch *launch, const struct gpu *gpu, const struct strings *rendering) {
    const char *path = mem_text("/dev/dri/by-path/pci-%s-render", gpu->pci);
    if (rendering->count == 1 && *gpu->pci && access(path, F_OK) == 0) {
        strings_add(&launch->device_links, mem_text("..%s", strrchr(rendering->item[0], '/')));
        strings_add(&launch->device_links, path);
    }
}

static void bind_gpu(struct launch *launch, const struct gpu *gpu, bool graphics) {
    bind_all(launch, gpu_shared(gpu->vendor));
    bind_all(launch, gpu_shared_more(gpu->vendor, graphics));
    bind_all(launch, gpu->nodes.item);
    bind_all(launch, gpu->granted.item);
    if (gpu->cdi) {
        cdi_use(launch, gpu->cdi);
    }
    if (graphics) {
        bind_all(launch, gpu->rendering.item);
    }
    if (gpu->vendor == VENDOR_AMD || gpu->vendor == VENDOR_INTEL) {
        link_by_path(launch, gpu, &gpu->nodes);
    } else if (graphics) {
        link_by_path(launch, gpu, &gpu->rendering);
    }
}

static bool is_bound(const struct launch *launch, const struct gpu *gpu) {
    for (size_t i = 0; i < launch->devices.count; i++) {
        for (size_t j = 0; j < gpu->nodes.count; j++) {
            if (strcmp(launch->devices.item[i], gpu->nodes.item[j]) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void bind_chosen(struct launch *launch, const struct gpus *gpus) {
    bool graphics = has_word(&launch->plan, OP_GPU_PROFILE, "graphics");
    size_t before = launch->devices.count;
    for (size_t i = 0; i < gpus->count; i++) {
        if (gpus->item[i].chosen) {
            bind_gpu(launch, &gpus->item[i], graphics);
            launch->gpu_bound = launch->gpu_bound || is_bound(launch, &gpus->item[i]);
        }
    }
    launch->gpu_bound = launch->gpu_bound || launch->devices.count > before;
}

/* A container may be shown GPUs by /proc that it has no node of. */
static const char *missing_node(const struct gpu *gpu) {
    for (size_t i = 0; i < gpu->nodes.count; i++) {
        if (!gpu_is_node(gpu->nodes.item[i])) {
            return gpu->nodes.item[i];
        }
    }
    return NULL;
}

/* Of all GPUs those that are not there are left out, if one is; one that was chosen must be there. */
static void leave_out_absent(const struct launch *launch, struct gpus *gpus) {
    bool all = !gpu_selects(&launch->plan);
    size_t there = 0;
    for (size_t i = 0; i < gpus->count; i++) {
        there += gpus->item[i].chosen && !missing_node(&gpus->item[i]);
    }
    for (size_t i = 0; i < gpus->count; i++) {
        struct gpu *gpu = &gpus->item[i];
        const char *missing = gpu->chosen ? missing_node(gpu) : NULL;
        if (missing && !all) {
            refuse(DOCTOR, "devices.gpu.select: %s: node missing: %s", *gpu->uuid ? gpu->uuid : gpu->pci, missing);
        }
        if (missing && there) {
            gpu->chosen = false;
            if (!launch->options.explain) {
                warn("no use of one GPU: node missing: %s; " DOCTOR, missing);
            }
        }
    }
}

/* What --explain says of each: which one it is, and why. */
static void note(struct launch *launch, const struct gpus *gpus) {
    for (size_t i = 0; i < gpus->count; i++) {
        const struct gpu *gpu = &gpus->item[i];
        const char *name = *gpu->uuid ? gpu->uuid : *gpu->pci ? gpu->pci : "one of several nodes";
        const char *how = !gpu->chosen ? "not chosen" : gpu->instances.count ? "MIG instances of it" : "chosen";
        strings_add(&launch->gpu_shown, mem_text("%s %s", gpu_vendor_name(gpu->vendor), name));
        strings_add(&launch->gpu_shown, mem_text("%s%s%s", *gpu->pci ? gpu->pci : "", *gpu->pci ? ", " : "", how));
    }
}

static void note_vendors(struct launch *launch, enum vendor first, const bool *allowed) {
    for (enum vendor vendor = first + 1; launch->options.explain && vendor < VENDORS; vendor++) {
        if (allowed[vendor] && !gpu_names(&launch->plan, vendor) && gpu_is_here(launch, vendor)) {
            strings_add(&launch->gpu_shown, gpu_vendor_name(vendor));
            strings_add(&launch->gpu_shown, mem_text("not taken: %s comes first; devices.gpu.vendors or select names it",
                                                     gpu_vendor_name(first)));
        }
    }
}

/* The GPUs of the first vendor that is here, and of those that the policy's choice may name. VENDORS: none is here. */
static enum vendor find_all(struct launch *launch, struct gpus *gpus, const bool *allowed) {
    enum vendor first = VENDORS;
    for (enum vendor vendor = 0; vendor < VENDORS; vendor++) {
        bool looked_for = first == VENDORS || gpu_names(&launch->plan, vendor);
        if (allowed[vendor] && looked_for && gpu_is_here(launch, vendor)) {
            first = first == VENDORS ? vendor : first;
            gpu_find(launch, gpus, vendor);
        }
    }
    if (first != VENDORS) {
        note_vendors(launch, first, allowed);
    }
    return first;
}

static void refuse_unusable(const struct launch *launch, const char *problem) {
    if (problem && launch->plan.gpu == GPU_REQUIRED) {
        refuse(DOCTOR "; devices.gpu.mode: auto would go on without a GPU", "the policy requires a GPU: %s", problem);
    }
}

static bool names_device(const struct launch *launch) {
    for (size_t i = 0; i < launch->entries.count; i++) {
        if (launch->entries.item[i].kind == ENTRY_DEVICE) {
            return true;
        }
    }
    return launch->devices.count > 0;
}

static void lock_gpus(const struct launch *launch, const struct gpus *gpus, bool named) {
    if (!launch->options.dry_run && !launch->options.explain && !launch->options.share_gpu) {
        gpu_lock(launch, gpus, has_word(&launch->plan, OP_GPU_EXCLUSIVE, "yes"), named);
    }
}

void collect_gpu(struct launch *launch) {
    bool named = names_device(launch);
    if (launch->plan.gpu == GPU_NONE) { /* also what a read-only policy says that does not ask for a GPU */
        lock_gpus(launch, &(struct gpus){0}, named);
        return;
    }
    bool allowed[VENDORS];
    for (enum vendor vendor = 0; vendor < VENDORS; vendor++) {
        allowed[vendor] = has_word(&launch->plan, OP_GPU_VENDOR, gpu_vendor_name(vendor));
    }
    struct gpus gpus = {0};
    enum vendor first = find_all(launch, &gpus, allowed);
    if (first == VENDORS) {
        bool asked = launch->plan.gpu == GPU_REQUIRED || launch->options.explain;
        launch->gpu_problem = asked ? gpu_absence(allowed, launch->wsl2) : NULL;
        refuse_unusable(launch, launch->gpu_problem);
        lock_gpus(launch, &gpus, named);
        return;
    }
    gpu_choose(launch, &gpus, first);
    leave_out_absent(launch, &gpus);
    launch->gpu_problem = gpu_problem(&gpus, launch->plan.gpu == GPU_REQUIRED || launch->options.explain);
    refuse_unusable(launch, launch->gpu_problem);
    if (launch->gpu_problem && !launch->options.explain) {
        warn("no use of the GPU: %s; " DOCTOR, launch->gpu_problem);
    }
    gpu_environment(launch, &gpus);
    bind_chosen(launch, &gpus);
    lock_gpus(launch, &gpus, named);
    note(launch, &gpus);
}
