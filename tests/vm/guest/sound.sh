# Sound cards of the kernel without a sound server: snd-aloop, whose speaker is heard by its own microphone, and a USB speaker
# that is pulled out.
# module: snd-aloop index=0 id=Loopback pcm_substreams=1
# module: xhci-pci
# module: snd-usb-audio index=1 id=Usb
mic() { timeout 30 greenroom devices mic --quiet --json - --device hw:CARD=Loopback,DEV=1 "$@"; }
# Plays beside what follows, until stop.
play() {
  aplay -q -D hw:CARD=Loopback,DEV=0 /bin/noise.wav &
  player=$!
  sleep 1
}
stop() {
  kill "$1"
  wait "$1"
}
both_rates() {
  for device in 0 1; do amixer -q -c 0 cset "iface=PCM,name='PCM Rate Shift 100000',device=$device" "$1"; done
}
for _ in $(seq 50); do
  [ -e /proc/asound/Usb ] && break
  sleep 0.1
done

scenario list timeout 30 greenroom devices list --json
scenario loop timeout 60 greenroom devices loop --quiet --json - --speaker hw:CARD=Loopback,DEV=0 --mic hw:CARD=Loopback,DEV=1
play
scenario clean mic --duration 5s
stop $player
# One in a thousand slow.
both_rates 100100
play
scenario drift mic --duration 10s
stop $player
both_rates 100000

arecord -q -D hw:CARD=Loopback,DEV=1 -f S16_LE -r 48000 -c 2 /dev/null &
recorder=$!
sleep 1
scenario busy mic
stop $recorder

later 3 host unplug
scenario unplugged timeout 30 greenroom devices loop --quiet --json - --speaker hw:CARD=Usb,DEV=0 --mic hw:CARD=Loopback,DEV=1

chgrp audio /dev/snd/*
chmod 660 /dev/snd/*
scenario permission as_nobody greenroom devices mic --quiet --json -
