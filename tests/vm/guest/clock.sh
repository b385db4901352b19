# A check while the computer's clock is set, again and again: one of the steps falls into the traffic.
ip link set lo up
greenroom respond --listen 127.0.0.1 --health off >/tmp/respond.log 2>&1 &
for _ in $(seq 60); do
  grep -q 'Ctrl-C' /tmp/respond.log && break
  sleep 0.5
done
(
  for _ in $(seq 8); do
    sleep 1
    date -s "@$(($(date +%s) + 300))" >/dev/null
  done
) &
scenario stepped timeout 60 greenroom check 127.0.0.1 --for audio --devices none --no-history --quiet --json -
