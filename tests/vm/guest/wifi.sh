# Two radios of software: one is an access point in a network of its own, the other joins it and checks an endpoint there.
# module: mac80211_hwsim radios=2
unshare -n sleep 600 &
point=$!
sleep 1
iw phy phy0 set netns "$point"
at_point() { nsenter -t "$point" -n "$@"; }
cat >/tmp/hostapd.conf <<'CONF'
interface=wlan0
ssid=Chez Ada
channel=6
hw_mode=g
ieee80211n=1
CONF
at_point ip link set lo up
at_point ip link set wlan0 up
at_point hostapd -B /tmp/hostapd.conf >/tmp/hostapd.log 2>&1 || cat /tmp/hostapd.log
at_point ip addr add 10.7.0.1/24 dev wlan0
at_point greenroom respond --listen 10.7.0.1 --health off >/tmp/respond.log 2>&1 &
ip link set lo up
ip link set wlan1 up
ip addr add 10.7.0.2/24 dev wlan1
iw dev wlan1 connect "Chez Ada"
for _ in $(seq 60); do
  iw dev wlan1 link | grep -q Connected && ping -c 1 -W 1 10.7.0.1 >/dev/null 2>&1 && break
  sleep 0.5
done
scenario link iw dev wlan1 link
scenario connected timeout 60 greenroom check 10.7.0.1 --for audio --devices none --no-history --quiet --json -
iw dev wlan1 disconnect
scenario apart timeout 60 greenroom measure icmp:10.7.0.1 --duration 2s --quiet --json -
kill "$point"
