/* What GPU libraries read from the environment: which devices, in which order, and where they may keep what they compile.
 * It isolates nothing, the nodes do: it only keeps a library from looking for what is not there. */
#include <string.h>

#include "gpu.h"
#include "path.h"

static void set(struct launch *launch, const char *name, const char *value) {
    strings_add(&launch->gpu_env, mem_text("%s=%s", name, value));
}

/* A caller's own choice counts devices that the sandbox does not have. */
static void forget_choices(struct launch *launch) {
    static const char *const names[] = {"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",   "ROCR_VISIBLE_DEVICES",
                                        "GPU_DEVICE_ORDINAL",   "ONEAPI_DEVICE_SELECTOR", "ZE_AFFINITY_MASK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        strings_add(&launch->gpu_env, names[i]);
    }
}

/* The UUIDs of what is chosen of one vendor, with commas between; NULL where one has none. */
static const char *uuids(const struct gpus *gpus, enum vendor vendor) {
    const char *list = "";
    for (size_t i = 0; i < gpus->count; i++) {
        const struct gpu *gpu = &gpus->item[i];
        if (!gpu->chosen || gpu->vendor != vendor) {
            continue;
        }
        if (!*gpu->uuid && !gpu->instances.count) {
            return NULL;
        }
        for (size_t j = 0; j < gpu->instances.count; j++) {
            list = mem_text("%s%s%s", list, *list ? "," : "", gpu->instances.item[j]);
        }
        if (!gpu->instances.count) {
            list = mem_text("%s%s%s", list, *list ? "," : "", gpu->uuid);
        }
    }
    return *list ? list : NULL;
}

static bool any(const struct gpus *gpus, enum vendor vendor) {
    for (size_t i = 0; i < gpus->count; i++) {
        if (gpus->item[i].chosen && gpus->item[i].vendor == vendor) {
            return true;
        }
    }
    return false;
}

static void set_choices(struct launch *launch, const struct gpus *gpus) {
    const char *nvidia = uuids(gpus, VENDOR_NVIDIA);
    const char *amd = uuids(gpus, VENDOR_AMD);
    forget_choices(launch); /* a CDI specification may set them again */
    if (nvidia) {
        set(launch, "CUDA_VISIBLE_DEVICES", nvidia);
    }
    if (amd) {
        set(launch, "ROCR_VISIBLE_DEVICES", amd);
    }
}

/* By the innermost entry so far. What lies in a private /tmp is not what the caller has there. */
static bool is_writable(const struct launch *launch, const char *path) {
    const struct entry *holder = NULL;
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        if (path_at_or_below(path, entry->path) && (!holder || strlen(entry->path) >= strlen(holder->path))) {
            holder = entry;
        }
    }
    return holder && holder->access == ACCESS_WRITE && holder->kind == ENTRY_BIND;
}

/* Where a policy leaves a library's own place writable, what it compiled before is kept there. */
static void set_caches(struct launch *launch, bool cuda, bool amd, bool intel) {
    const struct {
        bool wanted;
        const char *name;
        const char *own; /* below ~ */
        const char *place;
    } caches[] = {{cuda, "CUDA_CACHE_PATH", ".nv/ComputeCache", "/tmp/fleetbox-cuda-cache"},
                  {amd, "MIOPEN_USER_DB_PATH", ".config/miopen", "/tmp/fleetbox-miopen"},
                  {amd, "MIOPEN_CUSTOM_CACHE_DIR", ".cache/miopen", "/tmp/fleetbox-miopen-cache"},
                  {intel, "NEO_CACHE_DIR", ".cache/neo_compiler_cache", "/tmp/fleetbox-neo-cache"},
                  {true, "TRITON_CACHE_DIR", ".triton/cache", "/tmp/fleetbox-triton-cache"}};
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
        bool kept = launch->home && is_writable(launch, path_join(launch->home, caches[i].own));
        if (caches[i].wanted && !kept) {
            strings_add(&launch->gpu_defaults, mem_text("%s=%s", caches[i].name, caches[i].place));
        }
    }
}

void gpu_environment(struct launch *launch, const struct gpus *gpus) {
    bool cuda = any(gpus, VENDOR_NVIDIA) || any(gpus, VENDOR_WSL) || any(gpus, VENDOR_JETSON);
    bool amd = any(gpus, VENDOR_AMD);
    if (gpu_selects(&launch->plan)) {
        set_choices(launch, gpus);
    }
    if (cuda) {
        set(launch, "CUDA_DEVICE_ORDER", "PCI_BUS_ID");
    }
    if (launch->plan.tmp == TMP_PRIVATE) {
        set_caches(launch, cuda, amd, any(gpus, VENDOR_INTEL));
    }
}
