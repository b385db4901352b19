#!/usr/bin/env bash
# initramfs.sh DIR OUT GUEST BINARY…: packs what a guest needs into the archive OUT that the kernel below DIR (see kernel.sh)
# unpacks as its root: busybox, the modules that GUEST names in lines "# module: NAME PARAMETERS", the binaries and the
# libraries that they load, and GUEST itself.
set -euo pipefail
dir=$1 out=$2 guest=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
kernel=$(cat "$dir/version")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

main() {
  # Readable by guests that give up root.
  chmod 755 "$root"
  mkdir -p "$root"/{bin,dev,proc,sys,tmp,root,etc,run,modules}
  touch "$root/modules/order"
  copy_busybox
  copy_modules
  local binary
  for binary in "$@"; do copy_program "$binary"; done
  copy_sound_configuration
  printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\naudio:x:29:\nvideo:x:44:\nnogroup:x:65534:\n' >"$root/etc/group"
  install -m 755 "$here/guest/init" "$root/init"
  install -m 755 "$guest" "$root/guest"
  # Not compressed: unpacking costs an emulated processor more than reading.
  (cd "$root" && find . -print0 | cpio --null --create --format=newc --quiet) >"$out"
}

copy_busybox() {
  local busybox applet
  busybox=$(command -v busybox)
  if ldd "$busybox" >/dev/null 2>&1; then
    echo "$busybox needs libraries: install busybox-static" >&2
    exit 69
  fi
  cp "$busybox" "$root/bin/busybox"
  for applet in $("$busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
}

# Modules in the order in which they load, one line each: file and parameters.
copy_modules() {
  local name parameters file base
  while read -r name parameters; do
    while read -r file; do
      base=$(basename "$file")
      [ -e "$root/modules/$base" ] && continue
      strip --strip-debug -o "$root/modules/$base" "$file"
      if [ "${base%.ko}" = "$name" ]; then echo "$base $parameters"; else echo "$base"; fi >>"$root/modules/order"
    done < <(modprobe -d "$dir/tree" -S "$kernel" --show-depends "$name" | sed -n 's/^insmod \([^ ]*\).*/\1/p')
    [ -e "$root/modules/$name.ko" ] || { echo "the kernel has no module $name" >&2; exit 70; }
  done < <(sed -n 's/^# module: //p' "$guest")
}

copy_program() {
  local library
  strip -o "$root/bin/$(basename "$1")" "$1" 2>/dev/null || cp -L "$1" "$root/bin/"
  { ldd "$1" 2>/dev/null || true; } | { grep -oE '/[^ ]+\.so[^ ]*' || true; } | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -nL "$library" "$root$library"
  done
}

# Without its files in /usr/share/alsa, the ALSA library opens nothing at all.
copy_sound_configuration() {
  [ -d /usr/share/alsa ] || return 0
  mkdir -p "$root/usr/share/alsa"
  cp -r /usr/share/alsa/{alsa.conf,cards,ctl,pcm} "$root/usr/share/alsa/"
}

main "$@"
