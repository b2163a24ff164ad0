/* GPU nodes of this machine, found at launch. Only compute nodes: never modeset, capabilities or display. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "collect.h"
#include "path.h"
#include "refuse.h"
#include "small.h"

#define NVIDIA_CTL "/dev/nvidiactl"
#define NVIDIA_PROC "/proc/driver/nvidia"
#define WSL_NODE "/dev/dxg"

enum { NVIDIA_MAJOR = 195 };

static bool vendor_allowed(const struct launch *launch, const char *vendor) {
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        const struct op *op = &launch->plan.op[i];
        if (op->kind == OP_GPU_VENDOR && strcmp(op->arg[0], vendor) == 0) {
            return true;
        }
    }
    return false;
}

/* A character device itself, not a link to one: /dev could hold a link out of it. */
static bool is_node(const char *path, unsigned wanted_major) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && (!wanted_major || major(st.st_rdev) == wanted_major);
}

static bool add_node(struct launch *launch, const char *path, unsigned wanted_major) {
    if (!is_node(path, wanted_major)) {
        return false;
    }
    strings_add(&launch->devices, path);
    return true;
}

/* /dev/nvidia0, /dev/nvidia1, …; the number is the driver's minor. Returns how many there are. */
static int add_numbered(struct launch *launch) {
    const char prefix[] = "nvidia";
    int count = 0;
    DIR *dir = opendir("/dev");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *digits = entry->d_name + sizeof prefix - 1;
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) == 0 && isdigit((unsigned char)digits[0]) &&
            digits[strspn(digits, "0123456789")] == '\0') {
            count += add_node(launch, path_join("/dev", entry->d_name), NVIDIA_MAJOR);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

/* Why NVIDIA's control node cannot be used, or NULL. Opening it wakes no GPU. */
static const char *control_problem(void) {
    int fd = open(NVIDIA_CTL, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        close(fd);
        return NULL;
    }
    switch (errno) {
        case ENXIO:
        case ENODEV:
            return "node without driver: " NVIDIA_CTL " is there, the nvidia module is not";
        case EACCES:
        case EPERM:
            return "no permission: " NVIDIA_CTL " cannot be opened by this account";
        default:
            return "node missing: " NVIDIA_CTL;
    }
}

static bool pci_has_nvidia(void) {
    DIR *dir = opendir("/sys/bus/pci/devices");
    bool found = false;
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        char path[PATH_LIMIT];
        char vendor[8];
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/vendor", entry->d_name);
        found = small_read(AT_FDCWD, path, vendor, sizeof vendor) >= 6 && strncmp(vendor, "0x10de", 6) == 0;
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

static const char *absent_problem(void) {
    return pci_has_nvidia() ? "module not loaded: there is an NVIDIA device, and no " NVIDIA_PROC
                            : "no driver: neither " NVIDIA_PROC " nor " NVIDIA_CTL " nor " WSL_NODE " exists";
}

/* NULL, or the reason why there is nothing usable. */
static const char *add_nvidia(struct launch *launch) {
    struct stat st;
    bool driver = stat(NVIDIA_PROC, &st) == 0;
    bool control = is_node(NVIDIA_CTL, NVIDIA_MAJOR);
    if (!driver && !control) {
        return launch->plan.gpu == GPU_REQUIRED ? absent_problem() : "none";
    }
    if (!control) {
        return "node missing: " NVIDIA_CTL " (the role `gpu` makes it at boot)";
    }
    if (add_numbered(launch) == 0) {
        return "node missing: there is no /dev/nvidia<number>";
    }
    strings_add(&launch->devices, NVIDIA_CTL);
    bool uvm = add_node(launch, "/dev/nvidia-uvm", 0);
    add_node(launch, "/dev/nvidia-uvm-tools", 0);
    if (launch->plan.gpu != GPU_REQUIRED) {
        return NULL;
    }
    return uvm ? control_problem() : "node missing: /dev/nvidia-uvm (the role `gpu` makes it at boot)";
}

static const char *add_wsl(struct launch *launch) {
    if (!add_node(launch, WSL_NODE, 0)) {
        return "node missing: " WSL_NODE;
    }
    bool usable = launch->plan.gpu != GPU_REQUIRED || access(WSL_NODE, R_OK | W_OK) == 0;
    return usable ? NULL : "no permission: " WSL_NODE " cannot be opened by this account";
}

void collect_gpu(struct launch *launch) {
    if (launch->plan.gpu == GPU_NONE) { /* also what a read-only policy says that does not ask for a GPU */
        return;
    }
    size_t before = launch->devices.count;
    const char *problem = "no driver: the policy allows no GPU vendor of this machine";
    if (vendor_allowed(launch, "wsl") && (launch->wsl2 || is_node(WSL_NODE, 0))) {
        problem = add_wsl(launch);
    } else if (vendor_allowed(launch, "nvidia")) {
        problem = add_nvidia(launch);
    }
    if (problem && launch->plan.gpu == GPU_REQUIRED) {
        refuse("`fleetbox doctor` shows what this machine lacks; devices.gpu.mode: auto would go on without a GPU",
               "the policy requires a GPU: %s", problem);
    }
    launch->gpu_bound = launch->devices.count > before;
}
