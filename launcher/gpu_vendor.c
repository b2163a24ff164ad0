/* What the launcher knows of each vendor: its nodes, and what shows that one of its GPUs is here. */
#include <fcntl.h>
#include <glob.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gpu.h"
#include "gpumap.h"
#include "pci.h"
#include "small.h"

#define NVIDIA_PROC "/proc/driver/nvidia"
#define NVIDIA_CTL "/dev/nvidiactl"
#define WSL_NODE "/dev/dxg"
#define KFD "/dev/kfd"

bool gpu_is_node(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

const char *gpu_vendor_name(enum vendor vendor) {
    static const char *const names[] = {"wsl", "jetson", "nvidia", "amd", "intel", "cdi"};
    return names[vendor];
}

const char *const *gpu_shared(enum vendor vendor) {
    static const char *const none[] = {NULL};
    static const char *const nvidia[] = {NVIDIA_CTL, "/dev/nvidia-uvm", NULL};
    static const char *const amd[] = {KFD, NULL};
    return vendor == VENDOR_NVIDIA ? nvidia : vendor == VENDOR_AMD ? amd : none;
}

const char *const *gpu_shared_more(enum vendor vendor, bool graphics) {
    static const char *const none[] = {NULL};
    static const char *const nvidia[] = {"/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", NULL};
    static const char *const compute[] = {"/dev/nvidia-uvm-tools", NULL};
    return vendor != VENDOR_NVIDIA ? none : graphics ? nvidia : compute;
}

static bool is_jetson(void) {
    char family[32];
    small_read(AT_FDCWD, "/sys/devices/soc0/family", family, sizeof family);
    return exists("/etc/nv_tegra_release") || strncasecmp(family, "tegra", 5) == 0;
}

/* Looking through all of PCI takes long where nothing draws. */
static bool has_render_node(void) {
    glob_t found;
    bool any = glob("/dev/dri/renderD*", GLOB_NOSORT, NULL, &found) == 0;
    if (any) {
        globfree(&found);
    }
    return any;
}

bool gpu_is_here(const struct launch *launch, enum vendor vendor) {
    struct gpus found = {0};
    switch (vendor) {
        case VENDOR_WSL:
            return gpu_is_node(WSL_NODE);
        case VENDOR_JETSON:
            return is_jetson();
        case VENDOR_NVIDIA:
            return exists(NVIDIA_PROC) || gpu_is_node(NVIDIA_CTL);
        case VENDOR_AMD:
            return gpu_is_node(KFD);
        case VENDOR_INTEL:
            if (!launch->wsl2 && has_render_node()) {
                gpu_find(launch, &found, VENDOR_INTEL);
            }
            return found.count > 0;
        case VENDOR_CDI:
            return gpumap_cdi(launch)->count > 0;
        case VENDORS:
            break;
    }
    return false;
}

const char *gpu_absence(const bool *allowed, bool wsl2) {
    static const struct {
        enum vendor vendor;
        const char *id;
        const char *module;
    } made[] = {{VENDOR_NVIDIA, "0x10de", "nvidia"}, {VENDOR_AMD, "0x1002", "amdgpu"}, {VENDOR_INTEL, "0x8086", "i915 or xe"}};
    if (wsl2 && allowed[VENDOR_WSL]) {
        return "node missing: " WSL_NODE ": Windows shares no GPU with this machine";
    }
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        struct strings found = allowed[made[i].vendor] ? pci_gpus(made[i].id) : (struct strings){0};
        if (found.count) {
            return mem_text("module not loaded: %s does not have the GPU at %s", made[i].module, found.item[0]);
        }
    }
    return "no driver: this machine shows no GPU of a vendor that the policy allows";
}
