/*
 * The launcher on Windows 7 and newer, as a 32-bit program that runs on all of them.
 *
 * On disk: `%LOCALAPPDATA%\Forepost\forepost.exe`. In the registry: `WYHT` below the user's
 * classes. The browser is opened by the shell's own call with one address; no command line is put
 * together but the one that the registry keeps, and that one holds no text of others.
 */
#include "launcher.h"

#include <winsock2.h>
#include <ws2tcpip.h>

#include <windows.h>

#include <iphlpapi.h>
#include <objbase.h>
#include <shellapi.h>
#include <shlobj.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <winhttp.h>

#define KEY L"Software\\Classes\\WYHT"
#define COMMAND KEY L"\\shell\\open\\command"

/* Characters of a path. Longer ones, which need another notation, are refused. */
#define PATH_CHARS_MAX 1024

/* Characters of the registered command: a path, two pairs of quotes, the text's place. */
#define COMMAND_CHARS_MAX (PATH_CHARS_MAX + 16)

/* Bytes that are copied at a time. */
#define COPY_BYTES 65536

/* What the adapters' list may need; a workstation's has some kilobytes. */
#define ADAPTERS_BYTES_MAX (256 * 1024)

typedef wchar_t path[PATH_CHARS_MAX];

static bool quiet;

/* Sets `pointer`, which has the function's own type, and is NULL where the library lacks it. */
#define FIND(pointer, library, function)                                                           \
    ((pointer) = (__typeof__(pointer))(void *)GetProcAddress(library, #function))

/* A library of the system that is not among its KnownDLLs. Were it imported, a file of its name
 * beside the program would be loaded instead, and beside a download lies what any page put there.
 * The altered search has the library's own needs looked for beside it, too. */
static HMODULE system_library(const wchar_t *name)
{
    path whole;
    UINT length = GetSystemDirectoryW(whole, PATH_CHARS_MAX);
    if (length == 0 || length + 1 + wcslen(name) >= PATH_CHARS_MAX)
        return NULL;
    swprintf(whole + length, PATH_CHARS_MAX - length, L"\\%ls", name);
    return LoadLibraryExW(whole, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
}

/* The libraries that the system's own ask for by name come from the system's folder alone. A
 * Windows 7 without its updates cannot be told so, and only leaves out the current folder. */
static void search_system_only(void)
{
    BOOL(WINAPI * set_directories)(DWORD);
    HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
    SetDllDirectoryW(L"");
    if (kernel && FIND(set_directories, kernel, SetDefaultDllDirectories))
        set_directories(LOAD_LIBRARY_SEARCH_SYSTEM32);
}

void show(bool failed, const char *message)
{
    static wchar_t text[MESSAGE_BYTES_MAX];
    if (quiet && !failed)
        return;
    if (MultiByteToWideChar(CP_UTF8, 0, message, -1, text, MESSAGE_BYTES_MAX) == 0)
        return;
    MessageBoxW(NULL, text, L"Forepost",
                MB_SETFOREGROUND | (failed ? MB_ICONERROR : MB_ICONINFORMATION));
}

bool open_browser(const char *url)
{
    static wchar_t address[URL_BYTES_MAX];
    if (MultiByteToWideChar(CP_UTF8, 0, url, -1, address, URL_BYTES_MAX) == 0)
        return false;
    /* Some browsers are registered by COM objects. */
    HRESULT begun = CoInitializeEx(NULL, COINIT_APARTMENTTHREADED | COINIT_DISABLE_OLE1DDE);
    INT_PTR opened = (INT_PTR)ShellExecuteW(NULL, L"open", address, NULL, NULL, SW_SHOWNORMAL);
    if (SUCCEEDED(begun))
        CoUninitialize();
    /* Documented: up to 32 is an error. */
    return opened > 32;
}

/* Six bytes of the adapter that reaches an address, unless they are zeros. */
static void read_mac(struct sockaddr *address, char mac[MAC_BYTES])
{
    static unsigned char room[ADAPTERS_BYTES_MAX] __attribute__((aligned(16)));
    ULONG bytes = sizeof room;
    ULONG flags = GAA_FLAG_SKIP_UNICAST | GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST |
                  GAA_FLAG_SKIP_DNS_SERVER;
    IP_ADAPTER_ADDRESSES *all = (IP_ADAPTER_ADDRESSES *)room;
    DWORD adapter = 0;
    __typeof__(&GetBestInterfaceEx) best_interface;
    __typeof__(&GetAdaptersAddresses) adapters;
    HMODULE library = system_library(L"iphlpapi.dll");
    if (!library || !FIND(best_interface, library, GetBestInterfaceEx) ||
        !FIND(adapters, library, GetAdaptersAddresses) ||
        best_interface(address, &adapter) != NO_ERROR ||
        adapters(AF_UNSPEC, flags, NULL, all, &bytes) != NO_ERROR)
        return;
    for (IP_ADAPTER_ADDRESSES *one = all; one; one = one->Next) {
        static const BYTE none[6];
        const BYTE *at = one->PhysicalAddress;
        if ((one->IfIndex != adapter && one->Ipv6IfIndex != adapter) ||
            one->PhysicalAddressLength != sizeof none || memcmp(at, none, sizeof none) == 0)
            continue;
        snprintf(mac, MAC_BYTES, "%02X-%02X-%02X-%02X-%02X-%02X", at[0], at[1], at[2], at[3], at[4],
                 at[5]);
        return;
    }
}

void hardware_address(const struct server *server, char mac[MAC_BYTES])
{
    WSADATA data;
    if (WSAStartup(MAKEWORD(2, 2), &data) != 0)
        return;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(server->host, server->port, &hints, &found) == 0) {
        read_mac(found->ai_addr, mac);
        freeaddrinfo(found);
    }
    WSACleanup();
}

/* What is called of WinHTTP. */
struct http {
    __typeof__(&WinHttpOpen) open;
    __typeof__(&WinHttpSetOption) set_option;
    __typeof__(&WinHttpSetTimeouts) set_timeouts;
    __typeof__(&WinHttpConnect) connect;
    __typeof__(&WinHttpOpenRequest) open_request;
    __typeof__(&WinHttpSendRequest) send_request;
    __typeof__(&WinHttpReceiveResponse) receive_response;
    __typeof__(&WinHttpReadData) read_data;
    __typeof__(&WinHttpCloseHandle) close;
};

static bool find_http(struct http *http)
{
    HMODULE library = system_library(L"winhttp.dll");
    return library && FIND(http->open, library, WinHttpOpen) &&
           FIND(http->set_option, library, WinHttpSetOption) &&
           FIND(http->set_timeouts, library, WinHttpSetTimeouts) &&
           FIND(http->connect, library, WinHttpConnect) &&
           FIND(http->open_request, library, WinHttpOpenRequest) &&
           FIND(http->send_request, library, WinHttpSendRequest) &&
           FIND(http->receive_response, library, WinHttpReceiveResponse) &&
           FIND(http->read_data, library, WinHttpReadData) &&
           FIND(http->close, library, WinHttpCloseHandle);
}

/* Reads an answer as far as there is room. */
static enum called read_answer(const struct http *http, HINTERNET request,
                               char answer[ANSWER_BYTES_MAX])
{
    DWORD got = 0, more = 0;
    if (!http->receive_response(request, NULL))
        return NOT_CALLED;
    while (got < ANSWER_BYTES_MAX - 1 &&
           http->read_data(request, answer + got, ANSWER_BYTES_MAX - 1 - got, &more) && more > 0)
        got += more;
    answer[got] = 0;
    return CALLED;
}

enum called call(const struct server *server, const char *url, char answer[ANSWER_BYTES_MAX])
{
    static wchar_t host[ADDRESS_BLOCK_BYTES], target[URL_BYTES_MAX];
    const int wait = ANSWER_WAIT_SECONDS * 1000;
    enum called called = NOT_CALLED;
    struct http http;
    if (!find_http(&http))
        return BROWSER;
    /* No proxy: through one the logout would come from another address than the login. */
    HINTERNET session = http.open(L"Forepost", WINHTTP_ACCESS_TYPE_NO_PROXY, NULL, NULL, 0);
    HINTERNET connection = NULL, request = NULL;
    if (session && MultiByteToWideChar(CP_UTF8, 0, server->host, -1, host, ADDRESS_BLOCK_BYTES) &&
        MultiByteToWideChar(CP_UTF8, 0, url + strlen(server->address), -1, target, URL_BYTES_MAX)) {
        /* Windows 7 offers nothing newer than TLS 1.0 unless it is told to. */
        DWORD protocols = WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2;
        http.set_option(session, WINHTTP_OPTION_SECURE_PROTOCOLS, &protocols, sizeof protocols);
        http.set_timeouts(session, wait, wait, wait, wait);
        unsigned port = 0;
        sscanf(server->port, "%5u", &port);
        connection = http.connect(session, host, (INTERNET_PORT)port, 0);
    }
    if (connection)
        request = http.open_request(
            connection, L"GET", target, NULL, WINHTTP_NO_REFERER, WINHTTP_DEFAULT_ACCEPT_TYPES,
            WINHTTP_FLAG_ESCAPE_DISABLE | WINHTTP_FLAG_ESCAPE_DISABLE_QUERY |
                (server->tls ? WINHTTP_FLAG_SECURE : 0));
    if (request && http.send_request(request, WINHTTP_NO_ADDITIONAL_HEADERS, 0,
                                     WINHTTP_NO_REQUEST_DATA, 0, 0, 0))
        called = read_answer(&http, request, answer);
    /* A browser may have the certificates and ciphers that an old Windows has not. */
    if (called == NOT_CALLED && server->tls)
        called = BROWSER;
    HINTERNET all[] = {request, connection, session};
    for (size_t at = 0; at < sizeof all / sizeof *all; at++)
        if (all[at])
            http.close(all[at]);
    return called;
}

static int fail(const char *chinese, const char *english, const wchar_t *name, DWORD error)
{
    static char detail[4 * PATH_CHARS_MAX], text[3 * PATH_CHARS_MAX];
    WideCharToMultiByte(CP_UTF8, 0, name, -1, text, sizeof text, NULL, NULL);
    snprintf(detail, sizeof detail, "%s\nWindows: %lu", text, error);
    say(true, chinese, english, detail);
    return 1;
}

/* Where the program stands: a folder of the user's own that is not carried to other machines. */
static bool own_paths(path folder, path program)
{
    wchar_t local[MAX_PATH];
    HRESULT found = SHGetFolderPathW(NULL, CSIDL_LOCAL_APPDATA | CSIDL_FLAG_CREATE, NULL,
                                     SHGFP_TYPE_CURRENT, local);
    if (FAILED(found)) {
        fail("找不到本用户的应用数据文件夹。", "The user has no folder for the data of programs.",
             L"LOCALAPPDATA", (DWORD)found);
        return false;
    }
    swprintf(folder, PATH_CHARS_MAX, L"%ls\\Forepost", local);
    swprintf(program, PATH_CHARS_MAX, L"%ls\\forepost.exe", folder);
    return true;
}

/* Byte by byte, so that the mark of a download stays behind and no warning comes at each login;
 * beside the old one first, so that half a launcher is never found. */
static DWORD copy_self(const wchar_t *folder, const wchar_t *program)
{
    static char bytes[COPY_BYTES];
    path own, beside;
    DWORD length = GetModuleFileNameW(NULL, own, PATH_CHARS_MAX);
    if (length == 0 || length >= PATH_CHARS_MAX)
        return ERROR_FILENAME_EXCED_RANGE;
    if (lstrcmpiW(own, program) == 0)
        return NO_ERROR;
    if (!CreateDirectoryW(folder, NULL) && GetLastError() != ERROR_ALREADY_EXISTS)
        return GetLastError();
    swprintf(beside, PATH_CHARS_MAX, L"%ls.new", program);
    HANDLE from = CreateFileW(own, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (from == INVALID_HANDLE_VALUE)
        return GetLastError();
    HANDLE to =
        CreateFileW(beside, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    DWORD error = to == INVALID_HANDLE_VALUE ? GetLastError() : NO_ERROR;
    length = 1;
    while (error == NO_ERROR && length > 0) {
        DWORD written = 0;
        if (!ReadFile(from, bytes, sizeof bytes, &length, NULL) ||
            (length > 0 && !WriteFile(to, bytes, length, &written, NULL)))
            error = GetLastError();
    }
    CloseHandle(from);
    if (to != INVALID_HANDLE_VALUE) {
        if (error == NO_ERROR && !FlushFileBuffers(to))
            error = GetLastError();
        CloseHandle(to);
    }
    if (error == NO_ERROR && !MoveFileExW(beside, program, MOVEFILE_REPLACE_EXISTING))
        error = GetLastError();
    return error;
}

static LSTATUS set_value(const wchar_t *key, const wchar_t *name, const wchar_t *text)
{
    HKEY handle;
    LSTATUS status =
        RegCreateKeyExW(HKEY_CURRENT_USER, key, 0, NULL, 0, KEY_SET_VALUE, NULL, &handle, NULL);
    if (status != ERROR_SUCCESS)
        return status;
    DWORD bytes = (DWORD)((wcslen(text) + 1) * sizeof *text);
    status = RegSetValueExW(handle, name, 0, REG_SZ, (const BYTE *)text, bytes);
    RegCloseKey(handle);
    return status;
}

static void command_of(const wchar_t *program, wchar_t command[COMMAND_CHARS_MAX])
{
    swprintf(command, COMMAND_CHARS_MAX, L"\"%ls\" \"%%1\"", program);
}

static int install(void)
{
    path folder, program;
    wchar_t command[COMMAND_CHARS_MAX];
    struct server server;
    if (!find_server(&server) || !own_paths(folder, program))
        return 1;
    DWORD error = copy_self(folder, program);
    if (error != NO_ERROR)
        return fail("无法写入程序。", "The program cannot be written.", program, error);
    command_of(program, command);
    LSTATUS status = set_value(KEY, NULL, L"URL:WYHT");
    if (status == ERROR_SUCCESS)
        status = set_value(KEY, L"URL Protocol", L"");
    if (status == ERROR_SUCCESS)
        status = set_value(COMMAND, NULL, command);
    if (status != ERROR_SUCCESS)
        return fail("无法写入注册表。", "The registry cannot be written.", COMMAND, (DWORD)status);
    static char detail[4 * PATH_CHARS_MAX], text[3 * PATH_CHARS_MAX];
    WideCharToMultiByte(CP_UTF8, 0, program, -1, text, sizeof text, NULL, NULL);
    snprintf(detail, sizeof detail, "%s\nHKEY_CURRENT_USER\\%ls\nWYHT:// → %s", text, KEY,
             server.address);
    say(false, "已安装。本用户的 WYHT:// 链接和命令行登录现在可用。",
        "Installed. WYHT:// links and logins by command line work for this user.", detail);
    return 0;
}

/* Whether the scheme is registered for this program: it may be another vendor's by now. */
static bool is_registered(const wchar_t *program)
{
    wchar_t command[COMMAND_CHARS_MAX], found[COMMAND_CHARS_MAX];
    command_of(program, command);
    HKEY handle;
    if (RegOpenKeyExW(HKEY_CURRENT_USER, COMMAND, 0, KEY_QUERY_VALUE, &handle) != ERROR_SUCCESS)
        return false;
    DWORD kind = 0, bytes = sizeof found - sizeof *found;
    LSTATUS status = RegQueryValueExW(handle, NULL, NULL, &kind, (BYTE *)found, &bytes);
    RegCloseKey(handle);
    if (status != ERROR_SUCCESS || kind != REG_SZ)
        return false;
    found[bytes / sizeof *found] = 0;
    return lstrcmpiW(found, command) == 0;
}

/* A program that runs can be moved within its volume and not deleted, and this may be the installed
 * one. The folder for temporary files may be on another volume; the one above ours hardly is. */
static bool move_away(const wchar_t *folder, const wchar_t *program)
{
    path temporary, above;
    DWORD length = GetTempPathW(PATH_CHARS_MAX, temporary);
    swprintf(above, PATH_CHARS_MAX, L"%ls\\..", folder);
    const wchar_t *all[] = {length > 0 && length < PATH_CHARS_MAX ? temporary : above, above};
    for (size_t at = 0; at < sizeof all / sizeof *all; at++) {
        wchar_t removed[MAX_PATH];
        /* A name of its own: what was removed before may still run. */
        if (GetTempFileNameW(all[at], L"fp", 0, removed) == 0)
            continue;
        if (MoveFileExW(program, removed, MOVEFILE_REPLACE_EXISTING))
            return true;
        DWORD error = GetLastError();
        DeleteFileW(removed);
        SetLastError(error);
    }
    return false;
}

static DWORD remove_program(const wchar_t *folder, const wchar_t *program)
{
    if (!DeleteFileW(program)) {
        DWORD error = GetLastError();
        if (error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND)
            return NO_ERROR;
        if (!move_away(folder, program))
            return GetLastError();
    }
    RemoveDirectoryW(folder);
    return NO_ERROR;
}

static int uninstall(void)
{
    path folder, program;
    if (!own_paths(folder, program))
        return 1;
    /* First what may fail, so that a failure leaves everything as it was. */
    DWORD error = remove_program(folder, program);
    if (error != NO_ERROR)
        return fail("无法删除程序。", "The program cannot be removed.", program, error);
    if (is_registered(program)) {
        LSTATUS status = RegDeleteTreeW(HKEY_CURRENT_USER, KEY);
        if (status != ERROR_SUCCESS)
            return fail("无法删除注册表项。", "The registry key cannot be removed.", KEY,
                        (DWORD)status);
    }
    say(false, "已卸载。", "Uninstalled.", "");
    return 0;
}

/* What stands behind the program's own name on the command line. It is not taken apart: a vendor
 * may have forgotten the quotes, and a page may have put some in. */
static const wchar_t *argument(void)
{
    const wchar_t *at = GetCommandLineW();
    bool quoted = false;
    for (; *at && (quoted || (*at != L' ' && *at != L'\t')); at++)
        if (*at == L'"')
            quoted = !quoted;
    while (*at == L' ' || *at == L'\t')
        at++;
    return at;
}

int WINAPI WinMain(HINSTANCE self, HINSTANCE before, LPSTR line, int how)
{
    (void)self, (void)before, (void)line, (void)how;
    search_system_only();
    const wchar_t *given = argument();
    /* Only the whole of it, so that a login is never taken for anything else. */
    quiet = wcscmp(given, L"--quiet") == 0 || wcscmp(given, L"--uninstall --quiet") == 0;
    if (*given == 0 || wcscmp(given, L"--quiet") == 0)
        return install();
    if (wcsncmp(given, L"--uninstall", 11) == 0 && (given[11] == 0 || quiet))
        return uninstall();
    static char text[LOGIN_BYTES_MAX + 1];
    if (WideCharToMultiByte(CP_UTF8, 0, given, -1, text, sizeof text, NULL, NULL) == 0)
        return too_long();
    return log_in_or_out(text);
}
