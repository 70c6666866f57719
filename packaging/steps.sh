# What installing, upgrading and removing consist of, for every kind of package. packaging/build puts
# this text into each maintainer script in the place of its mark, and the version and the units into
# this one. POSIX sh, under `set -e`. Nothing here fails an installation: what cannot be done is said.

version='@VERSION@'
units='@UNITS@'
# Those of them that go on running, and are started anew when their program changed.
services='@SERVICES@'
state=/var/lib/forepost
configuration=/etc/forepost/forepost.toml
previous=/usr/lib/forepost/forepost.previous
# Made with the configuration, and by `forepost keys seal`.
credential=/etc/credstore.encrypted/forepost-ledger.keys
# How much was left undelivered, for who purges when the program is gone.
undelivered=$state/undelivered-at-removal

# To stderr: debconf reads the other as commands.
say() {
    printf '%s\n' "$@" >&2
}

# In a chroot, a container or an image that is being made no systemd runs, and nothing needs it.
systemd_runs() {
    [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1
}

make_account() {
    if command -v systemd-sysusers >/dev/null 2>&1; then
        systemd-sysusers forepost.conf >/dev/null 2>&1 || true
    fi
    if ! getent passwd forepost >/dev/null 2>&1; then
        useradd --system --user-group --home-dir "$state" --no-create-home \
            --shell /usr/sbin/nologin --comment Forepost forepost
    fi
}

# Where there is no systemd-tmpfiles to make them.
make_folders() {
    mkdir -p /etc/forepost
    [ -d "$state" ] || install -d -o forepost -g forepost -m 0700 "$state"
    rm -f "$undelivered"
    if command -v systemd-tmpfiles >/dev/null 2>&1 && [ -e /usr/lib/tmpfiles.d/forepost.conf ]; then
        systemd-tmpfiles --create forepost.conf >/dev/null 2>&1 || true
    fi
}

# Before the new files come: the program that is here stays, for a downgrade by hand. A link costs
# nothing, because the new file takes the name and not the place of the old one.
keep_previous() {
    [ -x /usr/bin/forepost ] || return 0
    [ "$(/usr/bin/forepost --version 2>/dev/null)" != "forepost $version" ] || return 0
    mkdir -p "${previous%/*}"
    ln -f /usr/bin/forepost "$previous" 2>/dev/null || cp -p /usr/bin/forepost "$previous" || true
}

forget_previous() {
    rm -f "$previous"
    rmdir "${previous%/*}" 2>/dev/null || true
}

# Whoever had stopped the service finds it stopped. A configuration that the new version refuses does
# not end the old process, which serves with the one that it has read.
take_up() {
    systemd_runs || return 0
    systemctl daemon-reload || true
    systemctl is-active --quiet forepost.service || return 0
    if ! words=$(/usr/bin/forepost check --config "$configuration" 2>&1); then
        say '' \
            "前置机:新版本不接受现有配置,旧进程继续运行。请修改配置后执行:" \
            "Forepost: the new version refuses the configuration; the old process goes on. Mend it, then:" \
            '' "    forepost check && systemctl restart forepost.service" '' "$words"
        return 0
    fi
    # shellcheck disable=SC2086
    if ! systemctl try-restart $services; then
        say '' "前置机:重新启动失败,原因见:" "Forepost: it did not start again; why says:" \
            '' "    journalctl -u forepost -e" \
            '' "退回上一版本: / Back to the version before:" \
            '' "    install -m 755 $previous /usr/bin/forepost && systemctl restart forepost.service"
    fi
}

# What set-up had switched on, as far as its files tell it, and a removal switched off.
set_up_units() {
    for unit in $units; do
        name=${unit#forepost-}
        if [ -e "/etc/systemd/system/$unit.d/address.conf" ] &&
            grep -q "\"systemd:${name%.socket}\"" "$configuration"; then
            printf '%s ' "$unit"
        fi
    done
    ! grep -q '^\[backup\]' "$configuration" || printf 'forepost-backup.timer '
    printf 'forepost.service'
}

say_next() {
    if ! [ -e "$configuration" ]; then
        say '' \
            "前置机已安装;尚无配置,所以没有启动任何服务。下一步:" \
            "Forepost is installed; there is no configuration yet, so nothing was started. Next:" \
            '' "    forepost setup" ''
    elif systemd_runs && ! systemctl is-active --quiet forepost.service; then
        say '' \
            "前置机已安装,配置仍在,服务没有运行。启动:" \
            "Forepost is installed, its configuration is here, the service does not run. Start it:" \
            '' "    forepost check && systemctl enable --now $(set_up_units)" ''
    fi
}

# Where no purge comes later that could take the links away. Instances are never switched on.
switch_off() {
    command -v systemctl >/dev/null 2>&1 || return 0
    for unit in $units; do
        case "$unit" in
        *@*) ;;
        *) systemctl --no-reload disable "$unit" >/dev/null 2>&1 || true ;;
        esac
    done
}

# Whether a person put anything there, or the service kept anything.
anything_kept() {
    [ -n "$(find "$state" /etc/forepost -mindepth 1 ! -path "$undelivered" 2>/dev/null | head -n 1)" ]
}

# When nothing runs any more, nothing comes: what is counted now is what is left.
stop_and_count() {
    if systemd_runs; then
        # shellcheck disable=SC2086
        systemctl stop $units >/dev/null 2>&1 || true
    fi
    [ -d "$state" ] || return 0
    rm -f "$undelivered"
    open=0
    if [ -e "$state/ledger/forepost.db" ]; then
        list=$(/usr/bin/forepost queue list --json --limit 1 --config "$configuration" 2>/dev/null) ||
            return 0
        for number in $(printf '%s' "$list" |
            grep -o '"\(waiting\|in flight\|parked\)":[0-9]*' | sed 's/.*://'); do
            open=$((open + number))
        done
    fi
    echo "$open" >"$undelivered" || true
    if [ "$open" -gt 0 ]; then
        say '' "前置机:还有 $open 条记录没有送达平台,保留在 $state。" \
            "Forepost: $open records have not reached their platform; they stay in $state." ''
    fi
}

# Empty where nobody could count.
count_left() {
    cat "$undelivered" 2>/dev/null || true
}

say_what_stays() {
    anything_kept || return 0
    left=$(count_left)
    say '' "前置机:数据和配置都保留着。彻底删除(无法恢复,未送达记录 ${left:-未知} 条):" \
        "Forepost: data and configuration stay. To delete them for good (undelivered records: ${left:-unknown}):" \
        '' "    rm -rf $state /etc/forepost $credential && userdel forepost" ''
}
