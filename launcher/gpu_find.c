/* Which GPUs are here, by /proc, /sys and /dev alone: no vendor's library is asked, and no GPU is woken. */
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu.h"
#include "gpumap.h"
#include "path.h"
#include "pci.h"
#include "small.h"

#define NVIDIA_PROC "/proc/driver/nvidia"
#define WSL_NODE "/dev/dxg"

enum { INFORMATION_LIMIT = 4096 };

static struct gpu *add(struct gpus *gpus, enum vendor vendor, const char *pci) {
    gpus->item = mem_grow(gpus->item, gpus->count, &gpus->room, sizeof *gpus->item);
    struct gpu *gpu = &gpus->item[gpus->count++];
    *gpu = (struct gpu){.vendor = vendor, .pci = pci, .uuid = "", .minor = -1};
    return gpu;
}

static void add_matches(struct strings *nodes, const char *pattern) {
    glob_t found;
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (gpu_is_node(found.gl_pathv[i])) {
                strings_add(nodes, mem_copy(found.gl_pathv[i], strlen(found.gl_pathv[i])));
            }
        }
        globfree(&found);
    }
}

/* What follows NAME and a colon in the driver's words; "" for a line that is not there. */
static const char *value_of(char *text, const char *name) {
    for (char *line; (line = cut(&text, '\n'));) {
        size_t length = strlen(name);
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            const char *value = line + length + 1;
            return value + strspn(value, " \t");
        }
    }
    return "";
}

static bool is_minor(const char *text) {
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 3 && text[digits] == '\0';
}

/* Before its first use a GPU has no UUID: the driver shows question marks. */
static const char *known_uuid(const char *text) {
    return strncmp(text, "GPU-", 4) == 0 && !strchr(text, '?') ? text : "";
}

static void add_nvidia(struct gpus *gpus, const char *pci) {
    char text[INFORMATION_LIMIT];
    small_read(AT_FDCWD, mem_text(NVIDIA_PROC "/gpus/%s/information", pci), text, sizeof text);
    if (strncmp(value_of(mem_copy(text, strlen(text)), "GPU Excluded"), "Yes", 3) == 0) {
        return; /* by the driver's options: no library counts it */
    }
    struct gpu *gpu = add(gpus, VENDOR_NVIDIA, mem_copy(pci, strlen(pci)));
    const char *minor = value_of(mem_copy(text, strlen(text)), "Device Minor");
    gpu->uuid = known_uuid(value_of(mem_copy(text, strlen(text)), "GPU UUID"));
    gpu->rendering = pci_render_nodes(gpu->pci);
    if (is_minor(minor)) {
        gpu->minor = (int)strtol(minor, NULL, 10);
        strings_add(&gpu->nodes, mem_text("/dev/nvidia%d", gpu->minor));
        mig_rights(gpu->minor, -1, -1, &gpu->rights);
    }
}

/* Where /proc names no GPU, as in some containers, the nodes are all there is to go by. */
static void add_numbered(struct gpus *gpus) {
    struct strings nodes = {0};
    add_matches(&nodes, "/dev/nvidia[0-9]*");
    for (size_t i = 0; i < nodes.count; i++) {
        const char *minor = nodes.item[i] + strlen("/dev/nvidia");
        if (is_minor(minor)) {
            struct gpu *gpu = add(gpus, VENDOR_NVIDIA, "");
            gpu->minor = (int)strtol(minor, NULL, 10);
            strings_add(&gpu->nodes, nodes.item[i]);
        }
    }
}

static int by_pci(const void *left, const void *right) {
    return pci_order(((const struct gpu *)left)->pci, ((const struct gpu *)right)->pci);
}

static void find_nvidia(struct gpus *gpus) {
    size_t before = gpus->count;
    bool named = false;
    DIR *dir = opendir(NVIDIA_PROC "/gpus");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct pci address;
        if (pci_parse(entry->d_name, &address) && address.has_domain) {
            named = true;
            add_nvidia(gpus, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (!named) {
        add_numbered(gpus);
    } else if (gpus->count > before) {
        qsort(gpus->item + before, gpus->count - before, sizeof *gpus->item, by_pci);
    }
}

/* The driver's own name of one: ROCm takes it where CUDA takes a UUID. */
static const char *unique_id(const char *pci) {
    const char *text = pci_text(pci, "unique_id");
    return *text ? mem_text("GPU-%s", text) : "";
}

/* A laptop has a hundred devices on its bus: they are looked through once, to see whether Intel's GPU is here and to find it. */
static const struct strings *addresses_of(enum vendor vendor) {
    static struct strings found[VENDORS];
    static bool known[VENDORS];
    if (!known[vendor]) {
        known[vendor] = true;
        found[vendor] = pci_gpus(vendor == VENDOR_AMD ? "0x1002" : "0x8086");
    }
    return &found[vendor];
}

static void find_rendering(struct gpus *gpus, enum vendor vendor) {
    bool amd = vendor == VENDOR_AMD;
    size_t before = gpus->count;
    const struct strings *addresses = addresses_of(vendor);
    for (size_t i = 0; i < addresses->count; i++) {
        const char *pci = addresses->item[i];
        bool bound = amd ? pci_has_driver(pci, "amdgpu") : pci_has_driver(pci, "i915") || pci_has_driver(pci, "xe");
        if (bound) {
            struct gpu *gpu = add(gpus, vendor, pci);
            gpu->uuid = amd ? unique_id(pci) : "";
            gpu->nodes = pci_render_nodes(pci);
        }
    }
    if (amd && gpus->count == before) {
        add(gpus, VENDOR_AMD, ""); /* kfd alone: a container */
    }
}

static void find_jetson(struct gpus *gpus) {
    static const char *const patterns[] = {"/dev/nvmap",        "/dev/nvhost-*",  "/dev/nvgpu/igpu[0-9]*/*", "/dev/nvsciipc",
                                           "/dev/host1x-fence", "/dev/nvidiactl", "/dev/nvidia[0-9]*"};
    struct gpu *gpu = add(gpus, VENDOR_JETSON, "");
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        add_matches(&gpu->nodes, patterns[i]);
    }
    if (gpu->nodes.count == 0) {
        strings_add(&gpu->nodes, "/dev/nvmap"); /* so that it is missed */
    }
}

/* The nodes of each, once: a specification repeats them from device to device. */
static void find_cdi(const struct launch *launch, struct gpus *gpus) {
    const struct cdi_devices *devices = gpumap_cdi(launch);
    for (size_t i = 0; i < devices->count; i++) {
        struct gpu *gpu = add(gpus, VENDOR_CDI, "");
        gpu->cdi = &devices->item[i];
        gpu->uuid = gpu->cdi->name;
        for (size_t j = 0; j < gpu->cdi->nodes.count; j += 4) {
            strings_add(&gpu->nodes, gpu->cdi->nodes.item[j]);
        }
    }
}

void gpu_find(const struct launch *launch, struct gpus *gpus, enum vendor vendor) {
    switch (vendor) {
        case VENDOR_WSL:
            strings_add(&add(gpus, VENDOR_WSL, "")->nodes, WSL_NODE);
            return;
        case VENDOR_JETSON:
            find_jetson(gpus);
            return;
        case VENDOR_NVIDIA:
            find_nvidia(gpus);
            return;
        case VENDOR_AMD:
        case VENDOR_INTEL:
            find_rendering(gpus, vendor);
            return;
        case VENDOR_CDI:
            find_cdi(launch, gpus);
            return;
        case VENDORS:
            return;
    }
}
