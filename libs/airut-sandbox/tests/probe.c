/* Tries, from inside a sandbox, what a sandbox must not do. One line each: name, then "ok", an errno, or a signal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *name, long result) {
    if (result >= 0) printf("%s ok\n", name);
    else printf("%s %s\n", name, strerrorname_np(errno));
    fflush(stdout);
}

/* In a child, because the answer may be a signal. */
static void guarded(const char *name, long (*call)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        errno = 0;
        long result = call();
        if (result < 0 && result > -4096 && errno == 0) errno = -result; /* raw entry points answer -errno */
        say(name, result);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) printf("%s SIG%s\n", name, sigabbrev_np(WTERMSIG(status)));
    fflush(stdout);
}

static int sock(int family, int type, int protocol) { return socket(family, type, protocol); }
/* The upper half of the register must not hide the family. */
static long wide(long family) { return syscall(SYS_socket, family, SOCK_STREAM, 0); }

static long thread_with_user_ns(void) { return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }
static long thread_with_net_ns(void) { return syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0); }
static long clone3_anything(void) {
    unsigned long arguments[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    return syscall(SYS_clone3, arguments, sizeof arguments);
}
static long raw_io_uring(void) { char p[256] = {0}; return syscall(SYS_io_uring_setup, 4, p); }
static long raw_bpf(void) { char a[128] = {0}; return syscall(SYS_bpf, 0, a, sizeof a); }
static long raw_userfaultfd(void) { return syscall(SYS_userfaultfd, 0); }
static long raw_keyctl(void) { return syscall(SYS_keyctl, 0, -3, 1); }
static long raw_add_key(void) { return syscall(SYS_add_key, "user", "x", "y", 1L, -3L); }
static long raw_request_key(void) { return syscall(SYS_request_key, "user", "x", 0, -3L); }
static long raw_perf(void) { char a[128] = {0}; return syscall(SYS_perf_event_open, a, 0, -1, -1, 0); }
static long raw_mount(void) { return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0); }
static long raw_chroot(void) { return syscall(SYS_chroot, "/tmp"); }
static long raw_mknod(void) { return syscall(SYS_mknodat, AT_FDCWD, "/tmp/mem", S_IFCHR | 0600, (1 << 8) | 1); }
static long raw_fifo(void) { unlink("/tmp/fifo"); return syscall(SYS_mknodat, AT_FDCWD, "/tmp/fifo", S_IFIFO | 0600, 0); }
static long raw_handle(void) { char h[64] = {0}; return syscall(SYS_open_by_handle_at, AT_FDCWD, h, 0); }
static long raw_syslog(void) { char b[16]; return syscall(SYS_syslog, 3, b, 16); }
static long raw_sethostname(void) { return syscall(SYS_sethostname, "x", 1); }
static long raw_setns(void) { int f = open("/proc/self/ns/net", O_RDONLY); return syscall(SYS_setns, f, 0); }
static long raw_unshare(void) { return syscall(SYS_unshare, CLONE_NEWUSER); }
static long raw_unshare_files(void) { return syscall(SYS_unshare, CLONE_FILES); }
static long raw_vmsplice(void) { return syscall(SYS_vmsplice, 1, 0, 0, 0); }
static long personality_query(void) { return personality(0xffffffff); }
static long personality_zero(void) { return personality(ADDR_COMPAT_LAYOUT | READ_IMPLIES_EXEC | MMAP_PAGE_ZERO); }
static long trace_me(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0); }
static long unknown_call(void) { return syscall(100000); }

#ifdef __x86_64__
static long int80(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return result;
}
static long compat_getpid(void) { return int80(20, 0, 0, 0); }
static long compat_socket_vsock(void) { return int80(359, 40, SOCK_STREAM, 0); }
static long compat_socketcall(void) { static int a[3] = {40, SOCK_STREAM, 0}; return int80(102, 1, (long)a, 0); }
static long x32_getpid(void) { return syscall(0x40000000 | 39); }
static long x32_socket(void) { return syscall(0x40000000 | 41, 40, SOCK_STREAM, 0); }
static long raw_modify_ldt(void) { return syscall(SYS_modify_ldt, 0, 0, 0); }
static long raw_iopl(void) { return syscall(SYS_iopl, 3); }
#endif

int main(void) {
    /* On the host, and as root, much of this would succeed. */
    if (access("/run/.containerenv", F_OK) != 0) {
        fputs("this probe runs inside a container only\n", stderr);
        return 2;
    }
    say("inet", sock(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    say("inet6", sock(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP));
    say("unix", sock(AF_UNIX, SOCK_SEQPACKET, 0));
    say("route", sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    int pair[2];
    say("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct { const char *name; int family, type, protocol; } refused[] = {
        {"unspec", 0, SOCK_STREAM, 0}, {"ax25", 3, SOCK_DGRAM, 0}, {"packet", AF_PACKET, SOCK_RAW, 0},
        {"packet-dgram", AF_PACKET, SOCK_DGRAM, 0}, {"can", 29, SOCK_RAW, 1}, {"tipc", 30, SOCK_STREAM, 0},
        {"bluetooth", 31, SOCK_RAW, 1}, {"alg", 38, SOCK_SEQPACKET, 0}, {"vsock", 40, SOCK_STREAM, 0},
        {"kcm", 41, SOCK_DGRAM, 0}, {"smc", 43, SOCK_STREAM, 0}, {"xdp", 44, SOCK_RAW, 0}, {"mctp", 45, SOCK_DGRAM, 0},
        {"rds", 21, SOCK_SEQPACKET, 0}, {"key", 15, SOCK_RAW, 2}, {"ppp", 24, SOCK_DGRAM, 0},
        {"audit", AF_NETLINK, SOCK_RAW, NETLINK_AUDIT}, {"netfilter", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER},
        {"diag", AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG}, {"xfrm", AF_NETLINK, SOCK_RAW, NETLINK_XFRM},
        {"uevent", AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT}, {"crypto", AF_NETLINK, SOCK_RAW, 21},
        {"raw", AF_INET, SOCK_RAW, 1}, {"raw6", AF_INET6, SOCK_RAW, 58}, {"ping", AF_INET, SOCK_DGRAM, 1},
        {"sctp", AF_INET, SOCK_STREAM, 132}, {"sctp-seq", AF_INET, SOCK_SEQPACKET, 0}, {"mptcp", AF_INET, SOCK_STREAM, 262},
        {"udplite", AF_INET, SOCK_DGRAM, 136}, {"dccp", AF_INET, 6, 33}, {"l2tp", AF_INET, SOCK_DGRAM, 115},
        {"negative", -1, SOCK_STREAM, 0}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        say(refused[i].name, sock(refused[i].family, refused[i].type, refused[i].protocol));
    say("vsock-wide", wide(0x100000028L));
    say("inet-wide", wide(0x100000002L));
    say("tipc-pair", socketpair(30, SOCK_STREAM, 0, pair));

    struct { const char *name; long (*call)(void); } calls[] = {
        {"clone-newuser", thread_with_user_ns}, {"clone-newnet", thread_with_net_ns}, {"clone3", clone3_anything},
        {"unshare", raw_unshare}, {"unshare-files", raw_unshare_files}, {"setns", raw_setns},
        {"io_uring_setup", raw_io_uring}, {"bpf", raw_bpf}, {"userfaultfd", raw_userfaultfd}, {"keyctl", raw_keyctl},
        {"add_key", raw_add_key}, {"request_key", raw_request_key}, {"perf_event_open", raw_perf}, {"mount", raw_mount},
        {"chroot", raw_chroot}, {"mknod-device", raw_mknod}, {"mknod-fifo", raw_fifo}, {"open_by_handle_at", raw_handle},
        {"syslog", raw_syslog}, {"sethostname", raw_sethostname}, {"vmsplice", raw_vmsplice},
        {"personality-query", personality_query}, {"personality-weaken", personality_zero}, {"ptrace-traceme", trace_me},
        {"unknown", unknown_call},
#ifdef __x86_64__
        {"i386-getpid", compat_getpid}, {"i386-socket", compat_socket_vsock}, {"i386-socketcall", compat_socketcall},
        {"x32-getpid", x32_getpid}, {"x32-socket", x32_socket}, {"modify_ldt", raw_modify_ldt}, {"iopl", raw_iopl},
#endif
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) guarded(calls[i].name, calls[i].call);
    return 0;
}
