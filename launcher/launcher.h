/*
 * What the launcher's files share. Start reading at launcher.c.
 */
#ifndef FOREPOST_LAUNCHER_H
#define FOREPOST_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the block that the server fills: its mark, its address, at least one zero. A test of
 * src/workstation/launcher.rs holds this number and the next against the server's. */
#define ADDRESS_BLOCK_BYTES 256

/* Bytes of a login as the server counts them: the query of its address. */
#define LOGIN_BYTES_MAX 4096

/* What stands between the server's address and the login. */
#define LOGIN_PATH "/hrball/?"

/* The whole address that the browser is given, with its zero. */
#define URL_BYTES_MAX (ADDRESS_BLOCK_BYTES + sizeof LOGIN_PATH + LOGIN_BYTES_MAX)

/* `02-00-5E-00-53-01` with its zero. */
#define MAC_BYTES 18

/* How long a logout may wait for its answer. */
#define ANSWER_WAIT_SECONDS 10

/* What is read of an answer; the server's is below a hundred bytes. */
#define ANSWER_BYTES_MAX 4096

/* A message with its paths, in two languages. */
#define MESSAGE_BYTES_MAX 8192

/* Where the server is, from the block. */
struct server {
    const char *address; /* `http://host:port`, nothing behind it */
    bool tls;
    char host[ADDRESS_BLOCK_BYTES]; /* without the brackets of IPv6 */
    char port[6];
};

/* What a call by ourselves came to. */
enum called {
    CALLED,     /* there is an answer */
    NOT_CALLED, /* there is none */
    BROWSER     /* only a browser can make this call */
};

/* launcher.c: what both systems do alike. */

/* Reads the block; false and a message when no server has filled it. */
bool find_server(struct server *server);

/* The login or logout of a text; the exit code. */
int log_in_or_out(const char *text);

/* Says that a login is longer than LOGIN_BYTES_MAX; the exit code. */
int too_long(void);

/* Says in both languages how something ended; `detail` may be empty. */
void say(bool failed, const char *chinese, const char *english, const char *detail);

/* linux.c and windows.c: what each does in its own way. */

/* Shows a message. */
void show(bool failed, const char *message);

/* Opens the default browser; the address is the server's own. */
bool open_browser(const char *url);

/* The hardware address of the adapter that reaches the server; empty when there is none. */
void hardware_address(const struct server *server, char mac[MAC_BYTES]);

/* GET without a browser; the answer's body, ended by a zero. */
enum called call(const struct server *server, const char *url, char answer[ANSWER_BYTES_MAX]);

#endif
