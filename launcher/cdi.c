/* CDI devices: what a machine's specifications say of them, as the host program translated it, checked against what is
 * there now. The specifications are code of root's; still, nothing of them opens more than a node or shows more than a file. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "collect.h"
#include "gpu.h"
#include "gpumap.h"
#include "refuse.h"

static bool is_number(const char *text, unsigned value) {
    return strcmp(text, "-") == 0 || strcmp(text, mem_text("%u", value)) == 0;
}

static void check_node(const char *device, const char *const *node) {
    struct stat st;
    if (strcmp(node[0], node[1]) != 0) {
        refuse("", "CDI device %s shows %s as %s: a node under another name is not supported", device, node[0], node[1]);
    }
    if (lstat(node[0], &st) != 0 || !S_ISCHR(st.st_mode)) {
        return; /* missing: said as with every other GPU */
    }
    if (!is_number(node[2], major(st.st_rdev)) || !is_number(node[3], minor(st.st_rdev))) {
        refuse("generate the specification again", "CDI device %s: %s is %u:%u, not %s:%s", device, node[0],
               major(st.st_rdev), minor(st.st_rdev), node[2], node[3]);
    }
}

static bool is_member(gid_t wanted) {
    int room = getgroups(0, NULL);
    gid_t *list = mem_take(room > 0 ? (size_t)room * sizeof *list : 1);
    int count = getgroups(room, list);
    for (int i = 0; i < count; i++) {
        if (list[i] == wanted) {
            return true;
        }
    }
    return getegid() == wanted;
}

/* No sandbox can add a group: that the caller has it is all that can be asked for. */
static void check_groups(const struct cdi_device *device) {
    for (size_t i = 0; i < device->groups.count; i++) {
        const char *group = device->groups.item[i];
        if (strtoul(group, NULL, 10) && !is_member((gid_t)strtoul(group, NULL, 10))) {
            refuse(mem_text("usermod -aG %s for this account, then log in again", group),
                   "CDI device %s wants group %s, which this account does not have", device->name, group);
        }
    }
}

void cdi_check(const struct cdi_device *device) {
    if (device->refused) {
        refuse("`fleetbox-host gpu` says it again", "CDI device %s cannot be used: %s", device->name, device->refused);
    }
    for (size_t i = 0; i + 4 <= device->nodes.count; i += 4) {
        check_node(device->name, &device->nodes.item[i]);
    }
    for (size_t i = 0; i + 2 <= device->mounts.count; i += 2) {
        if (strcmp(device->mounts.item[i], device->mounts.item[i + 1]) != 0) {
            refuse("", "CDI device %s shows %s as %s: another place is not supported", device->name,
                   device->mounts.item[i], device->mounts.item[i + 1]);
        }
    }
    check_groups(device);
}

void cdi_use(struct launch *launch, const struct cdi_device *device) {
    for (size_t i = 0; launch->plan.root == ROOT_MINIMAL && i + 2 <= device->mounts.count; i += 2) {
        collect_library(launch, device->mounts.item[i], "CDI");
    }
    for (size_t i = 0; i < device->env.count; i++) {
        strings_add(&launch->gpu_env, device->env.item[i]);
    }
}
