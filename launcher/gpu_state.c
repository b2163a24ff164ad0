/* Whether what was chosen can be used, in the words of `fleetbox doctor`. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gpu.h"

#define RIGHTS "/dev/nvidia-caps/" /* to MIG instances: for reading alone */

static const char *unreadable(const char *node) {
    struct stat st;
    bool helps = lstat(node, &st) == 0 && st.st_gid != 0 && (st.st_mode & 0060) == 0060;
    return helps ? mem_text("node unreadable: %s can be opened by group %u only", node, (unsigned)st.st_gid)
                 : mem_text("node unreadable: %s cannot be opened by this account", node);
}

/* Whether it is there and may be opened: NULL, or what is wrong. */
static const char *looked_at(const char *node) {
    if (!gpu_is_node(node)) {
        return mem_text("node missing: %s", node);
    }
    bool right = strncmp(node, RIGHTS, sizeof RIGHTS - 1) == 0;
    return access(node, right ? R_OK : R_OK | W_OK) == 0 ? NULL : unreadable(node);
}

/* Whether a driver answers. */
static const char *opened(const char *node) {
    int fd = open(node, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) {
        close(fd);
        return NULL;
    }
    return errno == ENXIO || errno == ENODEV ? mem_text("node without driver: %s is there, its driver is not", node)
                                             : mem_text("node unreadable: %s: %s", node, strerror(errno));
}

static const char *first_problem(const char *const *nodes, const char *(*problem_of_node)(const char *)) {
    const char *problem = NULL;
    while (nodes && *nodes && !problem) {
        problem = problem_of_node(*nodes++);
    }
    return problem;
}

/* Opening /dev/nvidiaN, which a CDI device may have too, wakes that GPU, for seconds. */
static bool sleeps(const struct gpu *gpu) {
    return gpu->vendor == VENDOR_NVIDIA || gpu->vendor == VENDOR_CDI;
}

static const char *lack(const struct gpu *gpu) {
    const char *problem = first_problem(gpu_shared(gpu->vendor), looked_at);
    problem = problem ? problem : first_problem(gpu->nodes.item, looked_at);
    problem = problem ? problem : first_problem(gpu->granted.item, looked_at);
    if (!problem && gpu->nodes.count == 0 && gpu->vendor != VENDOR_AMD && gpu->vendor != VENDOR_CDI) {
        problem = mem_text("node missing: the driver shows none for %s", gpu->pci);
    }
    return problem;
}

static const char *silence(const struct gpu *gpu) {
    const char *problem = first_problem(gpu_shared(gpu->vendor), opened);
    return problem || sleeps(gpu) ? problem : first_problem(gpu->nodes.item, opened);
}

static const char *first_of_chosen(const struct gpus *gpus, const char *(*problem_of)(const struct gpu *)) {
    const char *problem = NULL;
    for (size_t i = 0; i < gpus->count && !problem; i++) {
        problem = gpus->item[i].chosen ? problem_of(&gpus->item[i]) : NULL;
    }
    return problem;
}

/* What is missing comes first, as that is what has to be mended first. */
const char *gpu_problem(const struct gpus *gpus, bool thorough) {
    if (gpus->count == 0) {
        return "node missing: the driver shows no GPU";
    }
    const char *problem = first_of_chosen(gpus, lack);
    return problem || !thorough ? problem : first_of_chosen(gpus, silence);
}
