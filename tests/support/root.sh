#!/bin/bash
# Makes a Debian 12 system in target/roots/, once, and says where it is:
#
#   tests/support/root.sh debian12         boots: target/roots/debian12/{disk,kernel,initrd}
#   tests/support/root.sh debian12-small   for chroot: the folder target/roots/debian12-small/root
#
# The packages come from the sources of Debian that this machine's own apt has. A stamp beside the
# system holds the hash of this file and of the name; while it fits, the system is reused. The
# stamp is written last, so one that broke off half-way is made again. Two that ask at a time wait
# for each other. Who uses a system takes a copy and leaves it as it is.
#
# It works as root, because the files of a system belong to root; a container needs no more than
# chroot. Nothing is mounted on this machine for long, and the disk is made without a mount.
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."

name=${1:-debian12}
release=bookworm

# In all of them: what a hospital's server has at least, and what the tests call in it.
packages=(systemd-sysv dbus udev ca-certificates curl iproute2 procps)
# To boot: logind needs dbus and PAM's part of it, or it restarts in vain. BusyBox is the initrd.
booting=(libpam-systemd login kmod linux-image-cloud-amd64 busybox-static)
# The disk's size; what is not written takes no room here.
disk_megabytes=2048
# By hand, for want of a tool to make an initrd: what stands between the kernel and its disk.
modules=(virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk)
# What a server does by the clock or for its people and a test's guest need not: each costs the
# emulated processor some time at every boot.
masked=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    e2scrub_reap.service systemd-pstore.service systemd-update-utmp.service getty@tty1.service
    serial-getty@ttyS0.service console-getty.service modprobe@drm.service modprobe@fuse.service
    systemd-networkd-persistent-storage.service systemd-timesyncd.service
)

say() { printf 'root.sh: %s\n' "$*" >&2; }

case "$name" in
debian12) packages+=("${booting[@]}") ;;
debian12-small) ;;
*)
    say "$name is unknown; there are debian12 and debian12-small"
    exit 64
    ;;
esac

place=$PWD/target/roots/$name
mkdir -p target/roots
exec 9>"target/roots/$name.lock"
flock 9
wanted=$(printf '%s\n' "$name" | cat - "$0" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$place/stamp" 2>/dev/null)" = "$wanted" ]; then
    echo "$place"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    say 'the files of a system belong to root: run the tests as root'
    exit 1
fi
for program in mmdebstrap mkfs.ext4; do
    if ! command -v "$program" >/dev/null; then
        say "missing: $program; .ci/setup installs it"
        exit 1
    fi
done
say "making $place; this takes a minute, once"
rm -rf "$place"
mkdir -p "$place"

# Debian's own archives, and of those the one release.
apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)|$(ORIGIN)|$(CODENAME)' \
    'Created-By: Packages' |
    awk -F'|' -v release="$release" '$2 == "Debian" && index($3, release) == 1 { print $1 }' |
    grep -v backports | sort -u >"$place/sources.list"
if ! [ -s "$place/sources.list" ]; then
    say "this machine's apt has no sources of Debian $release, or apt-get update was never run"
    exit 1
fi

exclude() { printf -- '--dpkgopt=path-exclude=%s ' "$@"; }
# No initrd is made from inside: its tool would take longer than all the rest.
export INITRD=No
# shellcheck disable=SC2046
mmdebstrap --quiet --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
    $(exclude '/usr/share/man/*' '/usr/share/doc/*' '/usr/share/locale/*' '/usr/share/info/*') \
    "$release" "$place/root" "$place/sources.list" >&2
rm -f "$place/root/etc/apt/sources.list" "$place"/root/etc/apt/sources.list.d/*

# What the tests speak with: a root shell behind a port that is no terminal. A command is a line
# `NUMBER SECONDS COMMAND`, its end a line `NUMBER CODE OUTPUT`, the texts in Base64.
install_control() {
    local root=$1
    cat >"$root/usr/local/sbin/control" <<-'CONTROL'
	#!/bin/bash
	cd /root
	export HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
	exec 3<>/dev/virtio-ports/control
	echo "up $(</proc/sys/kernel/random/boot_id)" >&3
	while read -r number seconds command <&3; do
	    output=$(timeout --kill-after=2 "$seconds" bash -c "$(base64 -d <<<"$command")" \
	        2>&1 </dev/null 3>&- | base64 --wrap=0; exit "${PIPESTATUS[0]}")
	    echo "$number $? $output" >&3
	done
	CONTROL
    chmod 755 "$root/usr/local/sbin/control"
    cat >"$root/etc/systemd/system/control.service" <<-'UNIT'
	[Unit]
	Description=The tests' root shell
	# Up as early as it can be and down with the machine, so that a boot that hangs can be asked.
	DefaultDependencies=no
	After=systemd-udevd.service dev-virtio\x2dports-control.device
	BindsTo=dev-virtio\x2dports-control.device
	[Service]
	ExecStart=/usr/local/sbin/control
	KillMode=process
	UNIT
    ln -s ../control.service "$root/etc/systemd/system/sysinit.target.wants/control.service"
    cat >"$root/etc/udev/rules.d/60-control.rules" <<-'RULE'
	SUBSYSTEM=="virtio-ports", ATTR{name}=="control", TAG+="systemd"
	RULE
}

# QEMU's own network: the guest is .15, the machine outside .2.
install_network() {
    cat >"$1/etc/systemd/network/eth0.network" <<-'NETWORK'
	[Match]
	Name=eth0
	[Network]
	Address=10.0.2.15/24
	Gateway=10.0.2.2
	LinkLocalAddressing=no
	NETWORK
    chroot "$1" systemctl --quiet enable systemd-networkd
}

# BusyBox, what the kernel lacks to see its disk, and the way to it.
make_initrd() {
    local root=$1 to=$2 version folder module
    version=$(ls "$root/lib/modules")
    folder=$(mktemp -d)
    mkdir "$folder"/{bin,dev,root}
    cp "$root/bin/busybox" "$folder/bin/"
    for module in "${modules[@]}"; do
        find "$root/lib/modules/$version" -name "$module.ko" -exec cp {} "$folder/" \;
    done
    {
        echo '#!/bin/busybox sh'
        echo '/bin/busybox mount -t devtmpfs dev /dev'
        for module in "${modules[@]}"; do echo "/bin/busybox insmod /$module.ko"; done
        echo 'while [ ! -b /dev/vda ]; do /bin/busybox sleep 0.05; done'
        echo '/bin/busybox mount -t ext4 /dev/vda /root'
        echo 'exec /bin/busybox switch_root /root /sbin/init'
    } >"$folder/init"
    chmod 755 "$folder/init"
    (cd "$folder" && find . | bin/busybox cpio -o -H newc 2>/dev/null) >"$to"
    rm -rf "$folder"
}

if [ "$name" = debian12 ]; then
    root=$place/root
    install_control "$root"
    install_network "$root"
    echo guest >"$root/etc/hostname"
    echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
    : >"$root/etc/machine-id"
    chroot "$root" systemctl --quiet mask "${masked[@]}" 2>/dev/null
    make_initrd "$root" "$place/initrd"
    mv "$root"/boot/vmlinuz-* "$place/kernel"
    rm -rf "$root"/boot/* "$root"/vmlinuz* "$root"/initrd*
    mkfs.ext4 -q -d "$root" -m 0 -E lazy_itable_init=1 "$place/disk" "${disk_megabytes}M" >&2
    # The disk is what is used.
    rm -rf "$root"
fi
echo "$wanted" >"$place/stamp"
echo "$place"
