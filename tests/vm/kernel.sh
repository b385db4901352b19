#!/usr/bin/env bash
# kernel.sh DIR: puts Debian's kernel, its modules and the module v4l2loopback (built from Debian's source) below DIR/tree.
# Nothing is installed on this machine. Does nothing when DIR already holds the kernel that Debian has now, or when Debian
# cannot be asked but some kernel is there.
set -euo pipefail
dir=$1
mkdir -p "$dir"
cd "$dir"

main() {
  local kernel
  kernel=$(current_kernel)
  if [ -z "$kernel" ]; then
    [ -e version ] && return
    echo "cannot tell which kernel is current: run apt-get update (needs Debian's package lists)" >&2
    exit 69
  fi
  [ "$(cat version 2>/dev/null)" = "$kernel" ] && return
  rm -rf tree packages version
  fetch "$kernel"
  build_v4l2loopback "$kernel"
  depmod -b tree "$kernel"
  # Written last: half a tree is never taken for a whole one.
  echo "$kernel" >version
}

# The version of Debian's current kernel, such as 6.1.0-56-amd64; nothing when apt does not know.
current_kernel() {
  apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: linux-image-\([0-9].*\)/\1/p' | head -n 1
}

fetch() {
  local kernel=$1 common=${1%-amd64}-common kbuild series
  series=${kernel%%-*}
  kbuild=linux-kbuild-${series%.*}
  mkdir packages
  # As root, apt would drop its rights and then be unable to write here.
  (cd packages && apt-get -qq -o APT::Sandbox::User=root download \
    "linux-image-$kernel" "linux-headers-$kernel" "linux-headers-$common" "$kbuild" v4l2loopback-dkms)
  local package
  for package in packages/*.deb; do dpkg-deb -x "$package" tree; done
  rm -r packages
}

# Debian ships this module as source only. The headers refer to /usr/src, where nothing was installed.
build_v4l2loopback() {
  local kernel=$1 headers source
  headers=$PWD/tree/usr/src/linux-headers-$kernel
  source=$(echo "$PWD"/tree/usr/src/v4l2loopback-*)
  sed -i "s|/usr/src/|$PWD/tree/usr/src/|" "$headers/Makefile"
  make -C "$headers" M="$source" modules >build.log 2>&1 || { tail -n 20 build.log >&2; exit 70; }
  install -D -m 644 "$source/v4l2loopback.ko" "tree/lib/modules/$kernel/updates/v4l2loopback.ko"
}

main
