#!/bin/sh
# Installs Forepost on a Linux whose packages are neither .deb nor .rpm: ./install.sh, as root.
# The same again upgrades. ./install.sh --remove takes the program away and leaves the data.
# 在不使用 .deb 或 .rpm 的 Linux 上安装前置机:以 root 执行 ./install.sh;再次执行即升级;
# ./install.sh --remove 卸载程序,保留数据。
set -e
#STEPS#

cd "$(dirname "$0")"

refuse() {
    say "前置机:$1" "Forepost: $2"
    exit 1
}

check_machine() {
    [ "$(id -u)" = 0 ] || refuse "请以 root 执行" "run this as root"
    [ "$(uname -m)" = x86_64 ] ||
        refuse "此程序用于 x86_64,本机为 $(uname -m)" "this is for x86_64, here is $(uname -m)"
    # Two that believe to own the same files end in neither knowing what is installed.
    if command -v dpkg-query >/dev/null 2>&1 &&
        [ "$(dpkg-query -W -f='${db:Status-Status}' forepost 2>/dev/null)" = installed ]; then
        refuse "已由 dpkg 安装,请用 .deb 升级" "dpkg has installed it here: upgrade by the .deb"
    fi
    if command -v rpm >/dev/null 2>&1 && rpm -q forepost >/dev/null 2>&1; then
        refuse "已由 rpm 安装,请用 .rpm 升级" "rpm has installed it here: upgrade by the .rpm"
    fi
}

# Before anything is written: on an older glibc the program does not start.
check_program() {
    if ! words=$(tree/usr/bin/forepost --version 2>&1); then
        say "$words"
        refuse "程序在本机无法启动,需要 glibc 2.28 或更新版本" \
            "the program does not start here; it needs glibc 2.28 or newer"
    fi
}

# Each file beside its place and then in it, so that a running program keeps its own.
copy_files() {
    (cd tree && find . -type d) | while read -r folder; do
        [ -d "/$folder" ] || install -d -m 755 "/$folder"
    done
    (cd tree && find . -type f) | while read -r file; do
        cp -p "tree/$file" "/$file.forepost-new"
        chown root:root "/$file.forepost-new"
        mv -f "/$file.forepost-new" "/$file"
    done
}

remove_files() {
    (cd tree && find . -type f) | while read -r file; do rm -f "/$file"; done
    for folder in /usr/share/doc/forepost/UPGRADING /usr/share/doc/forepost/monitoring \
        /usr/share/doc/forepost; do
        rmdir "$folder" 2>/dev/null || true
    done
}

case "${1:-}" in
'')
    check_machine
    check_program
    keep_previous
    copy_files
    make_account
    make_folders
    take_up
    say_next
    ;;
--remove)
    check_machine
    stop_and_count
    switch_off
    remove_files
    forget_previous
    if systemd_runs; then systemctl daemon-reload || true; fi
    say_what_stays
    ;;
*)
    say "./install.sh, or ./install.sh --remove"
    exit 64
    ;;
esac
