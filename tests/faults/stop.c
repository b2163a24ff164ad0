/* `stop N EXECS CMD...` runs CMD and stops its first process at the entry of the Nth system call that concerns locks
 * and mountpoints, counted after its EXECSth execve. Prints "stopped NAME", and waits for a line on stdin: "go"
 * lets it go on, "kill" sends SIGKILL. Prints "ended STATUS" at last. So a test decides what else happens in
 * between, without a hook in the product and without sleeping. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    long number;
    const char *name;
} concerned[] = {
    {SYS_flock, "flock"},       {SYS_fcntl, "fcntl"},         {SYS_mkdirat, "mkdirat"},
    {SYS_unlinkat, "unlinkat"}, {SYS_ftruncate, "ftruncate"}, {SYS_pwrite64, "pwrite64"},
#ifdef SYS_unlink
    {SYS_unlink, "unlink"},     {SYS_mkdir, "mkdir"},         {SYS_rmdir, "rmdir"},
#endif
    {SYS_exit_group, "exit_group"},
};

static const char *concern(pid_t pid) {
    struct ptrace_syscall_info info;
    long got = ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info);
    if (got <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY) {
        return NULL;
    }
    bool locks = info.entry.args[1] == F_OFD_SETLK || info.entry.args[1] == F_OFD_GETLK;
    if ((long)info.entry.nr == SYS_fcntl && !locks) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof concerned / sizeof *concerned; i++) {
        if ((long)info.entry.nr == concerned[i].number) {
            return concerned[i].name;
        }
    }
    return NULL;
}

static int finish(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    printf("ended %d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 4) {
        return 2;
    }
    int wanted = atoi(argv[1]);
    int execs = atoi(argv[2]);
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(2, 1);
        close(null);
        execvp(argv[3], argv + 3);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
    ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    int deliver = 0;
    for (;;) {
        ptrace(PTRACE_SYSCALL, pid, NULL, deliver);
        deliver = 0;
        if (waitpid(pid, &status, 0) < 0 || WIFEXITED(status) || WIFSIGNALED(status)) {
            printf("ended %d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
            return 0;
        }
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
            execs--;
        } else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            const char *name = execs <= 0 ? concern(pid) : NULL;
            if (name && --wanted == 0) {
                printf("stopped %s\n", name);
                break;
            }
        } else if (WSTOPSIG(status) != SIGTRAP) {
            deliver = WSTOPSIG(status);
        }
    }
    char line[16] = "";
    if (!fgets(line, sizeof line, stdin) || strcmp(line, "kill\n") == 0) {
        kill(pid, SIGKILL);
    } else {
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }
    return finish(pid);
}
