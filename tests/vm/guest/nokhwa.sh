# The same cameras by way of nokhwa, which is what macOS and Windows use.
# module: vivid n_devs=1 node_types=0x1 input_types=0x00 num_inputs=1 no_error_inj=0
# module: v4l2loopback max_buffers=8 video_nr=9 exclusive_caps=1 card_label=Webcam
camera() {
  device=$1
  shift
  timeout 30 greenroom devices camera --backend nokhwa --quiet --json - --device "$device" "$@"
}
test_camera() { camera /dev/video0 --mode 320x180@30:YUYV "$@"; }
control() { v4l2-ctl -d /dev/video0 -c "$1"; }

# nokhwa asks a camera for its rate before it sets one.
v4l2-ctl -d /dev/video0 --set-parm=30 >/dev/null
scenario normal test_camera
control test_pattern=5,osd_text_mode=2
scenario black test_camera
control test_pattern=0,osd_text_mode=0

v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=300 >/dev/null 2>&1 &
sleep 1
scenario busy test_camera
kill $!
wait

FEED_DEVICE=/dev/video9 feeder --ignored --exact feed::feed_a_loopback_camera >/dev/null 2>&1 &
feeder=$!
fed /dev/video9
scenario jpeg camera /dev/video9 --mode 320x240@30:MJPG
# Stopped, not ended: the camera is there and gives nothing more.
kill -STOP $feeder
scenario stalled camera /dev/video9 --mode 320x240@30:MJPG
kill -CONT $feeder
kill $feeder
wait

later 3 control disconnect=1
scenario disconnected test_camera --duration 5s
