"""A VPN of two ends: carries packets between a tun interface in one network namespace and one in another.

usage: vpn.py NAMESPACE INTERFACE NAMESPACE INTERFACE
"""
import ctypes, fcntl, os, select, struct, sys

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def end(namespace, interface):
    with open(f"/run/netns/{namespace}") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", interface.encode(), IFF_TUN | IFF_NO_PI))
    return tun


one, other = end(sys.argv[1], sys.argv[2]), end(sys.argv[3], sys.argv[4])
print("ready", flush=True)
while True:
    for source in select.select([one, other], [], [])[0]:
        packet = os.read(source, 65536)
        try:
            os.write(other if source == one else one, packet)
        except OSError:
            pass  # that end is not up yet
