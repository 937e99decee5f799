/* Preloaded into big-endian programs under qemu, for tests only: denies segmentation offload. qemu passes the
   control messages of UDP_SEGMENT and UDP_GRO on without swapping the bytes of the sizes in them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

int setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    if (level == IPPROTO_UDP) {
        errno = ENOPROTOOPT;
        return -1;
    }
    int (*next)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
    return next(fd, level, name, value, len);
}
