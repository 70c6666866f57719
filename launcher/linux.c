/*
 * The launcher on Linux desktops (麒麟, UOS and others that follow freedesktop.org).
 *
 * On disk: `~/.local/bin/forepost-launcher`, and `forepost.desktop` among the user's applications.
 * Other programs are started by their argument lists, never by a shell.
 */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "/.local/bin/forepost-launcher"
#define DESKTOP "forepost.desktop"
#define SCHEME_TYPE "x-scheme-handler/wyht"

/* Bytes that are copied at a time. */
#define COPY_BYTES 65536

/* A path of ours with its zero. */
typedef char path[PATH_MAX];

static bool quiet;

void show(bool failed, const char *message)
{
    if (failed || !quiet)
        fputs(message, failed ? stderr : stdout);
}

bool open_browser(const char *url)
{
    execlp("xdg-open", "xdg-open", url, (char *)NULL);
    return false;
}

/* A connected socket, or -1. */
static int reach(const struct server *server, int kind)
{
    struct addrinfo hints = {.ai_socktype = kind}, *found = NULL;
    if (getaddrinfo(server->host, server->port, &hints, &found) != 0)
        return -1;
    struct timeval wait = {.tv_sec = ANSWER_WAIT_SECONDS};
    int fd = -1;
    for (struct addrinfo *one = found; one && fd < 0; one = one->ai_next) {
        fd = socket(one->ai_family, kind | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        if (connect(fd, one->ai_addr, one->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static bool same_address(const struct sockaddr *one, const struct sockaddr_storage *other)
{
    if (!one || one->sa_family != other->ss_family)
        return false;
    if (one->sa_family == AF_INET)
        return ((const struct sockaddr_in *)one)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)other)->sin_addr.s_addr;
    return one->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)one)->sin6_addr,
                  &((const struct sockaddr_in6 *)other)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* As the kernel shows it, `02:00:5e:00:53:01`; zeros, as of the loopback, are none. */
static void read_mac(const char *interface, char mac[MAC_BYTES])
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "/sys/class/net/%s/address", interface);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    char text[MAC_BYTES];
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    /* An InfiniBand's is longer than six bytes, and does not end here. */
    if (length != MAC_BYTES || text[MAC_BYTES - 1] != '\n')
        return;
    text[MAC_BYTES - 1] = 0;
    if (strcmp(text, "00:00:00:00:00:00") == 0)
        return;
    for (size_t at = 0; at < MAC_BYTES; at++)
        mac[at] = text[at] == ':' ? '-' : text[at];
}

void hardware_address(const struct server *server, char mac[MAC_BYTES])
{
    /* Connecting a datagram socket sends nothing; the kernel says which of our addresses it is. */
    int fd = reach(server, SOCK_DGRAM);
    struct sockaddr_storage own = {0};
    socklen_t length = sizeof own;
    struct ifaddrs *all = NULL;
    if (fd >= 0 && getsockname(fd, (struct sockaddr *)&own, &length) == 0 &&
        getifaddrs(&all) == 0) {
        for (struct ifaddrs *one = all; one; one = one->ifa_next) {
            if (same_address(one->ifa_addr, &own)) {
                read_mac(one->ifa_name, mac);
                break;
            }
        }
        freeifaddrs(all);
    }
    if (fd >= 0)
        close(fd);
}

static bool send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

enum called call(const struct server *server, const char *url, char answer[ANSWER_BYTES_MAX])
{
    /* The browser has the TLS, and the certificates that the hospital trusts. */
    if (server->tls)
        return BROWSER;
    static char request[URL_BYTES_MAX + ADDRESS_BLOCK_BYTES + 128];
    const char *host = server->address + sizeof "http://" - 1;
    const char *target = url + strlen(server->address);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, host);
    int fd = reach(server, SOCK_STREAM);
    if (fd < 0)
        return NOT_CALLED;
    size_t got = 0;
    if (send_all(fd, request, (size_t)length)) {
        ssize_t more;
        while (got < ANSWER_BYTES_MAX - 1 &&
               (more = recv(fd, answer + got, ANSWER_BYTES_MAX - 1 - got, 0)) > 0)
            got += (size_t)more;
    }
    close(fd);
    answer[got] = 0;
    const char *body = strstr(answer, "\r\n\r\n");
    if (!body)
        return NOT_CALLED;
    memmove(answer, body + 4, strlen(body + 4) + 1);
    return CALLED;
}

static int fail(const char *chinese, const char *english, const char *name)
{
    static char detail[PATH_MAX + 128];
    snprintf(detail, sizeof detail, "%s: %s", name, strerror(errno));
    say(true, chinese, english, detail);
    return 1;
}

/* Makes every folder above `name`. */
static bool make_folders(const char *name)
{
    path folder;
    snprintf(folder, sizeof folder, "%s", name);
    for (char *at = folder + 1; *at; at++) {
        if (*at == '/') {
            *at = 0;
            if (mkdir(folder, 0755) != 0 && errno != EEXIST)
                return false;
            *at = '/';
        }
    }
    return true;
}

/* Beside the old one first, then in its place: a launcher that runs or is half written is never
 * what the desktop finds. */
static int create(const char *name, char beside[PATH_MAX], mode_t mode)
{
    if ((size_t)snprintf(beside, PATH_MAX, "%s.new", name) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    unlink(beside);
    return make_folders(name) ? open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode) : -1;
}

static bool put_in_place(int to, bool whole, const char *beside, const char *name)
{
    whole = fsync(to) == 0 && whole;
    whole = close(to) == 0 && whole;
    return whole && rename(beside, name) == 0;
}

static bool copy_self(const char *name)
{
    static char bytes[COPY_BYTES];
    path beside;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = from < 0 ? -1 : create(name, beside, 0755);
    ssize_t length = -1;
    if (to >= 0) {
        while ((length = read(from, bytes, sizeof bytes)) > 0 &&
               write(to, bytes, (size_t)length) == length)
            ;
    }
    if (from >= 0)
        close(from);
    return to >= 0 && put_in_place(to, length == 0, beside, name);
}

static bool write_desktop(const char *name, const char *program)
{
    char text[PATH_MAX + 256];
    path beside;
    int length = snprintf(text, sizeof text,
                          "[Desktop Entry]\nType=Application\nName=Forepost\nNoDisplay=true\n"
                          "MimeType=" SCHEME_TYPE ";\nExec=\"%s\" %%u\n",
                          program);
    int to = create(name, beside, 0644);
    return to >= 0 && put_in_place(to, write(to, text, (size_t)length) == length, beside, name);
}

/* Makes the desktop file the one for `WYHT://`. */
static bool register_scheme(void)
{
    pid_t child = fork();
    if (child == 0) {
        execlp("xdg-mime", "xdg-mime", "default", DESKTOP, SCHEME_TYPE, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

/* Where the program and the desktop file stand; false when the user's folder is no use. */
static bool own_paths(path program, path desktop)
{
    const char *home = getenv("HOME"), *data = getenv("XDG_DATA_HOME");
    bool own_data = data && *data == '/';
    /* The characters that a desktop file would take for something else. */
    bool usable = home && *home == '/' && !strpbrk(home, "\"\\`$%\n\r\t");
    int one = usable ? snprintf(program, PATH_MAX, "%s" PROGRAM, home) : -1;
    int two = usable ? snprintf(desktop, PATH_MAX, "%s%s/applications/" DESKTOP,
                                own_data ? data : home, own_data ? "" : "/.local/share")
                     : -1;
    if (one > 0 && two > 0 && one < PATH_MAX && two < PATH_MAX)
        return true;
    say(true, "HOME 不是可用的用户目录。", "HOME is no folder of a user that can be used.",
        home ? home : "");
    return false;
}

static int install(void)
{
    path program, desktop;
    struct server server;
    if (!find_server(&server) || !own_paths(program, desktop))
        return 1;
    if (!copy_self(program))
        return fail("无法写入程序。", "The program cannot be written.", program);
    if (!write_desktop(desktop, program))
        return fail("无法写入桌面文件。", "The desktop file cannot be written.", desktop);
    static char detail[2 * PATH_MAX + ADDRESS_BLOCK_BYTES];
    snprintf(detail, sizeof detail, "%s\n%s\nWYHT:// → %s", program, desktop, server.address);
    if (!register_scheme()) {
        say(true, "文件已写入，但 xdg-mime 未能登记 WYHT://。请安装 xdg-utils 后重试。",
            "The files are written, but xdg-mime did not register WYHT://. Install xdg-utils and "
            "try again.",
            detail);
        return 1;
    }
    say(false, "已安装。本用户的 WYHT:// 链接和命令行登录现在可用。",
        "Installed. WYHT:// links and logins by command line work for this user.", detail);
    return 0;
}

/* The line of xdg-mime stays: it has no way to take it back, and leads nowhere. */
static int uninstall(void)
{
    path program, desktop;
    if (!own_paths(program, desktop))
        return 1;
    const char *both[] = {desktop, program};
    for (size_t at = 0; at < 2; at++)
        if (unlink(both[at]) != 0 && errno != ENOENT)
            return fail("无法删除。", "This cannot be removed.", both[at]);
    say(false, "已卸载。", "Uninstalled.", program);
    return 0;
}

int main(int count, char **arguments)
{
    /* Only at the end, so that a login is never taken for anything else. */
    if (count > 1 && strcmp(arguments[count - 1], "--quiet") == 0) {
        quiet = true;
        count--;
    }
    if (count == 1)
        return install();
    if (count == 2 && strcmp(arguments[1], "--uninstall") == 0)
        return uninstall();
    if (count == 2)
        return log_in_or_out(arguments[1]);
    say(true,
        "用法：forepost-launcher [--uninstall] [--quiet]，或 forepost-launcher "
        "\"hisUserId=…&type=1…\"",
        "Usage: forepost-launcher [--uninstall] [--quiet], or forepost-launcher "
        "\"hisUserId=…&type=1…\"",
        "");
    return 1;
}
