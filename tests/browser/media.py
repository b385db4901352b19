"""Sound and picture files for a browser's fake devices, each with one fault or none. By the standard library, without randomness."""

import contextlib
import hashlib
import math
import os
import pathlib
import signal
import struct
import subprocess
import wave

RATE = 48_000
WIDTH, HEIGHT, FPS, FRAMES = 640, 480, 30, 60


def sound(path, sample, seconds=6):
    """Writes 16-bit mono; `sample(t)` gives -1..1 at a time in seconds."""
    count = int(RATE * seconds)
    values = (max(-32_767, min(32_767, round(32_767 * sample(n / RATE)))) for n in range(count))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(b"".join(struct.pack("<h", value) for value in values))


def noise(t):
    """Something like noise, the same each time."""
    return math.sin(t * 12_345.678 + 7 * math.sin(t * 7_919.1))


def voice(t, level):
    """Syllables of a voice at 140 Hz, four a second, with pauses, above a quiet room."""
    beat = t % 0.5
    loud = math.sin(math.pi * beat / 0.3) if beat < 0.3 else 0.0
    tone = sum(math.sin(2 * math.pi * 140 * k * t) / k for k in range(1, 8))
    return level * loud * tone / 2 + 0.0003 * noise(t)


SOUNDS = {
    "speech": lambda t: voice(t, 0.25),
    "silent": lambda t: 0.0,
    # At -54 dBFS: too quiet, and not so quiet that it blocks a call (-60).
    "quiet": lambda t: voice(t, 0.008),
    "clipped": lambda t: voice(t, 8.0),
    "room": lambda t: 0.002 * noise(t),
    "offset": lambda t: 0.2 + voice(t, 0.25),
}


def picture(path, luma):
    """Writes y4m, 4:2:0; `luma(x, y, frame)` gives 16..235."""
    chroma = bytes([128]) * (WIDTH * HEIGHT // 2)
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420mpeg2\n".encode())
        for frame in range(FRAMES):
            rows = []
            for y in range(0, HEIGHT, 16):
                row = bytes(luma(x // 16, y // 16, frame) for x in range(WIDTH))
                rows.append(row * 16)
            file.write(b"FRAME\n" + b"".join(rows) + chroma)


PICTURES = {
    "moving": lambda x, y, frame: 60 + (x * 7 + y * 11 + frame * 3) % 150,
    "black": lambda x, y, frame: 16,
    "frozen": lambda x, y, frame: 60 + (x * 7 + y * 11) % 150,
    "covered": lambda x, y, frame: 34 + (x + frame) % 3,
    "dark": lambda x, y, frame: 20 + (x * 7 + y * 11 + frame * 3) % 48,
    "blurred": lambda x, y, frame: 125 + round(80 * math.sin((x * 16 + frame * 4) / 90) * math.sin(y * 16 / 90)),
    "bright": lambda x, y, frame: 235 if (x + y + frame) % 4 else 140,
}


def make(folder, kind, name):
    """The file of a sound or picture, made where it is missing. Two tests may make it at once."""
    folder = pathlib.Path(os.environ.get("GREENROOM_MADE", folder))
    folder.mkdir(parents=True, exist_ok=True)
    # Those of another recipe are not taken for these.
    recipe = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:8]
    path = folder / f"{name}-{recipe}.{'wav' if kind == 'sound' else 'y4m'}"
    if not path.exists():
        made = path.with_suffix(f".{os.getpid()}")
        (sound if kind == "sound" else picture)(made, (SOUNDS if kind == "sound" else PICTURES)[name])
        made.rename(path)
    return path


@contextlib.contextmanager
def playing(folder, name):
    """A sound into the sink that PulseAudio's microphone is wired to, until it is over."""
    # Without its head and in one piece: between one player and the next there would be a gap, which is a fault.
    again = f'while tail -c +45 "$0"; do :; done | pacat --playback --device=voice --format=s16le --rate={RATE} --channels=1'
    player = subprocess.Popen(["sh", "-c", again, make(folder, "sound", name)], start_new_session=True)
    try:
        yield
        if player.poll() is not None:
            raise AssertionError(f"the player ended: {player.poll()}")
    finally:
        # What it started, too.
        os.killpg(player.pid, signal.SIGTERM)
        player.wait()
