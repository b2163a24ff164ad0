/* devices.gpu.select: which of the GPUs here a launch takes. Never fewer or others than were meant: it refuses. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gpu.h"
#include "gpumap.h"
#include "pci.h"
#include "refuse.h"

#define HINT "`fleetbox doctor` lists the GPUs of this machine"

static bool is_index(const char *text) {
    return text[strspn(text, "0123456789")] == '\0';
}

static bool is_mig(const char *text) {
    return strncmp(text, "MIG-", 4) == 0;
}

bool gpu_selects(const struct plan *plan) {
    for (size_t i = 0; i < plan->op_count; i++) {
        if (plan->op[i].kind == OP_GPU_SELECT) {
            return true;
        }
    }
    return false;
}

static bool may_name(const char *text, enum vendor vendor) {
    struct pci address;
    if (pci_parse(text, &address)) {
        return vendor == VENDOR_NVIDIA || vendor == VENDOR_AMD || vendor == VENDOR_INTEL;
    }
    if (strchr(text, '=')) {
        return vendor == VENDOR_CDI;
    }
    if (strncmp(text, "GPU-", 4) == 0 && !strchr(text + 4, '-')) {
        return vendor == VENDOR_AMD; /* its unique_id */
    }
    return vendor == VENDOR_NVIDIA && !is_index(text);
}

bool gpu_names(const struct plan *plan, enum vendor vendor) {
    for (size_t i = 0; i < plan->op_count; i++) {
        if (plan->op[i].kind == OP_GPU_SELECT && may_name(plan->op[i].arg[0], vendor)) {
            return true;
        }
    }
    return false;
}

static const char *words_of(const struct gpu *gpu) {
    return mem_text("%s%s%s%s%s", gpu_vendor_name(gpu->vendor), *gpu->pci ? " " : "", gpu->pci, *gpu->uuid ? " " : "",
                    gpu->uuid);
}

static const char *list_of(const struct gpus *gpus) {
    const char *list = "";
    for (size_t i = 0; i < gpus->count; i++) {
        list = mem_text("%s%s%s", list, i ? ", " : "", words_of(&gpus->item[i]));
    }
    return list;
}

static _Noreturn void refuse_unknown(const struct gpus *gpus, const char *wanted, const char *problem) {
    refuse(HINT, "devices.gpu.select: %s: %s; here are: %s", wanted, problem, list_of(gpus));
}

static void take(struct gpu *gpu) {
    if (gpu->cdi) {
        cdi_check(gpu->cdi);
    }
    gpu->chosen = true;
    gpu->granted = gpu->rights;
    gpu->instances.count = 0;
    gpu->parts.count = 0;
}

static void choose_index(struct gpus *gpus, enum vendor first, const char *text) {
    if (first == VENDOR_CDI) {
        refuse_unknown(gpus, text, "a CDI device is chosen by its name");
    }
    unsigned long index = strtoul(text, NULL, 10);
    unsigned long at = 0;
    for (size_t i = 0; i < gpus->count; i++) {
        if (gpus->item[i].vendor == first && at++ == index) {
            /* Nodes that the driver does not name have no order. */
            if (first == VENDOR_NVIDIA && !*gpus->item[i].pci) {
                refuse_unknown(gpus, text, "the driver does not say which GPU that is");
            }
            take(&gpus->item[i]);
            return;
        }
    }
    refuse_unknown(gpus, text, mem_text("there is no GPU of that index, but %lu of %s", at, gpu_vendor_name(first)));
}

static bool fits(const struct gpu *gpu, const char *text) {
    struct pci wanted, own;
    if (pci_parse(text, &wanted)) {
        return pci_parse(gpu->pci, &own) && pci_same(&wanted, &own);
    }
    return *gpu->uuid && (gpu->cdi ? strcmp(gpu->uuid, text) : strcasecmp(gpu->uuid, text)) == 0;
}

static void choose_fitting(struct gpus *gpus, const char *text) {
    struct gpu *fitting = NULL;
    bool unnamed = false;
    for (size_t i = 0; i < gpus->count; i++) {
        unnamed = unnamed || (gpus->item[i].vendor == VENDOR_NVIDIA && !*gpus->item[i].uuid);
        if (fits(&gpus->item[i], text)) {
            if (fitting) {
                refuse_unknown(gpus, text, "several GPUs are that one");
            }
            fitting = &gpus->item[i];
        }
    }
    if (!fitting) {
        refuse_unknown(gpus, text, unnamed ? "no GPU is that one, and the driver does not say the UUID of each before its "
                                             "first use (nvidia-persistenced changes that)"
                                           : "no GPU is that one");
    }
    take(fitting);
}

static void choose_instance(const struct launch *launch, struct gpus *gpus, const char *uuid) {
    struct mig_place place;
    if (!gpumap_mig(launch, uuid, &place)) {
        refuse_unknown(gpus, uuid, "no MIG instance of that UUID is known (fleetbox-host gpu looks again)");
    }
    for (size_t i = 0; i < gpus->count; i++) {
        struct gpu *gpu = &gpus->item[i];
        if (gpu->vendor != VENDOR_NVIDIA || strcmp(gpu->pci, place.pci) != 0) {
            continue;
        }
        if (gpu->chosen && gpu->instances.count == 0) {
            return; /* whole already */
        }
        struct strings rights = gpu->granted;
        if (mig_rights(gpu->minor, place.gpu_instance, place.compute_instance, &rights) != 1) {
            break;
        }
        gpu->chosen = true;
        gpu->granted = rights;
        strings_add(&gpu->instances, uuid);
        strings_add(&gpu->parts, mem_text("gi%d", place.gpu_instance));
        return;
    }
    refuse_unknown(gpus, uuid, "that MIG instance is gone since it was looked for (fleetbox-host gpu looks again)");
}

/* The length of vendor.com/class in vendor.com/class=name. */
static size_t kind_length(const struct gpu *gpu) {
    return strcspn(gpu->uuid, "=");
}

static bool is_all(const struct gpu *gpu) {
    return strcmp(gpu->uuid + kind_length(gpu), "=all") == 0;
}

static bool has_all(const struct gpus *gpus, const struct gpu *like) {
    for (size_t i = 0; i < gpus->count; i++) {
        if (is_all(&gpus->item[i]) && kind_length(&gpus->item[i]) == kind_length(like) &&
            strncmp(gpus->item[i].uuid, like->uuid, kind_length(like)) == 0) {
            return true;
        }
    }
    return false;
}

/* A specification that has a device for all of them says best what that is. */
static void choose_all_of_cdi(struct gpus *gpus) {
    for (size_t i = 0; i < gpus->count; i++) {
        if (is_all(&gpus->item[i]) || !has_all(gpus, &gpus->item[i])) {
            take(&gpus->item[i]);
        }
    }
}

void gpu_choose(const struct launch *launch, struct gpus *gpus, enum vendor first) {
    bool all = !gpu_selects(&launch->plan);
    if (!all && first == VENDOR_WSL) {
        refuse("select: all, and CUDA_VISIBLE_DEVICES in environment.set",
               "devices.gpu.select: WSL2 has one node for all GPUs of Windows: none can be held back");
    }
    if (all && first == VENDOR_CDI) {
        choose_all_of_cdi(gpus);
    }
    for (size_t i = 0; all && first != VENDOR_CDI && i < gpus->count; i++) {
        take(&gpus->item[i]);
    }
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        const struct op *op = &launch->plan.op[i];
        if (op->kind != OP_GPU_SELECT) {
            continue;
        }
        if (is_index(op->arg[0])) {
            choose_index(gpus, first, op->arg[0]);
        } else if (is_mig(op->arg[0])) {
            choose_instance(launch, gpus, op->arg[0]);
        } else {
            choose_fitting(gpus, op->arg[0]);
        }
    }
}
