/* What the two halves of the launcher say to each other, and the descriptors that cross into the sandbox. */
#ifndef FLEETBOX_CONTROL_H
#define FLEETBOX_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

/* One digit each: a shell knows only `0<` to `9<`, and --dry-run prints a line for a shell. */
enum inherited {
    FD_CONTROL = 3, /* SOCK_SEQPACKET, both ways */
    FD_SELF = 4,    /* this program, executed again inside as /proc/self/fd/4 */
    FD_FILTER = 5,  /* the seccomp filter of a printed command; a launcher sends it with its orders */
    FD_LOCK = 6,    /* holds the locks of lock.h until the sandbox is gone */
    FD_BWRAP = 7,
    FD_OPTIONS = 8, /* what bwrap is asked for, once that is known */
    FD_WORDS = 9,   /* and what the inner stage is to do */
    FD_FIRST_FREE = 10, /* everything else lives from here on, closed on exec */
};

enum message_type {
    MESSAGE_STARTING = 1,    /* verified and filtered; the workload is executed next */
    MESSAGE_CANNOT_MOUNT,    /* bwrap left the inner stage no privilege that counts: nothing was done */
    MESSAGE_REFUSED,         /* `text` says why: nothing was executed */
    MESSAGE_NOT_EXECUTED,    /* `value` is the errno of exec */
    MESSAGE_ENDED,           /* `value` is the workload's wait status */
    MESSAGE_OUT_OF_TIME,     /* its time is over: it was asked to end, and will be ended */
    MESSAGE_GO,              /* to the inner stage, where it waits: it has been placed in its cgroup */
    MESSAGE_STOPPED,         /* the workload was stopped by the signal `value` */
    MESSAGE_SIGNAL,          /* to the inner stage: `value` is the signal to send to the workload */
    MESSAGE_KEY,             /* the same from the terminal: to its whole process group */
    MESSAGE_CONTINUE,        /* to the inner stage: the workload goes on; `value` says whether with the terminal */
    MESSAGE_ORDERS,          /* to the inner stage: FD_OPTIONS and FD_WORDS were whole; it brings the filter */
};

struct message {
    int32_t type;
    int32_t value;
    char text[4096 + 256]; /* a path and a reason; only as many bytes are sent as it has */
};

/* The wait status as a shell shows it. */
int exit_code(int wait_status);

/* Sends; `text` may be NULL. `control` is -1 where nobody listens: then nothing is sent. False: the launcher is gone,
 * or has left so much unread that this is lost. */
bool tell(int control, int type, int value, const char *text);

/* The inner stage's way to refuse: nothing has been executed, and nothing will be. */
_Noreturn void give_up(int control, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
