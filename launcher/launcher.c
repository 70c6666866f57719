/*
 * The launcher of a doctor's workstation: turns the HIS's command line, or what stands behind
 * `WYHT://`, into the login call (imaging cloud's document, 3.1), with this machine's MAC.
 *
 * For: workstations from Windows 7 and Linux desktops on, without administrator rights. It is C
 * because the standard library of Rust no longer runs on Windows 7; it links nothing but what the
 * system brings. Always holds: what a web page or a HIS hands over goes into one place only, the
 * query of the server's own address, and there every byte that is not plain is percent-encoded; we
 * start no shell. What opens the browser gets that address as one argument: on Windows the system's
 * own call, on Linux `xdg-open`, which is a shell script itself and may hand it on. On disk: one
 * file and one registration, both the user's own. Refused: TLS of our own, a resident process, an
 * update by itself: the file is downloaded again. A login is left to the browser, whose own
 * connection tells the server the address of the workstation and gets the window; a logout needs no
 * window and is called from here.
 *
 * Start at log_in_or_out(); windows.c and linux.c hold what each system does in its own way.
 */
#include "launcher.h"

#include <stdio.h>
#include <string.h>

/* The server writes its address behind the mark while the file is downloaded. Volatile, because the
 * compiler must not believe that it is empty. The mark stands nowhere else in the program. */
#define MARK "FOREPOST-ADDRESS:"
static const volatile char address_block[ADDRESS_BLOCK_BYTES] = MARK;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_letter(char c)
{
    return lower(c) >= 'a' && lower(c) <= 'z';
}

void say(bool failed, const char *chinese, const char *english, const char *detail)
{
    static char message[MESSAGE_BYTES_MAX];
    const char *between = *detail ? "\n\n" : "";
    snprintf(message, sizeof message, "%s\n%s%s%s\n", chinese, english, between, detail);
    show(failed, message);
}

/* Host and port of `host`, `host:port`, `[v6]`, `[v6]:port`. */
static bool split(struct server *server, const char *authority)
{
    size_t length = strcspn(authority, ":");
    const char *rest = authority + length;
    if (*authority == '[') {
        authority++;
        length = strcspn(authority, "]");
        if (authority[length] != ']')
            return false;
        rest = authority + length + 1;
    }
    if (length == 0 || (*rest != 0 && *rest != ':'))
        return false;
    memcpy(server->host, authority, length);
    server->host[length] = 0;
    const char *port = *rest ? rest + 1 : server->tls ? "443" : "80";
    size_t digits = strspn(port, "0123456789");
    if (digits == 0 || digits >= sizeof server->port || port[digits] != 0)
        return false;
    memcpy(server->port, port, digits + 1);
    return true;
}

bool find_server(struct server *server)
{
    static char address[ADDRESS_BLOCK_BYTES];
    size_t length = 0;
    for (size_t at = sizeof MARK - 1; at < sizeof address_block && address_block[at]; at++)
        address[length++] = address_block[at];
    address[length] = 0;
    server->address = address;
    server->tls = strncmp(address, "https://", 8) == 0;
    bool known = server->tls || strncmp(address, "http://", 7) == 0;
    const char *authority = address + (server->tls ? 8 : 7);
    if (known) {
        for (const char *at = authority; *at; at++)
            known = known && (is_letter(*at) || is_digit(*at) || strchr(".-:[]", *at));
    }
    if (known && split(server, authority))
        return true;
    say(true,
        "这个文件里没有前置机的地址。请在本工作站的浏览器中打开 http://前置机/workstation/setup "
        "重新下载。",
        "This file holds no address of a Forepost. Download it again, on this workstation, from "
        "http://FOREPOST/workstation/setup.",
        "");
    return false;
}

/* A part of a text. */
struct part {
    const char *from, *to;
};

/* The length of one blank, plain or percent-encoded, at `at`; 0 where there is none. `$` stands for
 * `%` by the document's rule. */
static size_t blank_at(const char *at, const char *to)
{
    if (at < to && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        return 1;
    bool encoded = to - at >= 3 && (*at == '%' || *at == '$') && at[1] == '2' && at[2] == '0';
    return encoded ? 3 : 0;
}

static size_t quote_at(const char *at, const char *to)
{
    if (at < to && *at == '"')
        return 1;
    bool encoded = to - at >= 3 && (*at == '%' || *at == '$') && at[1] == '2' && at[2] == '2';
    return encoded ? 3 : 0;
}

/* Without the blanks and quotes at either end, which templates and command lines leave there. */
static struct part bare(struct part text)
{
    size_t length;
    while ((length = blank_at(text.from, text.to) + quote_at(text.from, text.to)) > 0)
        text.from += length;
    for (;;) {
        size_t room = (size_t)(text.to - text.from);
        const char *one = room >= 1 ? text.to - 1 : text.to;
        const char *three = room >= 3 ? text.to - 3 : text.to;
        if (blank_at(one, text.to) + quote_at(one, text.to) == 1)
            text.to = one;
        else if (blank_at(three, text.to) + quote_at(three, text.to) == 3)
            text.to = three;
        else
            return text;
    }
}

/* Whether the part begins with these lower-case letters, however it is written itself. */
static bool begins(struct part text, const char *with)
{
    for (; *with; with++, text.from++)
        if (text.from >= text.to || lower(*text.from) != *with)
            return false;
    return true;
}

/* The fields alone: what is added behind them must not end up behind a quote. */
static struct part fields_of(const char *text)
{
    struct part fields = bare((struct part){text, text + strlen(text)});
    if (!begins(fields, "wyht://"))
        return fields;
    fields.from += sizeof "wyht://" - 1;
    /* Some browsers end an address that has no path with a slash. */
    if (fields.to > fields.from && fields.to[-1] == '/')
        fields.to--;
    return bare(fields);
}

/* Whether a field is `type=2`. */
static bool logs_out(struct part fields)
{
    while (fields.from < fields.to) {
        const char *end = memchr(fields.from, '&', (size_t)(fields.to - fields.from));
        struct part field = bare((struct part){fields.from, end ? end : fields.to});
        if (begins(field, "type")) {
            field.from += sizeof "type" - 1;
            field = bare(field);
            if (field.from < field.to && *field.from == '=') {
                field.from++;
                field = bare(field);
                return field.to - field.from == 1 && *field.from == '2';
            }
        }
        fields.from = end ? end + 1 : fields.to;
    }
    return false;
}

/* The query: what a URL may hold as it is stays, `$HH`, `%HH` and `+` included; of the rest every
 * byte becomes `%HH`. So no quote, blank, `#`, backslash or bracket reaches a browser's command
 * line, and a `$` or `%` only before two hexadecimal digits. False when it is too long. */
static bool encode(struct part text, char query[LOGIN_BYTES_MAX + 1])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t length = 0;
    for (const char *at = text.from; at < text.to; at++) {
        bool escape =
            (*at == '%' || *at == '$') && text.to - at >= 3 && is_hex(at[1]) && is_hex(at[2]);
        bool plain = is_letter(*at) || is_digit(*at) || (*at && strchr("-._~=&+/:@,", *at));
        size_t more = escape || plain ? 1 : 3;
        if (length + more > LOGIN_BYTES_MAX)
            return false;
        if (more == 1) {
            query[length++] = *at;
        } else {
            unsigned char byte = (unsigned char)*at;
            query[length++] = '%';
            query[length++] = digits[byte >> 4];
            query[length++] = digits[byte & 15];
        }
    }
    query[length] = 0;
    return true;
}

/* Leaves an address to the browser; the exit code. */
static int browse(const struct server *server, const char *url)
{
    if (open_browser(url))
        return 0;
    say(true, "打不开默认浏览器。", "The default browser cannot be opened.", server->address);
    return 1;
}

/* A logout shows nothing when it worked, and what the server said when it did not. */
static int log_out(const struct server *server, const char *url)
{
    static char answer[ANSWER_BYTES_MAX];
    answer[0] = 0;
    switch (call(server, url, answer)) {
    case BROWSER:
        return browse(server, url);
    case CALLED:
        if (strstr(answer, "\"code\":200"))
            return 0;
        say(true, "前置机未接受退出请求。", "Forepost did not accept the logout.", answer);
        return 1;
    case NOT_CALLED:
        break;
    }
    say(true, "连接不到前置机，未能退出。",
        "Forepost cannot be reached; the doctor is not logged out.", server->address);
    return 1;
}

int too_long(void)
{
#define TEXT(number) #number
#define TEXT_OF(number) TEXT(number)
    say(true, "登录参数过长，最多 " TEXT_OF(LOGIN_BYTES_MAX) " 字节。",
        "The login is longer than " TEXT_OF(LOGIN_BYTES_MAX) " bytes.", "");
    return 1;
}

int log_in_or_out(const char *text)
{
    struct server server;
    if (!find_server(&server))
        return 1;
    static char query[LOGIN_BYTES_MAX + 1];
    static char url[URL_BYTES_MAX];
    char mac[MAC_BYTES] = "";
    hardware_address(&server, mac);
    struct part fields = fields_of(text);
    bool fits = encode(fields, query);
    /* Behind the fields: a MAC that the HIS gives itself comes first and holds. */
    size_t more = *mac ? sizeof "&mac=" - 1 + strlen(mac) : 0;
    if (!fits || strlen(query) + more > LOGIN_BYTES_MAX)
        return too_long();
    snprintf(url, sizeof url, "%s" LOGIN_PATH "%s%s%s", server.address, query, *mac ? "&mac=" : "",
             mac);
    return logs_out(fields) ? log_out(&server, url) : browse(&server, url);
}
