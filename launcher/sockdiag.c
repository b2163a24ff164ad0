#include "sockdiag.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem.h"

enum { ANSWER_SIZE = 32 * 1024 };

static bool ask(int fd) {
    struct {
        struct nlmsghdr header;
        struct unix_diag_req request;
    } message = {
        .header = {.nlmsg_len = sizeof message, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = AF_UNIX, .udiag_states = UINT32_MAX, .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS},
    };
    return send(fd, &message, sizeof message, 0) == (ssize_t)sizeof message;
}

/* Abstract names have no file. */
static void add(struct bounds *bounds, const struct nlmsghdr *header) {
    struct bound bound = {0};
    bool has_file = false;
    const char *start = (const char *)header + NLMSG_LENGTH(sizeof(struct unix_diag_msg));
    const char *end = (const char *)header + header->nlmsg_len;
    const struct rtattr *attribute;
    for (const char *at = start; at + sizeof *attribute <= end; at += RTA_ALIGN(attribute->rta_len)) {
        attribute = (const struct rtattr *)(const void *)at;
        if (attribute->rta_len < sizeof *attribute || at + attribute->rta_len > end) {
            return;
        }
        const char *data = at + RTA_LENGTH(0);
        size_t length = attribute->rta_len - RTA_LENGTH(0);
        if (attribute->rta_type == UNIX_DIAG_NAME) {
            bound.name = mem_copy(data, strnlen(data, length));
        } else if (attribute->rta_type == UNIX_DIAG_VFS && length >= sizeof(struct unix_diag_vfs)) {
            struct unix_diag_vfs vfs;
            memcpy(&vfs, data, sizeof vfs);
            bound.ino = vfs.udiag_vfs_ino;
            has_file = true;
        }
    }
    if (has_file && bound.name && bound.name[0]) {
        bounds->item = mem_grow(bounds->item, bounds->count, &bounds->room, sizeof *bounds->item);
        bounds->item[bounds->count++] = bound;
    }
}

/* True once the kernel says that this was all. */
static bool take(struct bounds *bounds, const char *answer, size_t length, bool *failed) {
    const struct nlmsghdr *header;
    for (size_t at = 0; at + sizeof *header <= length; at += NLMSG_ALIGN(header->nlmsg_len)) {
        header = (const struct nlmsghdr *)(const void *)(answer + at);
        bool whole = header->nlmsg_len >= sizeof *header && header->nlmsg_len <= length - at;
        if (!whole || header->nlmsg_type == NLMSG_ERROR) {
            *failed = true;
            return true;
        }
        if (header->nlmsg_type == NLMSG_DONE) {
            return true;
        }
        add(bounds, header);
    }
    return false;
}

bool sockdiag_read(struct bounds *bounds) {
    _Alignas(struct nlmsghdr) static char answer[ANSWER_SIZE];
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    bool failed = fd < 0 || !ask(fd);
    for (bool done = failed; !done;) {
        ssize_t length = recv(fd, answer, sizeof answer, 0);
        failed = length <= 0;
        done = failed || take(bounds, answer, (size_t)length, &failed);
    }
    if (fd >= 0) {
        close(fd);
    }
    return !failed;
}
