/* The launch plan, format 1 (docs/launch-plan.md): parsed strictly once, trusted inside. */
#ifndef FLEETBOX_PLAN_H
#define FLEETBOX_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#define PLAN_FORMAT "1"

enum { PLAN_LIMIT = 256 * 1024, PLAN_RECORDS = 4000, PLAN_ARGS = 3 };

/* The values of each enum follow the order of the words in plan.c's table. */
enum plan_mode { MODE_READ_ONLY, MODE_WORKSPACE_WRITE, MODE_FULL_ACCESS };
enum plan_root { ROOT_HOST, ROOT_MINIMAL };
enum plan_workspace { WORKSPACE_WRITE, WORKSPACE_READ };
enum plan_tmp { TMP_PRIVATE, TMP_HOST, TMP_NONE };
enum plan_network { NETWORK_NONE, NETWORK_HOST };
enum plan_switch { SWITCH_NO, SWITCH_YES };
enum plan_sockets { SOCKETS_AUTO, SOCKETS_NONE, SOCKETS_PRIVATE };
enum plan_gpu { GPU_NONE, GPU_AUTO, GPU_REQUIRED };
enum plan_landlock { LANDLOCK_OFF, LANDLOCK_BEST_EFFORT, LANDLOCK_REQUIRED };

enum op_kind {
    OP_GPU_VENDOR,
    OP_GPU_SELECT,
    OP_GPU_PROFILE,
    OP_GPU_EXCLUSIVE,
    OP_DEVICE,
    OP_RULE,
    OP_GLOB,
    OP_PROTECT,
    OP_PROTECT_PART,
    OP_MASK,
    OP_MASK_WSL,
    OP_KEEP,
    OP_MINIMAL,
    OP_ENV_PASS,
    OP_ENV_SET,
    OP_SECCOMP,
    OP_PROGRAM,
    OP_LIMIT,
};

struct op {
    enum op_kind kind;
    const char *arg[PLAN_ARGS];
};

struct plan {
    const char *policy;
    const char *digest;
    int mode, root, workspace, tmp, network, nested, host_pids, sockets, gpu, landlock;
    struct op *op;
    size_t op_count;
    size_t op_room;
};

/* `bytes` must stay alive: the plan points into it. Refuses whatever is not exactly format 1. */
void plan_parse(struct plan *plan, const char *bytes, size_t length);

bool plan_is_name(const char *text);

#endif
