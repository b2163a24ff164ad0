#include "orders.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "files.h"
#include "refuse.h"

enum { WORDS_LIMIT = 4 * 1024 * 1024 };

/* Room for one descriptor beside a message, aligned as the kernel wants it. */
union beside {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

static char *flat(const struct strings *words, size_t *length) {
    *length = 0;
    for (size_t i = 0; i < words->count; i++) {
        *length += strlen(words->item[i]) + 1;
    }
    char *text = mem_take(*length);
    char *at = text;
    for (size_t i = 0; i < words->count; i++) {
        at = stpcpy(at, words->item[i]) + 1;
    }
    return text;
}

bool orders_write(int stream, const struct strings *words) {
    size_t left;
    const char *text = flat(words, &left);
    while (left) {
        ssize_t sent = send(stream, text, left, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            break;
        }
        text += sent > 0 ? sent : 0;
        left -= sent > 0 ? (size_t)sent : 0;
    }
    close(stream);
    return left == 0;
}

bool orders_send(int control, int filter) {
    struct message message = {.type = MESSAGE_ORDERS};
    union beside beside = {0};
    struct iovec part = {&message, offsetof(struct message, text)};
    struct msghdr whole = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &beside, .msg_controllen = sizeof beside};
    struct cmsghdr *header = CMSG_FIRSTHDR(&whole);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof filter);
    memcpy(CMSG_DATA(header), &filter, sizeof filter);
    return sendmsg(control, &whole, MSG_NOSIGNAL) >= 0;
}

static int receive_filter(int control) {
    struct message message;
    union beside beside;
    struct iovec part = {&message, sizeof message};
    struct msghdr whole = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &beside, .msg_controllen = sizeof beside};
    ssize_t length = recvmsg(control, &whole, MSG_CMSG_CLOEXEC);
    if (length < (ssize_t)offsetof(struct message, text)) {
        _exit(EXIT_SIGNAL_BASE + SIGKILL);
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&whole);
    bool brings = header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
                  header->cmsg_len == CMSG_LEN(sizeof(int));
    if (message.type != MESSAGE_ORDERS || !brings) {
        give_up(control, "the inner stage was told something else than its orders");
    }
    int filter;
    memcpy(&filter, CMSG_DATA(header), sizeof filter);
    return filter;
}

char **orders_receive(int control, int *filter) {
    size_t length;
    char *text = read_limited(FD_WORDS, WORDS_LIMIT, &length, "the orders of the inner stage");
    close(FD_WORDS);
    *filter = receive_filter(control);
    if (length == 0 || text[length - 1] != '\0') {
        give_up(control, "the orders of the inner stage are not whole");
    }
    struct strings words = {0};
    for (char *end = text + length; text < end; text += strlen(text) + 1) {
        strings_add(&words, text);
    }
    return (char **)words.item;
}
