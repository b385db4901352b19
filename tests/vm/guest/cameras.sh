# Cameras by the kernel's own interface: vivid, the kernel's test camera, with its faults switched on one after the other; a
# webcam that sends JPEG, some of them damaged, and later nothing; a device that offers no format.
# module: vivid n_devs=2 node_types=0x1,0x1 input_types=0x00,0x00 num_inputs=1,1 no_error_inj=0
# module: v4l2loopback max_buffers=8 video_nr=8,9 exclusive_caps=0,1 card_label=Empty,Webcam
camera() {
  device=$1
  shift
  timeout 30 greenroom devices camera --quiet --json - --device "$device" "$@"
}
test_camera() { camera /dev/video0 --mode 320x180@30:YUYV "$@"; }
# Its results stand in a file, its log in the scenario.
log_of() {
  "$@" 2>&1 >/dev/null | grep damaged
}
control() { v4l2-ctl -d /dev/video0 -c "$1"; }

scenario list timeout 30 greenroom devices camera --list --json -

scenario normal test_camera
scenario steady test_camera --duration 8s
control osd_text_mode=2
# The serial port is a terminal, too, a slow one: a small one.
stty -F /dev/ttyS1 cols 16 rows 8
scenario preview timeout 30 greenroom devices camera --device /dev/video0 --mode 320x180@30:YUYV --preview --duration 3s --quiet </dev/null
control test_pattern=5
scenario black test_camera
control test_pattern=0
scenario frozen test_camera
control osd_text_mode=0,percentage_of_dropped_buffers=20
scenario dropped test_camera
control percentage_of_dropped_buffers=0,brightness=0
scenario dark test_camera
control brightness=128
later 3 control inject_v4l2_buf_flag_error=1
scenario flagged test_camera --duration 5s

v4l2-ctl -d /dev/video0 --set-parm=12.5 >/dev/null
scenario left_at_12.5 test_camera --duration 8s
scenario at_12.5 camera /dev/video0 --mode 320x180@12.5:YUYV --duration 8s

v4l2-ctl -d /dev/video0 --stream-mmap --stream-count=300 >/dev/null 2>&1 &
sleep 1
scenario busy test_camera
kill $!
wait

chgrp video /dev/video0
chmod 660 /dev/video0
scenario permission as_nobody greenroom devices camera --quiet --json - --device /dev/video0

scenario missing camera /dev/video77
scenario offers_nothing camera /dev/video8

FEED_DEVICE=/dev/video9 feeder --ignored --exact feed::feed_a_loopback_camera >/dev/null 2>&1 &
feeder=$!
fed /dev/video9
# The log names the frames that were found damaged.
scenario jpeg_log log_of timeout 30 greenroom -vv devices camera --device /dev/video9 --json /tmp/jpeg.json
scenario jpeg cat /tmp/jpeg.json
# Stopped, not ended: the camera is there and gives nothing more.
kill -STOP $feeder
scenario never_delivers camera /dev/video9
kill -CONT $feeder
kill $feeder
wait

later 3 control inject_fatal_streaming_error=1
scenario broken test_camera --duration 5s
later 3 control disconnect=1
scenario disconnected test_camera --duration 5s
rm /dev/video*
scenario none timeout 30 greenroom devices camera --quiet --json -
