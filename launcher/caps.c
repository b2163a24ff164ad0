#include "caps.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool get(struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &header, data) == 0;
}

/* One set after the other: what this process has, what it could gain by executing, what it would hand on. The
 * kernel ends the loop: it knows which capability is its last. */
static bool drop_bounding_and_ambient(bool bounding) {
    for (unsigned long cap = 0;; cap++) {
        int there = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
        if (there < 0) {
            return cap > CAP_SYS_ADMIN;
        }
        if (there > 0) { /* while there still is CAP_SETPCAP */
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
            there = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
        }
        if ((bounding && there != 0) || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0) {
            return false;
        }
    }
}

static bool is_any_left(void) {
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (!get(data)) {
        return true;
    }
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (data[i].effective || data[i].permitted || data[i].inheritable) {
            return true;
        }
    }
    return false;
}

const char *caps_drop(bool bounding) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (!drop_bounding_and_ambient(bounding)) {
        return "one is left in the bounding or the ambient set";
    }
    if (syscall(SYS_capset, &header, none) != 0 || is_any_left()) {
        return "one is left in the effective, permitted or inheritable set";
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? NULL : "new ones can be had by executing a program";
}
